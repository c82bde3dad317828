"""Face detection with YuNet (Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", 2023).

The 228 kB network is in ``weights/`` (MIT licence, see ``weights/LICENSES.md``).
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskhub.faces.yunet import YuNet

__all__ = ["Face", "FaceDetector", "detect"]

WEIGHTS = Path(__file__).parent / "weights" / "face_detection_yunet_2023mar.onnx"
MARGIN = 0.15
TURNS = (90, -90, 180, 45, -45, 135, -135)
"""Angles in degrees at which a photo is searched for faces that are not upright."""
WINDOW = 176
"""Side in pixels of the window in which a face's orientation is determined."""
SURE = 0.9
"""Upright detections are trusted from this score on. Of 150 unmasked faces, 98 % reach it upright, under 1 % upside
down and none lying. Only half of masked faces reach it, so for many of those the orientation is checked."""
UNSURE_LEAD = 0.06
"""How much higher another orientation must score if it doesn't reach :data:`SURE`: in 5 of 168 photos, upright masked
faces scored 0.01 to 0.05 higher upside down or lying."""


@dataclass(frozen=True)
class Face:
    """One detected face, in the pixels of the photo.

    Attributes:
        box: left, top, width, height; may extend beyond the photo's edges.
        points: 5×2 float32: the eye, eye, nose tip, mouth corner, mouth corner, each pair with the person's right side
            (the picture's left on an upright face) first.
        score: the detector's confidence, 0 to 1.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float

    @property
    def roll(self):
        """The face's in-plane rotation in degrees, clockwise, from the line between the eyes."""
        dx, dy = self.points[1] - self.points[0]
        return float(np.degrees(np.arctan2(dy, dx)))

    def scaled(self, factor):
        """The face in a copy of the photo ``factor`` times as large."""
        return Face(tuple(factor * value for value in self.box), factor * self.points, self.score)


class FaceDetector:
    """Finds faces in whole photos.

    Args:
        threshold: lowest confidence of a face, 0 to 1.
        max_side: photos are first scaled down to this longer side; faces then smaller than about 10 pixels are lost.
        turn: determine the orientation of each face below :data:`SURE`, in steps of 45°, and search again with the
            photo turned upright. If no face is found, all orientations are searched.
        margin: share of each side that is added around the photo: YuNet misses faces that fill the whole picture.

    A detector holds scratch state: use one per thread, or :func:`detect`, which does.
    """

    def __init__(self, threshold=0.7, max_side=1024, turn=True, margin=MARGIN):
        self.threshold, self.max_side, self.turn, self.margin = threshold, max_side, turn, margin
        self._net = YuNet(WEIGHTS, threshold)

    def __call__(self, image, turn=None):
        """The faces of a photo, uint8 RGB H×W×3, as a list of :class:`Face`, largest first; ``turn`` overrides the
        detector's setting."""
        height, width = image.shape[:2]
        # the full margin is added at full size only for small photos; otherwise on the scaled-down copy
        scale = min(1.0, self.max_side / (max(height, width) * (1 + 2 * self.margin)))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        pad_x, pad_y = (round(side * self.margin) for side in (image.shape[1], image.shape[0]))
        padded = cv2.copyMakeBorder(image, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_REPLICATE)
        padded = cv2.cvtColor(padded, cv2.COLOR_RGB2BGR)
        rows = self._find(padded)
        if self.turn if turn is None else turn:
            rows = self._find_turned(padded, rows) if _best(rows) < SURE else self._turn_unsure(padded, rows)
        faces = [_face(row, (pad_x, pad_y), (image.shape[1] / width, image.shape[0] / height)) for row in rows]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _find_turned(self, image, rows):
        """Search the turned image; returns ``rows``, found in the unturned one, unless the turned ones score higher."""
        turns = TURNS
        if len(rows):
            winner = self._way_up(image, rows[rows[:, 14].argmax()])
            turns = (winner,) if winner else ()
        best = 0.0
        for degrees in turns:
            matrix, turned = _turned(image, degrees)
            found = self._find(turned)
            if _best(found) > best:
                best, rows = _best(found), _turn_back(found, matrix, degrees)
            if best >= SURE + 0.02:
                break
        return rows

    def _turn_unsure(self, image, rows):
        """In an image with at least one sure face, detect the others again with each turned upright."""
        return np.stack([row if row[14] >= SURE else self._righted(image, row) for row in rows])

    def _righted(self, image, row):
        """Detect a face again in its surroundings turned upright; returns the row unchanged if it is upright."""
        winner = self._way_up(image, row)
        if not winner:
            return row
        to_window = np.vstack([_window_matrix(row), (0, 0, 1)])
        matrix = _about_the_middle(winner) @ to_window
        turned = cv2.warpAffine(image, matrix, (WINDOW, WINDOW), borderMode=cv2.BORDER_REPLICATE)
        found = _turn_back(self._net.detect(turned), matrix, winner)
        middles = found[:, :2] + found[:, 2:4] / 2
        own = np.linalg.norm(middles - (row[:2] + row[2:4] / 2), axis=1) < 0.5 * max(row[2:4])  # not a neighbour's
        return found[own][0] if own.any() else row

    def _way_up(self, image, row):
        """Degrees by which a detected face must be turned to stand upright; 0 unless that is clearly better.

        A lying or upside-down face is often detected as upright, with a low score and misplaced points. A small window
        around it is enough to find its orientation, at a fraction of the cost of the whole photo.
        """
        window = _window(image, row)
        scores = {degrees: self._score(_turned_window(window, degrees)) for degrees in (0, *TURNS)}
        winner = max(scores, key=scores.get)
        # a masked face scores low, and sometimes slightly higher upside down: most photos are upright
        lead = 0.01 if scores[winner] >= SURE else UNSURE_LEAD
        return winner if scores[winner] > max(scores[0], float(row[14])) + lead else 0

    def _score(self, window):
        return _best(self._net.detect(window))

    def _find(self, image):
        """YuNet's rows of 15 numbers, in the pixels of this BGR image."""
        return self._net.detect(image)


_threads = threading.local()


def detect(image, threshold=0.7, max_side=1024, margin=MARGIN):
    """Find the faces of a uint8 RGB photo; see :class:`FaceDetector`. Thread-safe."""
    detectors = _threads.__dict__.setdefault("detectors", {})
    key = threshold, max_side, margin
    if key not in detectors:
        detectors[key] = FaceDetector(threshold, max_side, margin=margin)
    return detectors[key](image)


def _face(row, pad, scale):
    pad, scale = np.asarray(pad, np.float32), np.asarray(scale, np.float32)
    corner = (row[:2] - pad) / scale
    size = row[2:4] / scale
    points = (row[4:14].reshape(5, 2) - pad) / scale
    return Face((*map(float, corner), *map(float, size)), points.astype(np.float32), float(row[14]))


def _best(rows):
    return float(rows[:, 14].max(initial=0.0))


def _window(image, row):
    """The surroundings of a detected face, WINDOW pixels a side."""
    return cv2.warpAffine(image, _window_matrix(row), (WINDOW, WINDOW), borderMode=cv2.BORDER_REPLICATE)


def _window_matrix(row):
    side = 1.8 * max(row[2], row[3])
    scale = WINDOW / side
    corner = row[:2] + row[2:4] / 2 - side / 2
    return np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])


def _turned_window(window, degrees):
    """A :func:`_window` turned clockwise about its centre, at the same size."""
    return cv2.warpAffine(window, _about_the_middle(degrees), (WINDOW, WINDOW), borderMode=cv2.BORDER_REPLICATE)


def _about_the_middle(degrees):
    return cv2.getRotationMatrix2D(((WINDOW - 1) / 2, (WINDOW - 1) / 2), -degrees, 1.0)


def _turned(image, degrees):
    """The image turned clockwise on a canvas that holds all of it, and the 2×3 matrix of the turn."""
    height, width = image.shape[:2]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    size = round(abs(width * cos) + abs(height * sin)), round(abs(width * sin) + abs(height * cos))
    linear = np.array([[cos, -sin], [sin, cos]])
    middle, new_middle = np.array([width - 1, height - 1]) / 2, (np.array(size) - 1) / 2
    matrix = np.column_stack([linear, new_middle - linear @ middle])
    return matrix, cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)


def _turn_back(rows, matrix, degrees):
    """Map YuNet's rows found in a :func:`_turned` image back to the original image."""
    rows, inverse = rows.copy(), cv2.invertAffineTransform(matrix)
    centres = cv2.transform((rows[:, None, :2] + rows[:, None, 2:4] / 2).astype(np.float64), inverse)[:, 0]
    # treat the face as an ellipse in its box, and take the box of the turned ellipse
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    width, height = rows[:, 2:4].T / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    rows[:, 2], rows[:, 3] = np.hypot(width * cos, height * sin), np.hypot(width * sin, height * cos)
    rows[:, :2] = centres - rows[:, 2:4] / 2
    rows[:, 4:14] = cv2.transform(rows[:, 4:14].reshape(-1, 5, 2).astype(np.float64), inverse).reshape(-1, 10)
    return rows
