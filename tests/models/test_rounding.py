"""Weights are rounded so that their errors cancel, activations on the grid that suits them."""

import numpy as np
import pytest

from maskhub.models.rounding import grid, rounded_weights


@pytest.fixture(scope="module")
def convolution():
    """Weights 8×6×3×3, and 500 patches of related inputs with a mean, n×(54 + 1)."""
    rng = np.random.default_rng(0)
    few = rng.normal(0.5, 1, (500, 12))
    patches = few @ rng.normal(0, 1, (12, 54)) + rng.normal(0, 0.1, (500, 54))
    weight = rng.normal(0, 1, (8, 6, 3, 3)).astype(np.float32)
    return weight, np.concatenate([patches, np.ones((500, 1))], 1).astype(np.float32)


def test_rounded_weights_compute_nearly_the_same(convolution):
    weight, patches = convolution
    codes, scales, limits, shift = rounded_weights(weight, patches.T @ patches)
    assert codes.dtype == np.int8 and codes.shape == weight.shape
    inputs, flat = patches[:, :-1], weight.reshape(8, -1)
    wanted = inputs @ flat.T
    made = inputs @ (codes.reshape(8, -1) * scales[:, None]).T + shift
    nearest = inputs @ (np.rint(flat / scales[:, None]).clip(-127, 127) * scales[:, None]).T
    assert np.square(made - wanted).mean() < 0.2 * np.square(nearest - wanted).mean()
    assert np.abs((made - wanted).mean(0)).max() < 1e-3
    # each to one of its two neighbours, so that a bit says which
    low = np.floor(weight / scales[:, None, None, None])
    limits = limits[:, None, None, None]
    assert np.array_equal((low + (codes > low)).clip(-limits, limits), codes)


@pytest.mark.parametrize("channels", [6, 5])
def test_no_pair_of_weights_overflows_16_bits(channels):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (64, channels, 3, 3)).astype(np.float32)
    weight[8:16, :2] += 2  # neighbours of the same sign
    weight[16:24, 0] *= 20  # few large weights
    weight[24:] *= rng.standard_t(2, (40, channels, 3, 3))
    weight[0] = 0
    patches = np.concatenate([rng.normal(0.5, 1, (500, 9 * channels)), np.ones((500, 1))], 1)
    codes, _, limits, _ = rounded_weights(weight, patches.T @ patches)
    assert limits.min() >= 64 and limits.max() <= 127
    # processors add two products with activations of up to 255, channels last
    rows = codes.transpose(0, 2, 3, 1).reshape(64, -1).astype(int)
    pairs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(64, -1, 2)
    assert (255 * pairs.clip(0)).sum(2).max() < 2**15
    assert (255 * pairs.clip(None, 0)).sum(2).min() >= -(2**15)
    assert 100 < np.abs(codes).max() <= 127, "more than 7 bits are used where that is safe"


def test_a_grid_spans_its_values_unless_few_are_far_off():
    values = np.linspace(-1, 3, 1000, dtype=np.float32)
    scale, zero = grid(values, -1, 3)
    assert scale == pytest.approx(4 / 255, rel=0.02) and abs(int(zero) - 64) <= 1
    values = np.random.default_rng(0).normal(0, 1, 10_000).astype(np.float32)
    assert grid(values, -20, 20)[0] == pytest.approx(40 * 0.4 / 255, rel=0.01)
