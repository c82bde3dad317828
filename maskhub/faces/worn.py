"""The bundled mask detector, to confirm detections: does a face found here, this way up, wear a mask?

:mod:`maskhub.masks.detector` has its whole interface.
"""

import os
import threading
from pathlib import Path

import numpy as np

from maskhub.faces import align
from maskhub.models.onnx_file import OnnxNetwork
from maskhub.tensors import to_array

__all__ = ["BUNDLED", "mask_network", "worn"]

BUNDLED = Path(__file__).parents[1] / "weights" / "mask-detector"

_lock, _loaded = threading.Lock(), {}


def mask_network():
    """The bundled mask detector in onnxruntime, one per process."""
    with _lock:
        key = os.getpid()  # a forked process has none of its parent's threads
        if key not in _loaded:
            _loaded[key] = OnnxNetwork(BUNDLED)
        return _loaded[key]


def worn(image, face):
    """Confidence, 0 to 1, that a :class:`~maskhub.faces.face.Face` of a photo, uint8 RGB H×W×3, wears a mask. It is
    low if the face is another way up, or is not a face."""
    network = mask_network()
    side = network.resolution
    presence = network(to_array([align.crop(image, align.alignment(face, side), side)]))[0]
    return float(1 / (1 + np.exp(-presence[0])))
