"""Place a face by its landmarks, so that it is found alike however the photo is turned, shifted or zoomed.

From one crop to the next, YuNet moves the eyes of a masked face by 2 % of its width and turns them by 2°, and the box
of a turned face is up to a quarter too wide. The landmark network hardly depends on its crop, and looking again at a
crop placed by the last landmarks leads to the same place from anywhere near it.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from maskhub.faces.mesh import PRESENT, look

__all__ = ["Settled", "settle", "settled"]

EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
"""The landmarks around each eye, the person's right one first."""
NOSE_AND_MOUTH = (1, 61, 291)
MESH = 468
"""Landmarks of the face; those after them are the irises'."""
FIRST_SIDE, FIRST_BELOW = 1.25, 0.05
"""Side of the first crop and how far its centre lies below the box's, in the larger side of the box."""
NEXT_SIDE, NEXT_BELOW = 1.55, 0.294
"""The same for later crops, in widths of the face, below the middle of the eyes."""
LOOKS, TRIES = 4, 2
"""Maximum number of runs of the network, and the number within which the face must be present."""
STILL = 0.02
"""A face has settled once its eyes and sides move by less than this share of its width, on average."""
AWAY = 0.35
"""It is another face, or not a face, if its middle has moved further than this share of the box's larger side."""


class Settled(NamedTuple):
    """A face placed by its landmarks.

    Attributes:
        face: the :class:`~maskhub.faces.face.Face`, with its points and ``sides`` placed by the landmarks; its box
            and score are the detector's.
        presence: the landmark network's confidence that there is a face, 0 to 1.
    """

    face: Any
    presence: float

    @property
    def sure(self):
        """Whether the network confirms the face. If not, its landmarks can still be used to place it: on profiles and
        covered faces they mostly lead to one place all the same."""
        return self.presence >= PRESENT


def settled(image, face):
    """The :class:`~maskhub.faces.face.Face` placed by its landmarks, or None if they don't settle surely; see
    :func:`settle`."""
    found = settle(image, face)
    return found and found.face


def settle(image, face, surely=True):
    """The :class:`Settled` face of a detected :class:`~maskhub.faces.face.Face` in a photo, uint8 RGB H×W×3.

    None if the landmarks don't settle; with ``surely`` also if the network isn't sure of the face: covered faces,
    profiles, and nine of ten faces that were detected in a wrong orientation.
    """
    size, angle = max(face.box[2:]), np.radians(face.roll)
    start = np.array([face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2])
    across = np.array([np.cos(angle), np.sin(angle)])
    centre, side = start + FIRST_BELOW * size * np.array([-across[1], across[0]]), FIRST_SIDE * size
    before, moved = None, np.inf
    for number in range(LOOKS):
        points, presence = look(image, centre, side, across)
        points = points[:MESH, :2].astype(np.float64)
        if np.linalg.norm((points.min(0) + points.max(0)) / 2 - start) > AWAY * size:
            return None
        if surely and presence < PRESENT and number >= TRIES - 1:
            return None
        five, sides, across = _measured(points)
        width, now = float((sides[1] - sides[0]) @ across), np.vstack([five[:2], sides])
        if before is not None:
            moved = np.linalg.norm(now - before, axis=1).mean() / width
        if moved < STILL:
            placed = replace(face, points=five.astype(np.float32), sides=sides.astype(np.float32))
            return Settled(placed, presence)
        before = now
        centre = five[:2].mean(0) + NEXT_BELOW * width * np.array([-across[1], across[0]])
        centre, side = centre + ((sides.mean(0) - centre) @ across) / 2 * across, NEXT_SIDE * width
    return None


def _measured(points):
    """Eyes, nose and corners of the mouth, 5×2; the outermost points to the face's right and left at the height of its
    eyes, 2×2; and the unit vector along its eyes."""
    eyes = np.stack([points[list(eye)].mean(0) for eye in EYES])
    across = eyes[1] - eyes[0]
    across /= max(float(np.hypot(*across)), 1e-9)
    along, middle = points @ across, eyes.mean(0)
    sides = middle + np.array([[along.min()], [along.max()]]) * across - (middle @ across) * across
    return np.vstack([eyes, points[list(NOSE_AND_MOUTH)]]), sides, across
