"""Run the face landmark network in LiteRT (twice as fast) if it is installed, else in OpenCV.

The landmarks of both agree to a thousandth of a crop pixel. LiteRT has no wheels for some systems, including Windows.
"""

import os
import threading
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

__all__ = ["SIDE", "run_mesh"]

WEIGHTS = Path(__file__).parent / "weights" / "face_landmarks_detector.tflite"
SIDE = 256
"""Side of the network's input in pixels."""

_threads = threading.local()


def run_mesh(crop):
    """Run the network on a crop, uint8 RGB 256×256×3. Thread-safe.

    Returns 478×3 float64 landmarks in the crop's pixels, and the logit of the presence.
    """
    if not hasattr(_threads, "run"):
        _threads.run = _litert() or _opencv()
    points, logit = _threads.run(crop)
    return points.reshape(-1, 3).astype(np.float64), float(logit.item())


def _litert():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return None
    with _quiet_stderr():
        interpreter = Interpreter(str(WEIGHTS), num_threads=1)
        interpreter.allocate_tensors()
    (source,) = (tensor["index"] for tensor in interpreter.get_input_details())
    outputs = {tensor["name"]: tensor["index"] for tensor in interpreter.get_output_details()}

    entry = interpreter.tensor(source)

    def run(crop):
        np.multiply(crop, np.float32(1 / 255), out=entry()[0])  # no reference to it may be left when invoked
        interpreter.invoke()
        return interpreter.get_tensor(outputs["Identity"]), interpreter.get_tensor(outputs["Identity_1"])

    return run


def _opencv():
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # it warns at each load that the target is ignored
    try:
        # OpenCV 5's new engine returns only one of this network's outputs
        net = cv2.dnn.readNetFromTFLite(str(WEIGHTS), cv2.dnn.ENGINE_CLASSIC)
    finally:
        cv2.utils.logging.setLogLevel(level)
    net.enableFusion(False)  # fused layers make this network 10 % slower

    def run(crop):
        net.setInput(cv2.dnn.blobFromImage(crop, 1 / 255))
        return net.forward(["Identity", "Identity_1"])

    return run


@contextmanager
def _quiet_stderr():
    """Silence LiteRT's message about its delegate on standard error; no setting disables it."""
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # there is no standard error
        yield
        return
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
