"""Round a convolution's weights and activations to 8 bits with the least error in what it computes."""

import numpy as np

__all__ = ["grid", "rounded_weights"]

VALUES = 200_000
"""Values of an activation on which its grid is chosen."""
DAMPING = 0.01
"""Added to the inputs' covariance, as a share of its mean diagonal, so that it can be inverted."""
PAIR = 128
"""Largest sum of two neighbouring weights of the same sign. Processors with AVX2 or AVX-512 but without VNNI add two
products of 8 bits up in 16, where 255 times more than this is cut off."""
SHARES = np.linspace(2, 1, 11)
"""Scales that are tried, as shares of the one at which a row's largest weight is 127; the one of least error is taken.
With the first, no pair is too large."""
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
        tuple: int8 codes O×I×k×k, float32 scales (O), the codes' largest absolute values (O, whole numbers from 64 to
        127), and what to add to the biases (O) so that the mean result stays.
    """
    flat, total = weight.reshape(len(weight), -1), moments[-1, -1]
    means = moments[-1, :-1] / total
    covariance = (moments[:-1, :-1] / total - np.outer(means, means)).astype(np.float32)
    most = np.abs(flat).max(1).clip(1e-12)
    scales = np.float32(most * SHARES[:, None] / 127)  # for each share a whole set of rows
    exact = (flat / scales[..., None]).reshape(-1, flat.shape[1])
    # columns in the order in which processors add them up
    order = np.arange(flat.shape[1]).reshape(weight.shape[1:]).transpose(1, 2, 0).ravel()
    limits = _limits(np.floor(exact)[:, order])
    codes = _rounded(exact, limits, covariance).reshape(*scales.shape, -1)
    difference = codes * scales[..., None] - flat
    best = np.einsum("sod,sod->so", difference @ covariance, difference).argmin(0), np.arange(len(flat))
    codes, scales, limits = codes[best], scales[best], limits.reshape(scales.shape)[best]
    shift = (flat - codes * scales[:, None]) @ means
    return codes.astype(np.int8).reshape(weight.shape), scales, limits, shift.astype(np.float32)


def _limits(floor):
    """The largest absolute value for each row with which no pair of codes, these numbers or one more, overflows."""
    floor = np.pad(floor, ((0, 0), (0, floor.shape[1] % 2))).reshape(len(floor), -1, 2)
    limits = np.full(len(floor), np.float32(127))
    for larger in (floor + 1, -floor):  # the codes if they are positive, and if they are negative
        small, large = np.sort(larger.clip(0, 127), 2).transpose(2, 0, 1)
        allowed = np.where(small + large > PAIR, np.maximum(PAIR - small, PAIR // 2), 127)
        limits = np.minimum(limits, allowed.min(1))
    return limits


def _rounded(exact, limits, covariance):
    """Whole numbers near these, and not beyond each row's limit."""
    damped = covariance.astype(np.float64)
    damped[np.diag_indices_from(damped)] += DAMPING * damped.diagonal().mean() + 1e-12
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
    left, codes, floor = exact.copy(), np.zeros_like(exact), np.floor(exact)
    for start in range(0, exact.shape[1], BLOCK):
        end = min(start + BLOCK, exact.shape[1])
        errors = np.zeros((len(exact), end - start), np.float32)
        for at in range(start, end):
            codes[:, at] = np.clip(np.rint(left[:, at]), floor[:, at], floor[:, at] + 1)
            codes[:, at] = codes[:, at].clip(-limits, limits)
            errors[:, at - start] = (left[:, at] - codes[:, at]) / upper[at, at]
            left[:, at:end] -= np.outer(errors[:, at - start], upper[at, at:end])
        left[:, end:] -= errors @ upper[start:end, end:]
    return codes
