"""Run YuNet in onnxruntime: less than two thirds of OpenCV's time on one core, with the same results.

``benchmarks/bundle_yunet.py`` made its file from the published one: for pictures of any size, and faster.
"""

import os
import threading
from pathlib import Path

import cv2
import numpy as np

from maskhub.onnx_session import open_session

__all__ = ["STRIDES", "WEIGHTS", "YuNet"]

WEIGHTS = Path(__file__).parent / "weights" / "yunet.onnx"
STRIDES = (8, 16, 32)
_lock, _sessions = threading.Lock(), {}


class YuNet:
    """What ``cv2.FaceDetectorYN`` computes; all threads share one session, which uses as many threads as OpenCV. It
    keeps the memory of its input: use one per thread.

    ``overlap`` is the intersection over union above which non-maximum suppression drops a face, ``top`` the maximum
    number of faces.
    """

    def __init__(self, path, threshold, overlap=0.3, top=500):
        self.threshold, self.overlap, self.top = threshold, overlap, top
        self._path, self._input = str(path), np.empty(0, np.float32)

    def detect(self, image, margin=(0, 0)):
        """Find faces in a uint8 RGB image of any size, with a ``margin`` of repeated border pixels: its width at the
        left and right, and its height above and below. Returns float32 rows of 15 numbers, best first, in pixels of the
        image with its margin."""
        blob = self._blob(image, *margin)
        out = _session(self._path, cv2.getNumThreads()).run(None, {"input": blob})
        rows = np.concatenate([self._rows(*out[3 * n : 3 * n + 3], stride) for n, stride in enumerate(STRIDES)])
        if len(rows) > 1:
            boxes = np.trunc(rows[:, :4]).astype(int).tolist()
            kept = cv2.dnn.NMSBoxes(boxes, rows[:, 14].tolist(), self.threshold, self.overlap, 1.0, self.top)
            rows = rows[np.asarray(kept, int).reshape(-1)]
        return rows

    def _blob(self, image, across, down):
        """The image with its margin as float32 1×3×H×W in BGR, its sides padded with 0 to multiples of 32."""
        height, width = image.shape[0] + 2 * down, image.shape[1] + 2 * across
        shape = 3, height + -height % 32, width + -width % 32
        if self._input.size < np.prod(shape):  # new memory costs the system 2 ms for 640×480
            self._input = np.empty(np.prod(shape), np.float32)
        blob = self._input[: np.prod(shape)].reshape(shape)
        blob[:, height:], blob[:, :, width:] = 0, 0
        for plane, channel in zip(blob[::-1], cv2.split(image), strict=True):  # OpenCV's blobFromImage takes 3 ms
            plane[:height, :width] = cv2.copyMakeBorder(channel, down, down, across, across, cv2.BORDER_REPLICATE)
        return blob[None]

    def _rows(self, factors, box, points, stride):
        width = factors.shape[3]
        factors, box, points = (values.reshape(values.shape[1], -1) for values in (factors, box, points))
        # no score reaches the threshold where this factor, which few cells have, is below its square
        kept = np.flatnonzero(factors[1] >= self.threshold**2)
        if len(kept):
            score = np.sqrt(factors[:, kept].clip(0, 1).prod(0))
            high = score >= self.threshold
            kept, score = kept[high], score[high]
        if not len(kept):
            return np.empty((0, 15), np.float32)
        box, points = box[:, kept].T.copy(), points[:, kept].T.reshape(-1, 5, 2)
        cell = np.stack([kept % width, kept // width], 1).astype(np.float32)
        size = np.exp(box[:, 2:]) * stride
        corner = (cell + box[:, :2]) * stride - size / 2
        points = (points + cell[:, None]) * stride
        return np.column_stack([corner, size, points.reshape(-1, 10), score]).astype(np.float32)


def _session(path, threads):
    key = path, threads, os.getpid()  # a forked process has none of its parent's threads
    with _lock:
        if key not in _sessions:
            _sessions[key] = open_session(path, threads)
        return _sessions[key]
