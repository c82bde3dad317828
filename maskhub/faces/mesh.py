"""Run the face landmark network in LiteRT (twice as fast) if it is installed, else in OpenCV.

The landmarks of both agree to a thousandth of a crop pixel. LiteRT has no wheels for some systems, including Windows.
"""

import math
import os
import struct
import threading
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from maskhub.faces.align import shrunk, warped

__all__ = ["PRESENT", "SIDE", "look", "run_mesh"]

WEIGHTS = Path(__file__).parent / "weights" / "face_landmarks_detector.tflite"
SIDE = 256
"""Side of the network's input in pixels."""
PRESENT = 0.6
"""Landmarks are reliable from this presence on: unmasked faces typically reach 0.99, and four of five masked faces
exceed 0.6."""

_threads = threading.local()


def run_mesh(crop):
    """Run the network on a crop, uint8 RGB 256×256×3. Thread-safe.

    Returns 478×3 float64 landmarks in the crop's pixels, and the logit of the presence.
    """
    if not hasattr(_threads, "run"):
        _threads.run = _litert() or _opencv()
    points, logit = _threads.run(crop)
    return points.reshape(-1, 3).astype(np.float64), float(logit.item())


def look(image, centre, side, across):
    """Run the network on one rotated square crop of a photo, uint8 RGB H×W×3.

    ``centre`` and ``side`` are in the photo's pixels, the unit vector ``across`` points along the crop's rows. Returns
    478×3 float32 points in the photo's pixels, and the presence, 0 to 1.
    """
    down = np.array([-across[1], across[0]])
    linear = np.stack([across, down]) * (SIDE / side)
    matrix = np.column_stack([linear, SIDE / 2 - linear @ centre])
    shrink = side / SIDE
    if shrink > 2:
        # warpAffine only interpolates: average much larger faces down first
        image, matrix = _shrunk(image, matrix, centre, side, shrink)
    crop_points, logit = run_mesh(warped(image, matrix, SIDE))
    back = np.stack([across, down], 1) * shrink
    points = np.empty((len(crop_points), 3), np.float32)
    points[:, :2] = (crop_points[:, :2] - SIDE / 2) @ back.T + centre
    points[:, 2] = crop_points[:, 2] * shrink
    return points, 1 / (1 + math.exp(-min(max(logit, -60), 60)))


def _shrunk(image, matrix, centre, side, shrink):
    """The part of the photo around the crop, averaged down by a whole factor, and the matrix that fits it."""
    factor = int(shrink)
    reach = side * 0.75
    height, width = image.shape[:2]
    sides = np.array([width, height])
    x0, y0 = np.clip(centre - reach, 0, sides - factor).astype(int)
    x1, y1 = np.clip(centre + reach, (x0 + factor, y0 + factor), sides).astype(int)
    part = shrunk(image[y0:y1, x0:x1], factor)
    fitted = matrix.copy()
    fitted[:, :2] *= factor
    fitted[:, 2] += matrix[:, :2] @ (np.array([x0, y0]) + (factor - 1) / 2)
    return part, fitted


def _litert():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return None
    network = _slopes_by_row(WEIGHTS.read_bytes())
    with _quiet_stderr():
        interpreter = Interpreter(model_content=network, num_threads=1)
        interpreter.allocate_tensors()
    (source,) = (tensor["index"] for tensor in interpreter.get_input_details())
    outputs = {tensor["name"]: tensor["index"] for tensor in interpreter.get_output_details()}

    entry = interpreter.tensor(source)

    def run(crop):
        np.multiply(crop, np.float32(1 / 255), out=entry()[0])  # no reference to it may be left when invoked
        interpreter.invoke()
        return interpreter.get_tensor(outputs["Identity"]), interpreter.get_tensor(outputs["Identity_1"])

    return run


def _slopes_by_row(network):
    """The network with the slopes of its PReLUs (He and others, 2015) repeated for each pixel of a row.

    XNNPACK then multiplies whole rows instead of single pixels of 8 to 128 channels: the same results in 86 % of the
    time. Shapes are changed in place, the longer slopes appended.
    """
    from ai_edge_litert import schema_py_generated as schema

    data, more = bytearray(network), bytearray()
    model = schema.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    codes = [model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() for operator in operators]
    half = {one.Outputs(0): one.Inputs(0) for one in operators}  # slopes are stored in half precision
    for operator, code in zip(operators, codes, strict=True):
        if code != schema.BuiltinOperator.PRELU:
            continue
        width = graph.Tensors(operator.Inputs(0)).Shape(2)
        slopes = [graph.Tensors(index) for index in (operator.Inputs(1), half[operator.Inputs(1)])]
        for tensor in slopes:
            tensor.ShapeAsNumpy()[1] = width
        stored = model.Buffers(slopes[1].Buffer())
        row = stored.DataAsNumpy().tobytes() * width
        at = stored._tab.Pos + stored._tab.Offset(4)  # the field that says where the data begin
        more += bytes(-(len(data) + len(more) + 4) % 16)
        struct.pack_into("<I", data, at, len(data) + len(more) - at)
        more += struct.pack("<I", len(row)) + row
    return bytes(data + more)


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
