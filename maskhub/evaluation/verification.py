"""Face verification: statistics of the scores of same and different faces, and removal of a mask's bias.

Scores are cosines of two faces' vectors; a pair is accepted as the same person if its score is above a threshold.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from maskhub.errors import ConfigError
from maskhub.evaluation.intervals import percentile_interval
from maskhub.evaluation.report import Figure

__all__ = [
    "FARS", "GaussianRule", "MaskWhitening", "equal_error_rate", "far_threshold", "fold_thresholds", "gaussian_rule",
    "mask_directions", "pool", "project_out", "verification_figures",
]  # fmt: skip

FARS = (0.01, 0.001)
"""The false-accept rates at which the true-accept rate is reported."""
HIGH, LOW, DETAIL = {"better": "high"}, {"better": "low"}, {"detail": True}


class GaussianRule(NamedTuple):
    """Two Gaussians for the scores of same and different faces, with a threshold at the same number of σ from both
    means.

    Attributes:
        same_mean, same_std, different_mean, different_std: means and σ (with n − 1) of the scores.
        separation: (μ_same − μ_different) / (σ_same + σ_different): distance of the threshold from both means, in σ.
        threshold: μ_different + separation · σ_different = μ_same − separation · σ_same.
        error: Φ(−separation), the share of each Gaussian on the wrong side of the threshold.
        difference: (μ_same − μ_different) / √(σ_same² + σ_different²): the "difference in σ" of Mumford, 2021, table 3.
    """

    same_mean: float
    same_std: float
    different_mean: float
    different_std: float
    separation: float
    threshold: float
    error: float
    difference: float

    @classmethod
    def of(cls, same_mean, same_std, different_mean, different_std):
        """The rule of two Gaussians."""
        gap, spread = same_mean - different_mean, same_std + different_std
        if spread > 0:
            separation, difference = gap / spread, gap / math.hypot(same_std, different_std)
            threshold, error = different_mean + separation * different_std, NormalDist().cdf(-separation)
        else:
            separation = difference = math.copysign(math.inf, gap) if gap else 0.0
            threshold, error = (same_mean + different_mean) / 2, 0.5 if gap == 0 else float(gap < 0)
        values = (same_mean, same_std, different_mean, different_std, separation, threshold, error, difference)
        return cls(*map(float, values))


def gaussian_rule(same, different):
    """The :class:`GaussianRule` of two lists of scores; :class:`ConfigError` for fewer than 2 of a kind."""
    same, different = _checked(same, different, 2)
    return GaussianRule.of(same.mean(), same.std(ddof=1), different.mean(), different.std(ddof=1))


def equal_error_rate(same, different):
    """The rate at which the shares of refused same pairs and accepted different pairs are equal.

    Between the two thresholds around the crossing, both rates are interpolated linearly. :class:`ConfigError` without
    scores of one kind.
    """
    same, different = _checked(same, different, 1)
    same, different = np.sort(same), np.sort(different)
    # every score as threshold, and one above all
    thresholds = np.append(np.unique(np.concatenate([same, different])), math.inf)
    refused = np.searchsorted(same, thresholds) / len(same)
    accepted = 1 - np.searchsorted(different, thresholds) / len(different)
    after = int(np.argmax(refused >= accepted))
    if refused[after] == accepted[after] or after == 0:
        return float(refused[after])
    below, above = (float(accepted[i] - refused[i]) for i in (after - 1, after))
    share = below / (below - above)
    return float(refused[after - 1] + share * (refused[after] - refused[after - 1]))


def far_threshold(different, far):
    """The threshold that at most a share ``far`` of the scores of different faces exceeds."""
    descending = np.sort(np.asarray(different, np.float64))[::-1]
    if not len(descending):
        raise ConfigError("a threshold needs at least one score of different faces.")
    return float(descending[min(int(far * len(descending) + 1e-9), len(descending) - 1)])


def fold_thresholds(scores, same, folds, far):
    """The threshold of each of N pairs, set on the different faces of all *other* folds (LFW's protocol).

    With a single fold it is set on that fold. ``scores``, ``same`` (bool) and ``folds`` (whole numbers) have length N.
    """
    out = np.empty(len(scores))
    for fold in np.unique(folds):
        others = ~same & (folds != fold)
        out[folds == fold] = far_threshold(scores[others if others.any() else ~same], far)
    return out


def verification_figures(scores, same, folds, within=None, resamples=500, seed=0):
    """The figures of a table row, name → :class:`~maskhub.evaluation.report.Figure`; ConfigError for fewer than 2 pairs
    of a kind.

    Args:
        scores: N cosines. same: N bool, whether the pair shows one person. folds: N whole numbers.
        within: indices of the pairs to measure, such as those of a group; thresholds still come from all pairs, to show
            gaps between groups.
        resamples: number of bootstrap resamples of pairs within each fold and kind, treated as independent.
    """
    scores, same, folds = np.asarray(scores, np.float64), np.asarray(same, bool), np.asarray(folds)
    chosen = np.arange(len(scores)) if within is None else np.asarray(within, int)
    fixed = None if within is None else [fold_thresholds(scores, same, folds, far) for far in FARS]
    rule = gaussian_rule(scores[chosen][same[chosen]], scores[chosen][~same[chosen]])
    value = _rates(scores, same, folds, chosen, fixed)
    strata = [
        chosen[(folds[chosen] == fold) & (same[chosen] == kind)]
        for fold in np.unique(folds[chosen])
        for kind in (True, False)
    ]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        again = np.concatenate([s[rng.integers(0, len(s), len(s))] for s in strata if len(s)])
        drawn.append(_rates(scores, same, folds, again, fixed))
    # "nearest", not an interpolation: without spread a separation is infinite
    ends = percentile_interval(drawn, "nearest").T if drawn else [None] * len(value)
    pairs, hits, misses = len(chosen), int(same[chosen].sum()), int((~same[chosen]).sum())
    names = [("separation σ", pairs, HIGH), ("Gaussian error", pairs, LOW), ("equal-error rate", pairs, LOW)]
    for far in FARS:
        names += [(f"TAR at FAR {100 * far:g} %", hits, HIGH), (f"FAR met for {100 * far:g} %", misses, DETAIL)]
    figures = {
        "same mean": Figure(rule.same_mean, **DETAIL),
        "same σ": Figure(rule.same_std, **DETAIL),
        "different mean": Figure(rule.different_mean, **DETAIL),
        "different σ": Figure(rule.different_std, **DETAIL),
    }
    for (name, n, details), v, interval in zip(names, value, ends, strict=True):
        figures[name] = Figure(v, interval, n, **details)
    return figures


def mask_directions(unmasked, masked, count=1):
    """The ``count`` (at most N) directions in which a mask shifts a face's vector, orthonormal, count×D, from N×D
    vectors of the same faces without and with a mask.

    The first is the mean shift, mean(masked − unmasked), normalised; further ones are the principal components of the
    remaining shifts, as the bias subspace of Bolukbasi and others ("Man is to Computer Programmer as Woman is to
    Homemaker?", NeurIPS 2016) is computed from pairs that differ in one aspect.
    """
    shifts = np.asarray(masked, np.float64) - np.asarray(unmasked, np.float64)
    if not 1 <= count <= len(shifts):
        raise ConfigError(f"{count} mask directions can't be found from {len(shifts)} faces.")
    mean = shifts.mean(0)
    first = mean / max(np.linalg.norm(mean), 1e-12)
    if count == 1:
        return first[None]
    rest = shifts - np.outer(shifts @ first, first)
    rest -= rest.mean(0)
    return np.vstack([first, np.linalg.svd(rest, full_matrices=False)[2][: count - 1]])


def project_out(vectors, directions):
    """Remove the component along ``directions`` and normalise: v − (v Bᵀ) B. Apply it to both sides of a comparison."""
    vectors = np.asarray(vectors, np.float64)
    return _normalised(vectors - (vectors @ directions.T) @ directions)


class MaskWhitening(NamedTuple):
    """Makes the directions in which a mask changes faces' vectors count for less in a comparison.

    Within-class covariance normalization (Hatch, Kajarekar and Stolcke, Interspeech 2006), where a class is one photo
    without and with its mask, so nobody needs to be known by name. The covariance of the changes is regularised with
    their mean variance, so that directions without any change don't count for everything.

    Attributes:
        shift: the mean change, D.
        matrix: D×D; a vector times this has changes of equal variance in all directions, but for the regularisation.
    """

    shift: np.ndarray
    matrix: np.ndarray

    @classmethod
    def of(cls, unmasked, masked):
        """From N×D vectors of the same faces without and with a mask."""
        changes = np.asarray(masked, np.float64) - np.asarray(unmasked, np.float64)
        covariance = np.atleast_2d(np.cov(changes.T, bias=True))
        variances, directions = np.linalg.eigh(covariance)
        return cls(changes.mean(0), directions / np.sqrt(np.maximum(variances + variances.mean(), 1e-12)))

    def unmasked(self, vectors):
        """The vectors of unmasked faces, N×D, for a comparison, normalised."""
        return _normalised(np.asarray(vectors, np.float64) @ self.matrix)

    def masked(self, vectors):
        """As :meth:`unmasked`, for the kind of vectors that was given as ``masked``."""
        return self.unmasked(np.asarray(vectors, np.float64) - self.shift)


def pool(*views):
    """The means of several views of the same N faces, N×D vectors each, normalised."""
    return _normalised(np.sum(views, axis=0, dtype=np.float64))


def _rates(scores, same, folds, chosen, fixed):
    """separation, Gaussian error, equal-error rate, then TAR and FAR at each of :data:`FARS`."""
    s, kind, fold = scores[chosen], same[chosen], folds[chosen]
    rule = gaussian_rule(s[kind], s[~kind])
    out = [rule.separation, rule.error, equal_error_rate(s[kind], s[~kind])]
    for number, far in enumerate(FARS):
        accepted = s > (fold_thresholds(s, kind, fold, far) if fixed is None else fixed[number][chosen])
        out += [accepted[kind].mean(), accepted[~kind].mean()]
    return out


def _normalised(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _checked(same, different, least):
    same, different = np.asarray(same, np.float64), np.asarray(different, np.float64)
    for name, scores in (("same", same), ("different", different)):
        if len(scores) < least:
            raise ConfigError(f"there are {len(scores)} pairs of {name} faces, but at least {least} are needed.")
        if not np.isfinite(scores).all():
            raise ConfigError(f"some scores of {name} faces are NaN or infinite.")
    return same, different
