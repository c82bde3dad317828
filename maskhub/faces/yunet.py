"""Run YuNet in onnxruntime if it is installed: a third of OpenCV's time on one core, with the same results.

The published file is fixed to 640×640, though its graph works for any multiple of 32. The two dimensions of its input
are made dynamic as the file is read: in protobuf the value 640 and a one-letter name take the same number of bytes.
"""

import os
import threading

import cv2
import numpy as np

__all__ = ["YuNet", "free_sizes", "make_yunet"]

STRIDES = (8, 16, 32)
_FIXED, _FREE = b"\x0a\x03\x08\x80\x05" * 2, b"\x0a\x03\x12\x01h\x0a\x03\x12\x01w"
_lock, _sessions = threading.Lock(), {}


def make_yunet(path, threshold, overlap=0.3, top=500):
    """Detector with the ``setInputSize`` and ``detect`` of ``cv2.FaceDetectorYN``, in onnxruntime if it is installed.

    Args:
        path: of the network.
        threshold: lowest score.
        overlap: intersection over union above which non-maximum suppression drops a face.
        top: maximum number of faces.
    """
    try:
        return YuNet(path, threshold, overlap, top)
    except ImportError:
        return cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold, overlap, top)


class YuNet:
    """``cv2.FaceDetectorYN`` in onnxruntime; all threads share one session, which uses as many threads as OpenCV."""

    def __init__(self, path, threshold, overlap, top):
        self.threshold, self.overlap, self.top = threshold, overlap, top
        self._path = str(path)
        self.detect(np.zeros((32, 32, 3), np.uint8))  # fails at once if something is missing

    def setInputSize(self, size):  # noqa: N802 (OpenCV's name)
        """Nothing to do: the graph takes any size."""

    def detect(self, image):
        """Find faces in a uint8 BGR image: 1, and float32 rows of 15 numbers, best first, or None."""
        height, width = image.shape[:2]
        padded = cv2.copyMakeBorder(image, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=0)
        blob = np.stack(cv2.split(padded), dtype=np.float32)[None]  # OpenCV's blobFromImage takes 3 ms for 640×480
        out = _session(self._path, cv2.getNumThreads()).run(None, {"input": blob})
        rows = np.concatenate([self._rows(*out[n::3], stride, blob.shape[3]) for n, stride in enumerate(STRIDES)])
        if len(rows) > 1:
            boxes = np.trunc(rows[:, :4]).astype(int).tolist()
            kept = cv2.dnn.NMSBoxes(boxes, rows[:, 14].tolist(), self.threshold, self.overlap, 1.0, self.top)
            rows = rows[np.asarray(kept, int).reshape(-1)]
        return 1, rows if len(rows) else None

    def _rows(self, sure, there, box, points, stride, width):
        score = np.sqrt(sure[0, :, 0].clip(0, 1) * there[0, :, 0].clip(0, 1))
        kept = np.flatnonzero(score >= self.threshold)
        box, points = box[0, kept], points[0, kept]
        cell = np.stack([kept % (width // stride), kept // (width // stride)], 1).astype(np.float32)
        size = np.exp(box[:, 2:]) * stride
        corner = (cell + box[:, :2]) * stride - size / 2
        points = (points.reshape(-1, 5, 2) + cell[:, None]) * stride
        return np.column_stack([corner, size, points.reshape(-1, 10), score[kept]]).astype(np.float32)


def free_sizes(network):
    """The published file's bytes with the height and width of its input made dynamic."""
    return network.replace(_FIXED, _FREE, 1)


def _session(path, threads):
    import onnxruntime

    # a forked process has none of its parent's threads
    key = path, threads, os.getpid()
    with _lock:
        if key not in _sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = threads, 3
            # threads that wait by spinning would take the cores from other work
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            with open(path, "rb") as file:
                network = free_sizes(file.read())
            _sessions[key] = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        return _sessions[key]
