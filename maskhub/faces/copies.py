"""YuNet in reduced and mirrored copies of a picture: its answers differ, above all of large and of covered faces."""

import threading

import cv2
import numpy as np

from maskhub.faces.yunet import WEIGHTS, YuNet

__all__ = ["detections"]

MIRRORED = (1, 0, 2, 4, 3)
"""The points of a mirrored face in their usual order."""

_threads = threading.local()


def detections(picture, side, threshold, margin=0.0):
    """Yield YuNet's rows, float32 N×15, twice: of a picture (uint8 RGB H×W×3) whose longer side is reduced to ``side``,
    and of its mirror image; best first, in the picture's pixels. ``margin`` is added around it,
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
