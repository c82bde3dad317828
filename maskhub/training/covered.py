"""Where masks are in a batch of faces, by the mask detector: for photos without annotated regions."""

import torch
from torch.nn import functional as F

from maskhub.masks.detector import MASKED, bundled_mask_detector

__all__ = ["covered", "mask_alone", "widened"]


@torch.no_grad()
def covered(faces):
    """Where the mask detector sees masks.

    Args:
        faces: N×3×R×R in [-1, 1], aligned.

    Returns:
        float32 N×1×R×R in [0, 1]; nowhere where it sees no mask at all.
    """
    if not len(faces):
        return faces[:, :1].float()
    network = bundled_mask_detector().to(faces.device)
    side = network.config.resolution
    seen = F.interpolate(faces.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    presence, region = network(seen)
    region = F.interpolate(region.float().sigmoid(), size=faces.shape[2:], mode="bilinear", align_corners=False)
    return region * (presence.float().sigmoid() >= MASKED).view(-1, 1, 1, 1)


def widened(region):
    """A region, N×1×R×R, and the pixels about it, 1/128 of the side: what ends where the mask does leaves a seam."""
    reach = max(region.shape[3] // 128, 1)
    return F.max_pool2d(region, 2 * reach + 1, stride=1, padding=reach)


def mask_alone(faces):
    """How much of each pixel belongs to the mask or its very edge: the region with a short soft border, N×1×R×R."""
    return ((widened(covered(faces)) - 0.3) / 0.4).clamp(0, 1)
