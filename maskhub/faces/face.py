"""A detected face."""

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Face"]


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
    def roll(self):
        """The face's in-plane rotation in degrees, clockwise, from the line between the eyes."""
        dx, dy = self.points[1] - self.points[0]
        return float(np.degrees(np.arctan2(dy, dx)))

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
