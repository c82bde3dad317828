"""The One-Euro filter: steady at rest, quick in motion.

Casiez, Roussel, Vogel: "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems",
CHI 2012.
"""

import numpy as np

__all__ = ["OneEuro", "Steady"]

SPEED_CUTOFF = 1.0
"""Cutoff in Hz of the low-pass filter on the speed; the paper's value."""
REST, NOISE = 0.3, 0.004
"""Seconds over which points at rest are averaged, and the noise of their position, in widths of the face."""


class OneEuro:
    """Filters a set of points as one: all share the cutoff of their common speed, so that their shape is preserved.

    Args:
        cutoff: Hz, at rest: lower reduces jitter.
        beta: increase of the cutoff in Hz per unit of speed: higher reduces lag. Speed is measured in the ``size``
            given with each value, per second, so that near and far faces are treated alike.
    """

    def __init__(self, cutoff=1.0, beta=14.0):
        self.cutoff, self.beta = cutoff, beta
        self.value = self._raw = self._speed = None

    def __call__(self, value, seconds, size=1.0):
        """Filter N points of D coordinates, float N×D, ``seconds`` (above 0) after the previous ones; the first are
        unchanged.

        ``size`` is the unit of length for the speed.
        """
        value = np.asarray(value, np.float64)
        if self.value is None:
            self.value, self._raw, self._speed = value, value, np.zeros_like(value)
            return value
        speed = (value - self._raw) / (seconds * size)
        self._speed = self._speed + _share(SPEED_CUTOFF, seconds) * (speed - self._speed)
        self._raw = value
        rms = float(np.sqrt((self._speed**2).sum(-1).mean()))
        self.value = self.value + _share(self.cutoff + self.beta * rms, seconds) * (value - self.value)
        return self.value


def _share(cutoff, seconds):
    """The weight of a new value in an exponential filter with this cutoff (Hz)."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * seconds))


class Steady:
    """Follows the points of a face without lag, but not their noise.

    What is nearer than :data:`NOISE` to where the points are already is averaged over :data:`REST` seconds; anything
    further away is followed at once, so that the points are never further behind than that.
    """

    def __init__(self):
        self.value = None

    def __call__(self, value, seconds, sides):
        """Filter N points, float64 N×2, ``seconds`` after the previous ones; ``sides``, 2×2, span the face's width."""
        if self.value is None:
            self.value = value
            return value
        away = value - self.value
        distance = np.sqrt((away**2).sum(1).mean()) / max(float(np.linalg.norm(sides[1] - sides[0])), 1e-6)
        least = 1 - np.exp(-seconds / REST)
        self.value = self.value + (least + (1 - least) * min(distance / NOISE, 1.0) ** 2) * away
        return self.value
