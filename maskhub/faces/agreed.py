"""Detect a face at several sizes and mirrored, and take the place on which enough of these detections agree.

In a large picture of a profile, YuNet often puts the nose in front of the face and the eyes in any order; at other
sizes its points are right. Where there is no face, or a covered one, they scatter; the boxes of a covered one do not.
"""

import threading

import cv2
import numpy as np

from maskhub.faces import align
from maskhub.faces.view import MARGIN, SMALL, WORN, face_of, own_row, rows_turned_back, upright_window
from maskhub.faces.worn import worn
from maskhub.faces.yunet import WEIGHTS, YuNet

__all__ = ["agreed", "agreed_face"]

SIDES, AROUND = (96, 128, 176, 224, 288), 2.4
"""Sides in pixels to which the window is scaled, and how many times the larger side of the face's box it spans."""
FOUND = 0.5
"""Lowest score of a detection that counts."""
NEAR = 0.06
"""Detections agree if their points lie within this of the median, on average, in face sizes."""
ENOUGH, LIKELY = 4, 0.65
"""How many of the ten must agree, and their lowest median score. Tuned on 441 heads of FairFace's training photos that
are turned by more than 45°."""
COPIES = (256, 192, 128, 90)
"""Longer sides in pixels of the copies in which :func:`agreed_face` searches a photo: YuNet scores large faces higher
in small pictures."""
FAINT, LOOKS, LARGE = 0.12, 3, 0.4
"""Lowest score of a detection that counts there, how many of the eight copies must show the same face, and its least
size as a share of the photo's shorter side: smaller ones may be a lens of sunglasses above the mask. Tuned on 487 faces
of FairFace's training photos that are turned by more than 25° and wear drawn masks."""
MIRRORED = (1, 0, 2, 4, 3)
"""The points of a mirrored face in their usual order."""

_threads = threading.local()


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
        own = (own_row(found, middle) for found in _detections(window, side, FOUND))
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


def agreed_face(photo):
    """Find a face that fills much of a photo, uint8 RGB H×W×3, though its score is low in the photo itself, as that of
    many masked profiles in tight crops.

    Returns the :class:`~maskhub.faces.face.Face`, or None: the mean of :data:`LOOKS` detections in small copies of the
    photo, as it is and mirrored, that lie in one place, and whose scores reach :data:`FOUND` or on which the mask
    detector sees a mask. Its score is the highest of theirs. Thread-safe.
    """
    rows = [row for side in COPIES for rows in _detections(photo, side, FAINT, MARGIN) for row in rows]
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


def _detections(picture, side, threshold, margin=0.0):
    """YuNet's rows, float32 N×15, in a picture (uint8 RGB H×W×3) whose longer side is reduced to ``side``: those in the
    picture as it is and those in its mirror image, best first, in the picture's pixels. ``margin`` is added around it,
    as a share of each side."""
    nets = _threads.__dict__.setdefault("nets", {})
    if threshold not in nets:
        nets[threshold] = YuNet(WEIGHTS, threshold)
    height, width = picture.shape[:2]
    scale = min(side / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    pad = round(size[0] * margin), round(size[1] * margin)
    grown = np.float32([width / size[0], height / size[1]])
    for mirrored in (False, True):
        rows = nets[threshold].detect(np.ascontiguousarray(scaled[:, ::-1]) if mirrored else scaled, pad)
        points = rows[:, 4:14].reshape(-1, 5, 2) - pad
        corners = rows[:, :2] - pad
        if mirrored:
            points = points[:, MIRRORED]
            points[..., 0] = size[0] - 1 - points[..., 0]
            corners[:, 0] = size[0] - 1 - corners[:, 0] - rows[:, 2]
        points, corners = ((places + 0.5) * grown - 0.5 for places in (points, corners))
        yield np.column_stack([corners, rows[:, 2:4] * grown, points.reshape(-1, 10), rows[:, 14]]).astype(np.float32)
