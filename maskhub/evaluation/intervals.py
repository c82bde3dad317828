"""Figures with 95 % intervals, which show how much they vary between samples of this size.

They do not include bias of the photos themselves.
"""

import math

import numpy as np
from scipy import stats

from maskhub.evaluation.report import Figure

__all__ = ["bootstrap_interval", "mean_figure", "percentile_interval", "share_figure", "wilson_interval"]


def wilson_interval(hits, n):
    """The score interval of a share (Wilson: "Probable inference", 1927), also accurate near 0 and 1 and for small n;
    ``(0, 1)`` if n is 0."""
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(values):
    """The percentile bootstrap (Efron, 1979) of the mean of independent numbers, 1,000 resamples; NaN twice below 2."""
    if len(values) < 2:
        return math.nan, math.nan
    found = stats.bootstrap(
        (np.asarray(values),), np.mean, n_resamples=1000, method="percentile", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def percentile_interval(drawn, method="linear"):
    """The middle 95 % of resampled values along the first axis of an R×… array, ignoring NaN; ``method`` as in
    ``numpy.percentile``."""
    return np.nanpercentile(drawn, [2.5, 97.5], axis=0, method=method)


def share_figure(hits, n, **details):
    """A share as a :class:`~maskhub.evaluation.report.Figure` with its Wilson interval; without a value if n is 0."""
    hits, n = int(hits), int(n)
    return Figure(hits / n if n else None, wilson_interval(hits, n), n, **details)


def mean_figure(values, **details):
    """A mean as a :class:`~maskhub.evaluation.report.Figure` with its bootstrap interval; None without numbers."""
    values = np.asarray(values, np.float64)
    return Figure(float(np.mean(values)) if len(values) else None, bootstrap_interval(values), len(values), **details)
