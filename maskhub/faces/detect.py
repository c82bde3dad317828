"""Face detection with YuNet (Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", 2023) by OpenCV.

The 228 kB network lies in ``weights/`` (MIT licence, see ``weights/LICENSES.md``).
"""

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

__all__ = ["Face", "FaceDetector", "detect"]

WEIGHTS = Path(__file__).parent / "weights" / "face_detection_yunet_2023mar.onnx"
MARGIN = 0.15
"""Share of each side added around the photo: YuNet misses faces that fill the whole picture."""


@dataclass(frozen=True)
class Face:
    """One detected face, in the pixels of the photo.

    Attributes:
        box: left, top, width, height; may reach over the photo's edges.
        points: 5×2 float32: the eye, eye, nose tip, mouth corner, mouth corner, each pair with the person's right side
            (the picture's left on an upright face) first.
        score: the detector's confidence, 0 to 1.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float

    @property
    def roll(self):
        """The head's turn in the picture's plane in degrees, clockwise, from the line between the eyes."""
        dx, dy = self.points[1] - self.points[0]
        return float(np.degrees(np.arctan2(dy, dx)))


class FaceDetector:
    """Finds faces in whole photos.

    Args:
        threshold: lowest confidence of a face, 0 to 1.
        max_side: photos are scaled down to this longer side first; faces smaller than about 10 pixels then are lost.
        turn: where an upright photo shows no face, look again with it turned by 180° and ±90°.

    One detector holds scratch state: use one a thread, or :func:`detect`, which does so.
    """

    def __init__(self, threshold=0.7, max_side=1024, turn=True):
        self.threshold, self.max_side, self.turn = threshold, max_side, turn
        with _quiet_opencv():
            self._net = cv2.FaceDetectorYN.create(str(WEIGHTS), "", (320, 320), threshold, 0.3, 500)

    def __call__(self, image):
        """Find the faces of a photo.

        Args:
            image: uint8 RGB, H×W×3.

        Returns:
            list of :class:`Face`, largest first; empty where there is none.
        """
        faces = self._upright(image)
        if not faces and self.turn:
            height, width = image.shape[:2]
            for quarter_turns in (2, 1, 3):
                turned = self._upright(np.ascontiguousarray(np.rot90(image, quarter_turns)))
                if turned:
                    faces = [_turn_back(face, quarter_turns, width, height) for face in turned]
                    break
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _upright(self, image):
        height, width = image.shape[:2]
        # a whole margin is added at full size only where the photo is small; else on the scaled-down copy
        scale = min(1.0, self.max_side / (max(height, width) * (1 + 2 * MARGIN)))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        pad_x, pad_y = round(image.shape[1] * MARGIN), round(image.shape[0] * MARGIN)
        padded = cv2.copyMakeBorder(image, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_REPLICATE)
        self._net.setInputSize((padded.shape[1], padded.shape[0]))
        _, rows = self._net.detect(cv2.cvtColor(padded, cv2.COLOR_RGB2BGR))
        scale_x, scale_y = image.shape[1] / width, image.shape[0] / height
        return [_face(row, (pad_x, pad_y), (scale_x, scale_y)) for row in (rows if rows is not None else [])]


_threads = threading.local()


def detect(image, threshold=0.7, max_side=1024):
    """Find the faces of a uint8 RGB photo; see :class:`FaceDetector`. Safe from several threads."""
    detectors = _threads.__dict__.setdefault("detectors", {})
    key = (threshold, max_side)
    if key not in detectors:
        detectors[key] = FaceDetector(threshold, max_side)
    return detectors[key](image)


def _face(row, pad, scale):
    pad, scale = np.asarray(pad, np.float32), np.asarray(scale, np.float32)
    corner = (row[:2] - pad) / scale
    size = row[2:4] / scale
    points = (row[4:14].reshape(5, 2) - pad) / scale
    return Face((*map(float, corner), *map(float, size)), points.astype(np.float32), float(row[14]))


def _turn_back(face, quarter_turns, width, height):
    """Map a face found in ``np.rot90(image, quarter_turns)`` to the pixels of the width×height image."""

    def back(points):
        x, y = points[:, 0], points[:, 1]
        if quarter_turns == 1:
            return np.stack([width - y, x], 1)
        if quarter_turns == 2:
            return np.stack([width - x, height - y], 1)
        return np.stack([y, height - x], 1)

    left, top, w, h = face.box
    corners = back(np.array([[left, top], [left + w, top + h]]))
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    points = back(face.points).astype(np.float32)
    return Face((float(x0), float(y0), float(x1 - x0), float(y1 - y0)), points, face.score)


@contextmanager
def _quiet_opencv():
    """OpenCV 5 warns at each load that its new engine ignores the target; that is no news to a user."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
