"""The statistics of verification against closed forms and hand-made scores."""

import math

import numpy as np
import pytest

from maskhub.errors import ConfigError
from maskhub.evaluation.verification import (
    MaskWhitening,
    equal_error_rate,
    far_threshold,
    fold_thresholds,
    gaussian_rule,
    mask_directions,
    project_out,
    verification_figures,
)


def test_gaussian_rule_has_its_closed_form():
    # ±1 about a mean has σ √(n / (n − 1)): 2 values give √2
    rule = gaussian_rule([0.9, 0.5], [0.2, 0.0])
    assert rule.same_mean == pytest.approx(0.7) and rule.different_mean == pytest.approx(0.1)
    assert (rule.same_std, rule.different_std) == pytest.approx((0.2 * math.sqrt(2), 0.1 * math.sqrt(2)))
    assert rule.separation == pytest.approx(0.6 / (0.3 * math.sqrt(2)))
    assert rule.threshold == pytest.approx(0.3)  # two parts of the gap below the mean of same, one above the other's
    assert rule.error == pytest.approx(0.5 * math.erfc(math.sqrt(2) / math.sqrt(2)))  # Φ(−√2)


def test_gaussian_rule_agrees_with_what_gaussians_do():
    rng = np.random.default_rng(0)
    same, different = rng.normal(0.6, 0.15, 200_000), rng.normal(0.0, 0.05, 200_000)
    rule = gaussian_rule(same, different)
    assert rule.error == pytest.approx(0.5 * math.erfc(3 / math.sqrt(2)), rel=0.05)
    assert (same < rule.threshold).mean() == pytest.approx((different > rule.threshold).mean(), rel=0.15)
    assert equal_error_rate(same, different) == pytest.approx(rule.error, rel=0.1)


def test_gaussian_rule_without_spread():
    assert gaussian_rule([1, 1], [0, 0])[4:] == (math.inf, 0.5, 0.0, math.inf)
    assert gaussian_rule([1, 1], [1, 1]).error == 0.5


@pytest.mark.parametrize(
    "same, different, rate",
    [
        ([0.9, 0.8, 0.7, 0.3], [0.6, 0.2, 0.1, 0.0], 0.25),
        ([0.9, 0.8], [0.1, 0.2], 0.0),
        ([0.1, 0.2], [0.8, 0.9], 1.0),
        ([0.5], [0.5], 0.5),
        ([0.4, 0.9, 0.9], [0.1, 0.5], 1 / 3),
    ],
)
def test_equal_error_rate_of_hand_made_scores(same, different, rate):
    assert equal_error_rate(same, different) == pytest.approx(rate, abs=1e-12)


def test_threshold_keeps_the_false_accept_rate():
    different = np.arange(100) / 100
    for far, accepted in ((0.01, 1), (0.1, 10), (0.001, 0), (0, 0)):
        assert (different > far_threshold(different, far)).sum() == accepted
    with pytest.raises(ConfigError, match="at least one score"):
        far_threshold([], 0.1)


def test_thresholds_come_from_the_other_folds():
    scores = np.array([0.9, 0.1, 0.8, 0.5])
    same, folds = np.array([True, False, True, False]), np.array([1, 1, 2, 2])
    assert fold_thresholds(scores, same, folds, 0.01).tolist() == [0.5, 0.5, 0.1, 0.1]


def test_tar_at_far_of_hand_made_scores():
    # 200 different pairs below 0.5 and two above; of 100 same pairs 90 above all of them, 5 between, 5 below
    different = np.concatenate([np.linspace(0, 0.5, 198), [0.6, 0.7]])
    same = np.concatenate([np.full(90, 0.9), np.full(5, 0.65), np.full(5, 0.1)])
    scores, kind = np.concatenate([same, different]), np.arange(300) < 100
    figures = verification_figures(scores, kind, np.ones(300, int), resamples=20)
    assert figures["TAR at FAR 1 %"].value == 0.95  # two may pass: the threshold is 0.5
    assert figures["FAR met for 1 %"].value == 0.01
    assert figures["TAR at FAR 0.1 %"].value == 0.90  # none may pass: 0.7
    assert figures["TAR at FAR 1 %"].n == 100 and figures["FAR met for 1 %"].n == 200
    low, high = figures["TAR at FAR 1 %"].interval
    assert low <= 0.95 <= high and 0.8 < low < high <= 1
    low, high = figures["separation σ"].interval
    assert low < figures["separation σ"].value < high


def test_a_group_is_measured_at_the_threshold_of_all():
    scores = np.array([0.9, 0.6, 0.55, 0.5, 0.8, 0.7, 0.1, 0.0])
    same, folds = np.array([1, 1, 0, 0, 1, 1, 0, 0], bool), np.ones(8, int)
    second = verification_figures(scores, same, folds, within=[4, 5, 6, 7], resamples=5)
    first = verification_figures(scores, same, folds, within=[0, 1, 2, 3], resamples=5)
    assert second["FAR met for 1 %"].value == 0 and first["TAR at FAR 1 %"].value == 1
    assert second["same mean"].value == pytest.approx(0.75)


@pytest.mark.parametrize(
    "same, different, message", [([0.5], [0.1, 0.2], "1 pairs of same"), ([1, 1], [math.nan, 0], "NaN or infinite")]
)
def test_too_few_or_broken_scores_are_one_clear_line(same, different, message):
    with pytest.raises(ConfigError, match=message):
        gaussian_rule(same, different)


def test_projection_takes_a_planted_bias_out():
    rng = np.random.default_rng(0)
    identity = rng.normal(size=(200, 32))
    bias = np.zeros(32)
    bias[3], bias[5] = 3.0, 4.0
    identity[:, [3, 5]] = 0  # who someone is lies elsewhere
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    bare, masked = unit(identity), unit(identity + bias)
    basis = mask_directions(bare[:100], masked[:100])
    assert basis.shape == (1, 32) and np.linalg.norm(basis) == pytest.approx(1)
    assert abs(basis[0] @ bias) / 5 > 0.9
    before = (bare[100:] * masked[100:]).sum(1)
    # the true direction takes the bias out whole, the one that is estimated nearly
    exact = (project_out(bare[100:], bias[None] / 5) * project_out(masked[100:], bias[None] / 5)).sum(1)
    after = (project_out(bare[100:], basis) * project_out(masked[100:], basis)).sum(1)
    assert exact == pytest.approx(1) and after.mean() > 0.95 > 0.8 > before.mean()
    assert np.abs(project_out(masked, basis) @ basis.T).max() < 1e-12


def test_whitening_makes_directions_that_masks_change_count_for_less():
    rng = np.random.default_rng(0)
    identity, noise = rng.normal(size=(400, 32)), np.zeros((400, 32))
    noise[:, :4] = rng.normal(0, 5, (400, 4)) + 2  # a mask changes four directions, a different way on each face
    bare, masked = identity, identity + noise
    whitening = MaskWhitening.of(bare[:300], masked[:300])
    assert whitening.shift == pytest.approx(noise[:300].mean(0))

    def errors(a, b):
        scores = a @ b.T
        return gaussian_rule(np.diag(scores), scores[~np.eye(len(a), dtype=bool)]).error

    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    before = errors(unit(bare[300:]), unit(masked[300:]))
    a, b = whitening.unmasked(bare[300:]), whitening.masked(masked[300:])
    assert np.linalg.norm(a, axis=1) == pytest.approx(1) and np.linalg.norm(b, axis=1) == pytest.approx(1)
    assert errors(a, b) < 0.03 < 0.07 < before
    same = MaskWhitening.of(bare, bare)  # masks that change nothing
    assert same.unmasked(bare) == pytest.approx(unit(bare)) and same.masked(bare) == pytest.approx(unit(bare))


def test_further_directions_are_orthonormal_and_few():
    rng = np.random.default_rng(1)
    bare = rng.normal(size=(20, 8))
    basis = mask_directions(bare, bare + rng.normal(size=(20, 8)), 3)
    assert basis @ basis.T == pytest.approx(np.eye(3), abs=1e-9)
    with pytest.raises(ConfigError, match="3 mask directions can't be found from 2 faces"):
        mask_directions(bare[:2], bare[:2], 3)
