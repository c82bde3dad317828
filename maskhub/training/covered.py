"""Masks in a batch of faces: their regions by the mask detector, for photos without annotated regions, and prints."""

import math

import torch
from torch.nn import functional as F

from maskhub.masks.detector import MASKED, bundled_mask_detector
from maskhub.training.similarity import sampled

__all__ = ["EDGE", "covered", "mask_alone", "printed", "widened"]

EDGE = 1 / 128
"""Least margin around a region, as a fraction of the side: a change that ends exactly at the edge leaves a seam."""
ZOOM = (0.05, 1.5)
"""Range of the part of the photo that is spread over the picture, as a fraction of the photo's side: a small part is
an even colour or a gradient."""
SPOT = (0.1, 0.4)
"""Range of the radii of a printed spot, as fractions of the side."""
OPACITY = (0.3, 1.0)
"""Range of a print's opacity: the mask's own folds and shades show through."""


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


def widened(region, margin=EDGE):
    """A region, float N×1×R×R, dilated by ``margin``, a fraction of the side, but at least by a pixel."""
    reach = _pixels(margin, region)
    return F.max_pool2d(region, 2 * reach + 1, stride=1, padding=reach)


def mask_alone(faces, most=EDGE):
    """Alpha of the masks of a batch of faces, float N×3×R×R in [-1, 1], as N×1×R×R in [0, 1]: the region with a short
    soft border. Each mask gets a random margin, from :data:`EDGE` to ``most``, since the detector's region may
    miss the mask's edge and its shadow."""
    alpha, least = widened(covered(faces)), _pixels(EDGE, faces)
    most = max(_pixels(most, faces), least)
    drawn = torch.randint(least, most + 1, (len(faces), 1, 1, 1), device=faces.device)
    for margin in range(least + 1, most + 1):
        alpha = torch.where(drawn >= margin, widened(alpha, 0), alpha)  # by one more pixel
    return ((alpha - 0.3) / 0.4).clamp(0, 1)


def _pixels(margin, pictures):
    """A margin, as a fraction of the side of pictures N×C×R×R, in pixels; at least 1."""
    return max(round(margin * pictures.shape[3]), 1)


def printed(worn, region, photos, share):
    """Print part of a photo, turned at random, on some masks: half of the prints fill the mask, the others an elliptic
    spot of it.

    Args:
        worn: faces with masks, float N×3×R×R in [-1, 1].
        region: regions of the masks, float N×1×R×R in [0, 1]; nothing changes outside.
        photos: the photo for each face, like ``worn``.
        share: probability, 0 to 1, that a mask gets a print.

    Returns the faces, like ``worn``.
    """
    count, device = len(worn), worn.device

    def uniform(low, high):
        return low + (high - low) * torch.rand(count, 1, 1, 1, device=device)

    zoom = torch.exp(uniform(*(math.log(zoom) for zoom in ZOOM)))
    turn, x, y = uniform(-math.pi, math.pi), uniform(-0.7, 0.7), uniform(-0.7, 0.7)
    part = (number.flatten() for number in (zoom, turn, x, y))
    prints = sampled(photos, *part, worn.shape[3], padding="reflection")
    line = torch.linspace(-1, 1, worn.shape[3], device=device)
    across, down = line.view(1, 1, 1, -1), line.view(1, 1, -1, 1)
    # spots lie where masks are, in the lower middle of an aligned face
    across = (across - uniform(-0.4, 0.4)) / uniform(*SPOT) / 2
    down = (down - uniform(0.0, 0.8)) / uniform(*SPOT) / 2
    spot = (across.square() + down.square() < 1) | (uniform(0, 1) < 0.5)
    alpha = region * spot * uniform(*OPACITY) * (uniform(0, 1) < share)
    return worn.lerp(prints, alpha)
