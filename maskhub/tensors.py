"""Convert between pictures, uint8 H×W×3 in [0, 255], and network tensors, float 3×H×W in [-1, 1]."""

import numpy as np
import torch

__all__ = ["to_pixels", "to_tensor"]


def to_tensor(pictures):
    """Convert pictures to a tensor for a network.

    Args:
        pictures: an RGB ``PIL.Image``, a uint8 array or tensor ...×H×W×3, or a list of arrays of one size.

    Returns:
        float32 ...×3×H×W in [-1, 1], contiguous.
    """
    if not isinstance(pictures, torch.Tensor):
        pictures = torch.from_numpy(np.array(pictures, dtype=np.uint8))
    return pictures.movedim(-1, -3).contiguous().to(torch.float32).div_(127.5).sub_(1)


def to_pixels(tensor):
    """Convert a network's tensor to pictures.

    Args:
        tensor: ...×3×H×W of any float type and device; values outside [-1, 1] are clipped.

    Returns:
        uint8 array ...×H×W×3, contiguous.
    """
    values = (tensor.detach().float().clamp(-1, 1) + 1) * 127.5
    return values.round().to(torch.uint8).movedim(-3, -1).contiguous().cpu().numpy()
