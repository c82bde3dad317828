"""Detect whether a face wears a mask, and where, with the small network bundled with the package, in onnxruntime.

    found = detect_mask(pixels, face)
    found.presence                         # 0 to 1: confidence that a mask is worn
    found.region                           # H×W: which pixels of the photo it covers

A mask counts as worn anywhere on the face, including under the nose or at the chin. Hands, hair, beards, scarves around
the neck and smeared mouths do not count. ``maskhub/weights/mask-detector/README.md`` gives the error rates.
"""

import os
import threading
from typing import NamedTuple

import cv2
import numpy as np

from maskhub.arguments import check_crops, check_pixels
from maskhub.faces import align
from maskhub.faces.worn import BUNDLED, mask_network
from maskhub.tensors import to_array

__all__ = [
    "BUNDLED", "MASKED", "MaskDetection", "bundled_mask_detector", "detect_mask",
    "detect_mask_on_crop", "detect_masks", "detect_masks_on_crops", "mask_presences",
]  # fmt: skip

MASKED = 0.5
"""A face counts as masked from this presence on."""
BATCH = 32

_lock = threading.Lock()
_loaded = {}


class MaskDetection(NamedTuple):
    """What the detector found on one face.

    Attributes:
        presence: confidence that a mask is worn, 0 to 1; the face counts as masked from :data:`MASKED` on.
        region: float32 in [0, 1], the size of the crop or photo: confidence per pixel that mask or straps cover it.
            Not cleared when ``presence`` is low.
    """

    presence: float
    region: np.ndarray

    @property
    def masked(self):
        """Whether the face counts as masked."""
        return self.presence >= MASKED


def detect_masks_on_crops(crops, network=None):
    """Detect masks on aligned crops of any size, uint8 R×R×3 each, from :func:`maskhub.faces.align.crop`. Thread-safe.

    ``network`` is a :class:`~maskhub.models.mask_detector.MaskDetector`, run by torch; by default the bundled one, run
    by onnxruntime. Returns a :class:`MaskDetection` for each; its region has the size of the crop.

    Raises:
        PhotoError: a crop that isn't uint8 R×R×3.
    """
    check_crops(crops)
    side, out = _side(network), []
    for start in range(0, len(crops), BATCH):
        part = crops[start : start + BATCH]
        presence, region = map(_sigmoid, _logits(network, to_array([_resized(crop, side) for crop in part])))
        for crop, sure, covered in zip(part, presence, region[:, 0], strict=True):
            out.append(MaskDetection(float(sure), _resized(covered, crop.shape[0]).clip(0, 1)))
    return out


def detect_mask_on_crop(crop, network=None):
    """Detect masks on one aligned crop; see :func:`detect_masks_on_crops`."""
    return detect_masks_on_crops([crop], network)[0]


def detect_mask(pixels, face, network=None):
    """The :class:`MaskDetection` of a :class:`~maskhub.faces.face.Face` in a photo, uint8 RGB H×W×3.

    Its region is H×W, exactly 0 outside the face's crop. :class:`PhotoError` if the photo is of another type.
    """
    check_pixels(pixels)
    side = _side(network)
    matrix = align.alignment(face, side)
    found = detect_mask_on_crop(align.crop(pixels, matrix, side), network)
    size = pixels.shape[1], pixels.shape[0]
    # linear interpolation is enough: the region is smooth even where the face is smaller than the crop
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return MaskDetection(found.presence, cv2.warpAffine(found.region, matrix, size, flags=flags, borderValue=0.0))


def detect_masks(faces, network=None):
    """Detect masks on a list of faces, (uint8 RGB H×W×3 photo, :class:`~maskhub.faces.face.Face`).

    Returns their aligned crops, uint8 S×S×3 at the network's resolution, and a :class:`MaskDetection` of each.
    """
    side = _side(network)
    crops = [align.crop(pixels, align.alignment(face, side), side) for pixels, face in faces]
    return crops, detect_masks_on_crops(crops, network)


def mask_presences(faces, network=None):
    """The confidence, 0 to 1, that each of a list of faces wears a mask; ``faces`` as for :func:`detect_masks`."""
    return [found.presence for found in detect_masks(faces, network)[1]]


def bundled_mask_detector():
    """The bundled :class:`~maskhub.models.mask_detector.MaskDetector` in torch, on the CPU, for training and export.

    Raises:
        CheckpointError: this installation of maskhub does not include its weights.
    """

    import torch

    from maskhub.models.mask_detector import MaskDetector

    key = os.getpid()  # a forked process has none of its parent's threads
    with _lock:
        if key not in _loaded:
            network = MaskDetector.from_pretrained(BUNDLED, variant="fp16", torch_dtype=torch.float32)
            _loaded[key] = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        return _loaded[key]


def _side(network):
    """Side in pixels of a network's crops."""
    return network.config.resolution if network else mask_network().resolution


def _logits(network, images):
    """The arrays of presence and region logits, for float32 N×3×H×W in [-1, 1]."""
    if network is None:
        return mask_network()(images)
    import torch

    with torch.inference_mode():
        images = torch.from_numpy(images).to(network.device, network.dtype)
        return [logits.float().cpu().numpy() for logits in network(images)]


def _sigmoid(logits):
    return 1 / (1 + np.exp(-logits.clip(-60, 60)))


def _resized(picture, side):
    if picture.shape[0] == side:
        return picture
    flags = cv2.INTER_AREA if picture.shape[0] > side else cv2.INTER_LINEAR
    return cv2.resize(picture, (side, side), interpolation=flags)
