"""Convert between pictures, uint8 H×W×3 in [0, 255], and what networks take, float 3×H×W in [-1, 1]."""

import cv2
import numpy as np

__all__ = ["to_array", "to_pixels", "to_tensor"]


def to_array(pictures):
    """A picture or pictures for a network in onnxruntime: an RGB ``PIL.Image``, uint8 ...×H×W×3, or a list of arrays
    of one size, as a contiguous float32 array ...×3×H×W in [-1, 1] with the same values as :func:`to_tensor`."""
    values = np.moveaxis(np.asarray(pictures, dtype=np.uint8), -1, -3).astype(np.float32, order="C")
    values /= np.float32(127.5)
    values -= 1
    return values


def to_tensor(pictures):
    """Pictures as for :func:`to_array`, or a uint8 tensor, as a contiguous float32 tensor ...×3×H×W in [-1, 1]."""
    import torch  # imported here: photos can be masked and unmasked without it

    if not isinstance(pictures, torch.Tensor):
        pictures = torch.from_numpy(np.array(pictures, dtype=np.uint8))
    return pictures.movedim(-1, -3).contiguous().to(torch.float32).div_(127.5).sub_(1)


def to_pixels(values):
    """What a network made, ...×3×H×W as a float32 array or a tensor of any float type and device, clipped to [-1,
    1], as a contiguous uint8 array ...×H×W×3."""
    if isinstance(values, np.ndarray):
        planes = np.rint((values.clip(-1, 1) + np.float32(1)) * np.float32(127.5)).astype(np.uint8)
    else:
        import torch

        planes = values.detach().float().clamp(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8).cpu().numpy()
    pixels = np.empty((*planes.shape[:-3], *planes.shape[-2:], 3), np.uint8)
    for index in np.ndindex(planes.shape[:-3]):
        cv2.merge(list(planes[index]), pixels[index])  # NumPy and torch take twice as long
    return pixels
