"""Round a convolution's weights and activations to 8 bits with the least error in what it computes."""

import numpy as np

__all__ = ["grid", "rounded_weights"]

VALUES = 200_000
"""Values of an activation on which its grid is chosen."""
DAMPING = 0.01
"""Added to the inputs' covariance, as a share of its mean diagonal, so that it can be inverted."""
BLOCK = 64
"""Columns after which errors are passed on to the remaining columns at once."""


def grid(values, low, high):
    """Scale (float32) and zero point (uint8) of 8 bits for an activation between these limits, clipped where that gives
    the least squared error on these values."""
    best, low, high = np.inf, min(low, 0.0), max(high, 0.0)
    values = values.ravel()[:: max(values.size // VALUES, 1)]
    for share in np.linspace(1, 0.4, 25):
        scale = np.float32(max((high - low) * share / 255, 1e-12))
        zero = np.uint8(np.clip(np.rint(-low * share / scale), 0, 255))
        error = np.square(((np.rint(values / scale) + zero).clip(0, 255) - zero) * scale - values).mean()
        if error < best:
            best, found = error, (scale, zero)
    return found


def rounded_weights(weight, moments):
    """Round each weight up or down so that the errors of a convolution cancel out on calibration inputs.

    Frantar, Ashkboos, Hoefler, Alistarh: "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
    Transformers" (ICLR 2023): column by column, the error is made up for by the columns that are not rounded yet. A
    column's weights go to one of their two neighbours, as in AdaRound (Nagel and others, ICML 2020), so that a file
    can store one bit for each.

    Args:
        weight: float32 O×I×k×k.
        moments: float (I·k·k + 1)², the sum of p pᵀ over calibration patches p of the input, with a last value of 1.

    Returns:
        tuple: int8 codes O×I×k×k, float32 scales (O), and what to add to the biases (O) so that the mean result stays.
    """
    flat, total = weight.reshape(len(weight), -1), moments[-1, -1]
    means = moments[-1, :-1] / total
    covariance = (moments[:-1, :-1] / total - np.outer(means, means)).astype(np.float32)
    scales = _scales(flat, covariance)
    codes = _rounded(flat / scales[:, None], covariance)
    shift = (flat - codes * scales[:, None]) @ means
    return codes.astype(np.int8).reshape(weight.shape), scales, shift.astype(np.float32)


def _scales(flat, covariance):
    """One scale for each row, clipped where that gives the least error if its weights are rounded to the nearest."""
    most = np.abs(flat).max(1).clip(1e-12)
    best, scales = np.full(len(flat), np.inf), most / 127
    for clip in np.linspace(1, 0.6, 9):
        scale = (most * clip / 127)[:, None]
        difference = np.rint(flat / scale).clip(-127, 127) * scale - flat
        error = np.einsum("od,od->o", difference @ covariance, difference)
        scales, best = np.where(error < best, scale[:, 0], scales), np.minimum(best, error)
    return scales.astype(np.float32)


def _rounded(exact, covariance):
    """Whole numbers -127 to 127 near these."""
    damped = covariance.astype(np.float64)
    damped[np.diag_indices_from(damped)] += DAMPING * damped.diagonal().mean() + 1e-12
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
    left, codes, floor = exact.copy(), np.zeros_like(exact), np.floor(exact)
    for start in range(0, exact.shape[1], BLOCK):
        end = min(start + BLOCK, exact.shape[1])
        errors = np.zeros((len(exact), end - start), np.float32)
        for at in range(start, end):
            codes[:, at] = np.clip(np.rint(left[:, at]), floor[:, at], floor[:, at] + 1).clip(-127, 127)
            errors[:, at - start] = (left[:, at] - codes[:, at]) / upper[at, at]
            left[:, at:end] -= np.outer(errors[:, at - start], upper[at, at:end])
        left[:, end:] -= errors @ upper[start:end, end:]
    return codes
