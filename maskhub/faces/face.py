"""A detected face."""

import math
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Face", "iou"]

PROFILE, ASTRAY, USELESS = (0.45, 0.20), (15.0, 30.0), 60.0
"""The roll changes from the line between the eyes to the line from eyes to mouth as the distance between the eyes falls
from the first share of that to the mouth to the second, and as the difference of both rolls grows from the first number
of degrees to the second. Eyes that differ by more than the last number count only above the first share."""


@dataclass(frozen=True)
class Face:
    """One detected face, in the pixels of the photo.

    Attributes:
        box: left, top, width, height; may extend beyond the photo's edges.
        points: 5×2 float32: the eye, eye, nose tip, mouth corner, mouth corner, each pair with the person's right side
            (the picture's left on an upright face) first.
        score: the detector's confidence, 0 to 1.
        sides: 2×2 float32: the outermost points of the face to its right and left, at the height of its eyes; None if
            only the box is known.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float
    sides: np.ndarray | None = None

    @property
    def angle(self):
        """The face's in-plane rotation in radians, clockwise, by the line between the eyes. In profile the detected
        eyes nearly coincide and their line may have any direction: there the line from eyes to mouth decides."""
        right, left, _, one, other = self.points.tolist()
        across, along = left[0] - right[0], left[1] - right[1]
        angle = math.atan2(along, across)
        beside, below = (one[0] + other[0] - right[0] - left[0]) / 2, (one[1] + other[1] - right[1] - left[1]) / 2
        share = math.hypot(across, along) / max(math.hypot(beside, below), 1e-6)
        if share >= PROFILE[0]:
            return angle
        off = math.remainder(math.atan2(-beside, below) - angle, math.tau)
        degrees = math.degrees(abs(off))
        profile = min((PROFILE[0] - share) / (PROFILE[0] - PROFILE[1]), 1) if degrees <= USELESS else 1
        astray = min(max((degrees - ASTRAY[0]) / (ASTRAY[1] - ASTRAY[0]), 0), 1)
        return math.remainder(angle + profile * astray * off, math.tau)

    @property
    def area(self):
        """Of the box, in pixels."""
        return self.box[2] * self.box[3]

    @property
    def roll(self):
        """:attr:`angle` in degrees."""
        return math.degrees(self.angle)

    def turned_from(self, other):
        """Degrees between the rolls of two faces, 0 to 180."""
        return abs((self.roll - other.roll + 180) % 360 - 180)

    def moved(self, scale=1.0, shift=(0, 0)):
        """The face in other pixels: those of its photo times ``scale``, plus ``shift`` across and down."""
        (left, top, width, height), (x, y) = self.box, shift
        box = left * scale + x, top * scale + y, width * scale, height * scale
        points, sides = (
            None if at is None else at * np.float32(scale) + np.float32(shift) for at in (self.points, self.sides)
        )
        return replace(self, box=tuple(map(float, box)), points=points, sides=sides)


def iou(one, other):
    """Intersection over union of two boxes: left, top, width, height."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(across, 0) * max(down, 0)
    return shared / max(one[2] * one[3] + other[2] * other[3] - shared, 1e-9)
