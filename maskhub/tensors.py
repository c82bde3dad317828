"""Convert between pictures, uint8 H×W×3 in [0, 255], and what networks take, float 3×H×W in [-1, 1]."""

import cv2
import numpy as np

__all__ = ["to_array", "to_pixels", "to_tensor"]

VALUES = np.arange(256, dtype=np.float32) / np.float32(127.5) - 1
"""What a network takes for each value of a picture."""


def to_array(pictures):
    """A picture or pictures for a network in onnxruntime: an RGB ``PIL.Image``, uint8 ...×H×W×3, or a list of arrays
    of one size, as a contiguous float32 array ...×3×H×W in [-1, 1] with the same values as :func:`to_tensor`."""
    pixels = np.asarray(pictures, dtype=np.uint8)
    values = np.empty((*pixels.shape[:-3], 3, *pixels.shape[-3:-1]), np.float32)
    for index in np.ndindex(pixels.shape[:-3]):
        for plane, channel in zip(values[index], cv2.split(pixels[index]), strict=True):
            cv2.LUT(channel, VALUES, dst=plane)
    return values


def to_tensor(pictures):
    """Pictures as for :func:`to_array`, or a uint8 tensor, as a contiguous float32 tensor ...×3×H×W in [-1, 1]."""
    import torch  # imported here: photos can be masked and unmasked without it

    if not isinstance(pictures, torch.Tensor):
        return torch.from_numpy(to_array(pictures))
    return pictures.movedim(-1, -3).contiguous().to(torch.float32).div_(127.5).sub_(1)


def to_pixels(values):
    """What a network made, ...×3×H×W as a float32 array or a tensor of any float type and device, clipped to [-1,
    1], as a contiguous uint8 array ...×H×W×3."""
    if not isinstance(values, np.ndarray):
        values = values.detach().float().cpu().numpy()
    planes = values.clip(-1, 1)
    planes += 1
    planes *= np.float32(127.5)
    pixels = np.empty((*planes.shape[:-3], *planes.shape[-2:], 3), np.uint8)
    for index in np.ndindex(planes.shape[:-3]):
        # OpenCV rounds as NumPy does; NumPy and torch take twice as long
        cv2.merge([cv2.convertScaleAbs(plane) for plane in planes[index]], pixels[index])
    return pixels
