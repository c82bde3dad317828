"""Detect a face again at several sizes and mirrored, and take the place on which enough of these detections agree.

In a large picture of a profile, YuNet often puts the nose in front of the face and the eyes in any order; at other
sizes its points are right. Where there is no face, or a covered one, they scatter.
"""

import numpy as np

from maskhub.faces import align
from maskhub.faces.copies import detections
from maskhub.faces.view import face_of, own_row, rows_turned_back, upright_window

__all__ = ["agreed"]

SIDES, AROUND = (96, 128, 176, 224, 288), 2.4
"""Sides in pixels to which the window is scaled, and how many times the larger side of the face's box it spans."""
FOUND = 0.5
"""Lowest score of a detection that counts."""
NEAR = 0.06
"""Detections agree if their points lie within this of the median, on average, in face sizes."""
ENOUGH, LIKELY = 4, 0.65
"""How many of the ten must agree, and their lowest median score. Tuned on 441 heads of FairFace's training photos that
are turned by more than 45°."""


def agreed(photo, face):
    """The :class:`~maskhub.faces.face.Face` on which :data:`ENOUGH` detections around ``face`` in a photo (uint8 RGB
    H×W×3) agree, or None; its score is the median of all. Thread-safe.

    The line from the eyes to the mouth makes the window upright, since the eyes of a profile lie almost in one place.
    """
    down = face.points[3:].mean(0) - face.points[:2].mean(0)
    roll = float(np.degrees(np.arctan2(-down[0], down[1])))
    matrix = upright_window(face.box, roll, SIDES[-1] / (AROUND * max(face.box[2:])), SIDES[-1])
    window = align.crop(photo, matrix, SIDES[-1])
    rows = []
    middle = np.float32([SIDES[-1] / 2 - SIDES[-1] / AROUND / 2] * 2 + [SIDES[-1] / AROUND] * 2)
    for number, side in enumerate(SIDES, 1):
        own = (own_row(found, middle) for found in detections(window, side, FOUND))
        rows += [row for row in own if row is not None]
        if len(rows) + 2 * (len(SIDES) - number) < ENOUGH:  # even if the larger, slower sides find it
            return None
    rows = np.stack(rows)
    points, middle = rows[:, 4:14].reshape(-1, 5, 2), np.median(rows, 0)
    apart = np.linalg.norm(points - middle[4:14].reshape(5, 2), axis=2).mean(1)
    near = apart <= NEAR * max(middle[2:4])
    if near.sum() < ENOUGH or middle[14] < LIKELY:
        return None
    row = rows[near].mean(0)
    row[14] = middle[14]
    return face_of(rows_turned_back(row[None], matrix, -roll)[0], (0, 0), (1, 1))
