"""Find covered faces in small and mirrored copies of a photo, and place them by the detections on which the mask
detector is surest.

Of a masked head that is turned, YuNet often takes brow and eyes for the whole face, or finds it only at some sizes. The
mask detector is surest where the face is placed as it is in training.
"""

from dataclasses import replace

import numpy as np

from maskhub.faces import align
from maskhub.faces.copies import detections
from maskhub.faces.view import MARGIN, SMALL, WORN, face_of, rows_turned_back, sides_in_window, upright_window
from maskhub.faces.worn import worn

__all__ = ["covered_face", "covered_place"]

COPIES = (256, 192, 128, 90)
"""Longer sides in pixels of the copies of a photo or a window: YuNet scores large faces higher in small pictures."""
FAINT, LOOKS, LARGE = 0.12, 3, 0.4
"""Lowest score of a detection that counts if a mask seems to be worn there, how many of them show a face, and the least
size of the face as a share of the photo's shorter side: smaller ones may be a lens of sunglasses above the mask. Tuned
on 487 faces of FairFace's training photos that are turned by more than 25° and wear drawn masks."""
FOUND, FIRM = 0.5, 5
"""Lowest score of a detection that counts without a mask, and how many of these show a face."""
AROUND = 2.0
"""How many times the larger side of the face's box a window spans."""
HARDLY = 0.02
"""Confidence of a mask below which a face is taken for a bare one at once."""


def covered_face(photo):
    """Find a face that fills much of a photo, uint8 RGB H×W×3, though its score is low in the photo itself, as that of
    many masked profiles in tight crops.

    Returns the :class:`~maskhub.faces.face.Face`, or None: the mean of :data:`LOOKS` detections in small copies of the
    photo, as it is and mirrored, that lie in one place. Either the mask detector sees a mask on each, or the scores of
    :data:`FIRM` there reach :data:`FOUND`. Its score is the highest of theirs. Thread-safe.
    """
    rows = _detections(photo, MARGIN)
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
    shown = rows[:LOOKS] if len(rows) >= FIRM and rows[FIRM - 1][14] >= FOUND else []
    for number, row in enumerate(rows):
        if len(shown) == LOOKS or len(shown) + len(rows) - number < LOOKS:  # a look at a mask takes 8 ms
            break
        if worn(photo, face_of(row, (0, 0), (1, 1))) >= WORN:
            shown.append(row)
    return shown


def _same_place(row, other):
    size, apart = max(other[2:4]), row[:2] + row[2:4] / 2 - other[:2] - other[2:4] / 2
    return np.hypot(*apart) < 0.5 * size and 0.6 < max(row[2:4]) / size < 1.67


def covered_place(photo, face, others=()):
    """Place a masked face on which landmarks don't settle.

    Args:
        photo: uint8 RGB H×W×3.
        face: the detected :class:`~maskhub.faces.face.Face`.
        others: the other faces of the photo, which are not to be mistaken for it.

    Returns the face, or None unless a mask seems to be worn on at least :data:`LOOKS` detections. Box and points are
    the mean of its detections in copies of the photo, or of a window around it, and then in copies of an upright window
    around their mean, each weighted by the odds that a mask is worn there. Thread-safe.
    """
    seen = [(_odds(photo, face), face)]
    if seen[0][0] < HARDLY / (1 - HARDLY):
        return None
    upright = 90.0 * round(face.roll / 90)
    filling = max(face.box[2:]) >= LARGE * min(photo.shape[:2])
    seen += _seen(photo, face, others, None if filling and not upright else upright)
    if sum(odds >= WORN / (1 - WORN) for odds, _ in seen) < LOOKS:  # of many looks at a bare face, one may see a mask
        return None
    mean = _mean(seen)
    return _mean(seen + _seen(photo, mean, others, mean.roll))


def _odds(photo, face):
    confidence = worn(photo, face) if min(face.box[2:]) >= SMALL else 0.0
    return confidence / (1 - confidence + 1e-7)


def _seen(photo, face, others, roll):
    """Detections of a face in copies of a window around it that is turned by ``roll`` degrees, or of the photo if that
    is None: pairs of the odds that a mask is worn there and the face; without those nearer to one of ``others``."""
    matrix, picture, margin = np.eye(2, 3), photo, MARGIN
    if roll is not None:
        matrix = upright_window(face.box, roll, COPIES[0] / (AROUND * max(face.box[2:])), COPIES[0])
        picture, margin = align.crop(photo, matrix, COPIES[0]), 0.0
    seen = []
    for row in _detections(picture, margin):
        one = face_of(rows_turned_back(row[None], matrix, -(roll or 0.0))[0], (0, 0), (1, 1))
        if _same_face(one, face) and all(_apart(one, face) < _apart(one, other) for other in others):
            seen.append((_odds(photo, one), replace(one, sides=sides_in_window(row, matrix))))
    return seen


def _detections(picture, margin):
    """Rows in the copies of a picture; a small picture has fewer of them, since it is not enlarged."""
    sides = dict.fromkeys(min(side, max(picture.shape[:2])) for side in COPIES)
    return [row for side in sides for rows in detections(picture, side, FAINT, margin) for row in rows]


def _same_face(one, other):
    ours, theirs = max(one.box[2:]), max(other.box[2:])
    return _apart(one, other) < 0.6 * max(ours, theirs) and 0.45 < ours / theirs < 2.2


def _apart(one, other):
    (left, top, width, height), (x, y, wide, high) = one.box, other.box
    return np.hypot(left + width / 2 - x - wide / 2, top + height / 2 - y - high / 2)


def _mean(seen):
    """The mean of faces, weighted by their odds; its score is the first one's, which need not have sides."""
    odds = [odds for odds, _ in seen]
    row = np.average([[*face.box, *face.points.ravel(), face.score] for _, face in seen], 0, odds)
    row[14] = seen[0][1].score
    mean, sided = face_of(row.astype(np.float32), (0, 0), (1, 1)), [one for one in seen if one[1].sides is not None]
    if not sided:
        return mean
    odds, faces = zip(*sided, strict=True)
    return replace(mean, sides=np.average([face.sides for face in faces], 0, odds).astype(np.float32))
