"""Face detectors of several families, to test whether generated faces are still detected.

| name | family |
|---|---|
| ``yunet`` | YuNet, a small convolutional network; the one that maskhub itself uses |
| ``dlib-hog`` | dlib's gradient histograms with a linear SVM (Dalal, Triggs 2005; King 2015); extra ``[eval]`` |
| ``dlib-cnn`` | dlib's convolutional max-margin detector (King 2015): slow on a CPU; extra ``[eval]`` |

OpenCV 5 no longer has Haar cascades.
"""

import cv2
import numpy as np

from maskhub.errors import ConfigError
from maskhub.evaluation.encoders import dlib_and_models
from maskhub.faces.detect import FaceDetector

__all__ = ["DETECTORS", "detector"]

SIDE = 256
"""Smaller photos are enlarged to this longer side in pixels for dlib's detectors, which miss faces under 80 pixels."""
BORDER = 0.15
"""Margin added around a photo as a fraction of its sides, as in :mod:`maskhub.faces.detect`: detectors miss faces that
fill the photo."""


def detector(name):
    """Load a detector of :data:`DETECTORS`: a function of a uint8 RGB H×W×3 picture → whether it finds an upright face.
    ConfigError for an unknown name, CheckpointError if dlib is missing."""
    if name not in DETECTORS:
        raise ConfigError(f"there is no face detector {name!r}: choose {', '.join(DETECTORS)}.")
    return DETECTORS[name]()


def _yunet():
    find = FaceDetector(turn=False)
    return lambda pixels: bool(find(pixels))


def _hog():
    find = dlib_and_models()[0].get_frontal_face_detector()
    return lambda pixels: bool(len(find(_framed(pixels), 0)))


def _cnn():
    dlib, folder = dlib_and_models()
    find = dlib.cnn_face_detection_model_v1(str(folder / "mmod_human_face_detector.dat"))
    return lambda pixels: bool(len(find(_framed(pixels), 0)))


DETECTORS = {"yunet": _yunet, "dlib-hog": _hog, "dlib-cnn": _cnn}


def _framed(pixels):
    height, width = pixels.shape[:2]
    if max(height, width) < SIDE:
        scale = SIDE / max(height, width)
        pixels = cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_CUBIC)
    y, x = (round(side * BORDER) for side in pixels.shape[:2])
    return np.ascontiguousarray(cv2.copyMakeBorder(pixels, y, y, x, x, cv2.BORDER_REPLICATE))
