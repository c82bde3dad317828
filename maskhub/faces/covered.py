"""Find and place covered faces by all detections of a face in small, mirrored and enlarged copies, and by the mask that
seems to be worn on each.

Of a masked head that is turned, YuNet often takes brow and eyes for the whole face, or finds it only at some sizes. The
mask detector is surest where the face is placed as it is in training.
"""

import numpy as np

from maskhub.faces import align
from maskhub.faces.copies import detections
from maskhub.faces.view import MARGIN, SMALL, WORN, face_of, rows_turned_back, upright_window
from maskhub.faces.worn import worn

__all__ = ["covered_face", "covered_place"]

COPIES = (256, 192, 128, 90)
"""Longer sides in pixels of the copies of a photo or a window: YuNet scores large faces higher in small pictures."""
FAINT, FOUND, LOOKS, LARGE = 0.12, 0.5, 3, 0.4
"""Lowest score of a detection that counts if a mask is worn on it, and without one; how many of the eight copies of a
photo must show a face; and its least size as a share of the photo's shorter side: smaller ones may be a lens of
sunglasses above the mask. Tuned on 487 faces of FairFace's training photos that are turned by more than 25° and wear
drawn masks."""
AROUND = 2.0
"""How many times the larger side of the face's box a window spans."""
HARDLY = 0.02
"""Confidence of a mask below which a face is taken for a bare one at once."""


def covered_face(photo):
    """Find a face that fills much of a photo, uint8 RGB H×W×3, though its score is low in the photo itself, as that of
    many masked profiles in tight crops.

    Returns the :class:`~maskhub.faces.face.Face`, or None: the mean of :data:`LOOKS` detections in small copies of the
    photo, as it is and mirrored, that lie in one place, and whose scores reach :data:`FOUND` or on which the mask
    detector sees a mask. Its score is the highest of theirs. Thread-safe.
    """
    rows = [row for side in COPIES for rows in detections(photo, side, FAINT, MARGIN) for row in rows]
    least = max(LARGE * min(photo.shape[:2]), SMALL)
    rows = sorted((row for row in rows if min(row[2:4]) >= least), key=lambda row: -row[14])
    while len(rows) >= LOOKS:
        here, others = [rows[0]], []
        for row in rows[1:]:
            (here if _same_place(row, rows[0]) else others).append(row)
        shown = _shown(photo, here)
        if len(shown) == LOOKS:
            row = np.average(shown, 0, [one[14] for one in shown]).astype(np.float32)
            row[14] = shown[0][14]
            return face_of(row, (0, 0), (1, 1))
        rows = others
    return None


def _shown(photo, rows):
    """Of rows in one place, best first, the first :data:`LOOKS` that show a face; fewer if there are not as many."""
    shown = rows[:LOOKS] if len(rows) >= LOOKS and rows[LOOKS - 1][14] >= FOUND else []
    for number, row in enumerate(rows):
        if len(shown) == LOOKS or len(shown) + len(rows) - number < LOOKS:  # a look at a mask takes 8 ms
            break
        if worn(photo, face_of(row, (0, 0), (1, 1))) >= WORN:
            shown.append(row)
    return shown


def _same_place(row, other):
    size, apart = max(other[2:4]), row[:2] + row[2:4] / 2 - other[:2] - other[2:4] / 2
    return np.hypot(*apart) < 0.5 * size and 0.6 < max(row[2:4]) / size < 1.67


def covered_place(photo, face):
    """Place a masked face on which landmarks don't settle.

    Args:
        photo: uint8 RGB H×W×3.
        face: the detected :class:`~maskhub.faces.face.Face`.

    Returns the face, or None if no mask seems to be worn. Box and points are the mean of its detections in copies of
    the photo, or of a window around it, and then in copies of an upright window around their mean, each weighted by the
    odds that a mask is worn there. Thread-safe.
    """
    seen = [(_odds(photo, face), face)]
    if seen[0][0] < HARDLY / (1 - HARDLY):
        return None
    upright = 90.0 * round(face.roll / 90)
    filling = max(face.box[2:]) >= LARGE * min(photo.shape[:2])
    seen += _seen(photo, face, None if filling and not upright else upright)
    if max(odds for odds, _ in seen) < WORN / (1 - WORN):
        return None
    mean = _mean(seen)
    return _mean(seen + _seen(photo, mean, mean.roll))


def _odds(photo, face):
    confidence = worn(photo, face) if min(face.box[2:]) >= SMALL else 0.0
    return confidence / (1 - confidence + 1e-7)


def _seen(photo, face, roll):
    """Detections of a face in copies of a window around it that is turned by ``roll`` degrees, or of the photo if that
    is None: pairs of the odds that a mask is worn there and the face."""
    matrix, picture, margin = np.eye(2, 3), photo, MARGIN
    if roll is not None:
        matrix = upright_window(face.box, roll, COPIES[0] / (AROUND * max(face.box[2:])), COPIES[0])
        picture, margin = align.crop(photo, matrix, COPIES[0]), 0.0
    rows = [row for side in COPIES for rows in detections(picture, side, FAINT, margin) for row in rows]
    if not rows:
        return []
    faces = [face_of(row, (0, 0), (1, 1)) for row in rows_turned_back(np.stack(rows), matrix, -(roll or 0.0))]
    return [(_odds(photo, one), one) for one in faces if _same_face(one, face)]


def _same_face(one, other):
    (left, top, width, height), (x, y, *size) = one.box, other.box
    ours, theirs = max(width, height), max(size)
    apart = np.hypot(left + width / 2 - x - size[0] / 2, top + height / 2 - y - size[1] / 2)
    return apart < 0.6 * max(ours, theirs) and 0.45 < ours / theirs < 2.2


def _mean(seen):
    odds = [odds for odds, _ in seen]
    row = np.average([[*face.box, *face.points.ravel(), face.score] for _, face in seen], 0, odds)
    row[14] = seen[0][1].score
    return face_of(row.astype(np.float32), (0, 0), (1, 1))
