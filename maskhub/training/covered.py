"""Regions of masks in a batch of faces by the mask detector, for photos without annotated regions."""

import torch
from torch.nn import functional as F

from maskhub.masks.detector import MASKED, bundled_mask_detector

__all__ = ["covered", "mask_alone", "widened"]


@torch.no_grad()
def covered(faces):
    """The mask detector's regions in aligned ``faces``, N×3×R×R in [-1, 1], as float32 N×1×R×R in [0, 1]; 0 for faces
    on which it finds no mask."""
    if not len(faces):
        return faces[:, :1].float()
    network = bundled_mask_detector().to(faces.device)
    side = network.config.resolution
    seen = F.interpolate(faces.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    presence, region = network(seen)
    region = F.interpolate(region.float().sigmoid(), size=faces.shape[2:], mode="bilinear", align_corners=False)
    return region * (presence.float().sigmoid() >= MASKED).view(-1, 1, 1, 1)


def widened(region):
    """A region, N×1×R×R, dilated by 1/128 of the side: a change that ends exactly at the mask's edge leaves a seam."""
    reach = max(region.shape[3] // 128, 1)
    return F.max_pool2d(region, 2 * reach + 1, stride=1, padding=reach)


def mask_alone(faces):
    """Alpha of the masks of a batch, N×1×R×R: the region with a short soft border."""
    return ((widened(covered(faces)) - 0.3) / 0.4).clamp(0, 1)
