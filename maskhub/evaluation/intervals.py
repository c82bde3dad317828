"""Figures with 95 % intervals, which show how much they vary between samples of this size.

They do not include bias of the photos themselves.
"""

import math
from dataclasses import replace

import numpy as np
from scipy import stats

from maskhub.evaluation.report import Figure

__all__ = [
    "bootstrap_interval", "difference_figure", "few_faces", "mean_figure", "percentile_interval", "ratio_figure",
    "share_figure", "wilson_interval",
]  # fmt: skip

FEW = 100
"""Number of faces below which a report warns."""


def few_faces(count):
    """A list with the warning of a report on fewer than :data:`FEW` faces, or an empty list."""
    return [f"only {count} faces were measured: the intervals are wide."] if count < FEW else []


def wilson_interval(hits, n):
    """The score interval of a share (Wilson: "Probable inference", 1927), also accurate near 0 and 1 and for small n;
    ``(0, 1)`` if n is 0."""
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(values):
    """The percentile bootstrap (Efron, 1979) of the mean of independent numbers, 1,000 resamples; NaNs if fewer than
    2."""
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


def difference_figure(figure, other):
    """A figure minus another of independent items, as a :class:`~maskhub.evaluation.report.Figure`; without a value if
    one of them has none or no interval.

    Its interval is made of both intervals (MOVER; Zou, Donner: "Construction of confidence limits about effect
    measures", 2008); for shares it is Newcombe's (1998, method 10).
    """
    if not (figure.interval and other.interval):
        return replace(figure, value=None, interval=None)
    (low, high), (other_low, other_high) = figure.interval, other.interval
    value = figure.value - other.value
    ends = (
        value - math.hypot(figure.value - low, other_high - other.value),
        value + math.hypot(high - figure.value, other.value - other_low),
    )
    return replace(figure, value=value, interval=ends)


def ratio_figure(values, others, **details):
    """The mean of ``values`` (n numbers) divided by the least mean of the rows of ``others`` (k×n, of the same items),
    with the percentile interval of 1,000 resamples of the items."""
    values, others = np.asarray(values, np.float64), np.asarray(others, np.float64)
    if len(values) < 2:
        return Figure(None, None, len(values), **details)
    drawn = np.random.default_rng(0).integers(0, len(values), (1000, len(values)))
    ratios = values[drawn].mean(1) / others[:, drawn].mean(2).min(0)
    return Figure(values.mean() / others.mean(1).min(), percentile_interval(ratios), len(values), **details)
