"""Intervals about figures: how much another draw of as many photos would differ.

They say nothing of what is wrong with the photos themselves.
"""

import math

import numpy as np

__all__ = ["bootstrap_interval", "mean_figure", "share_figure", "wilson_interval"]

Z = 1.959964
"""Of 95 % about a Gaussian."""


def wilson_interval(hits, n, z=Z):
    """The score interval of a share (Wilson: "Probable inference", 1927), right near 0 and 1 and for small n.

    Returns:
        ``(low, high)``; ``(0, 1)`` where n is 0.
    """
    if n == 0:
        return 0.0, 1.0
    share, slack = hits / n, z * z / n
    middle = (share + slack / 2) / (1 + slack)
    half = z / (1 + slack) * math.sqrt(share * (1 - share) / n + slack / (4 * n))
    return (0.0 if hits == 0 else max(0.0, middle - half)), (1.0 if hits == n else min(1.0, middle + half))


def bootstrap_interval(values, statistic=np.mean, resamples=1000, seed=0):
    """95 % percentile bootstrap (Efron 1979) of a statistic of independent values.

    Args:
        values: N numbers, or N×... .
        statistic: array of them → number.

    Returns:
        ``(low, high)``; NaN twice for fewer than 2 values.
    """
    values = np.asarray(values)
    if len(values) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    drawn = [statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(resamples)]
    return tuple(float(q) for q in np.percentile(drawn, [2.5, 97.5]))


def share_figure(hits, n):
    """A share as a report's figure, with its Wilson interval; no value where n is 0."""
    return {"value": hits / n if n else None, "interval": list(wilson_interval(hits, n)), "n": int(n)}


def mean_figure(values, seed=0):
    """A mean as a report's figure, with its bootstrap interval; no value where there is none."""
    out = {"value": float(np.mean(values)) if len(values) else None}
    interval = bootstrap_interval(values, seed=seed)
    return out | ({} if math.isnan(interval[0]) else {"interval": list(interval)}) | {"n": len(values)}
