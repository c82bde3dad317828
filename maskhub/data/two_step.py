"""Samples of the two-step method: faces with a rule-based mask, and unrelated really masked faces."""

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from maskhub.data.paired import WornPairs
from maskhub.data.positions import PositionDataset
from maskhub.data.unpaired import UnpairedPhotos

__all__ = ["WornAndMasked"]

WIDER = (0.93, 1.18)
"""Range of the crop width of moved samples, relative to the exact one: detectors differ this much, and the pipeline
uses a wider crop for masks that extend beyond it."""
TURNED = 0.07
"""Maximum rotation in radians, either way."""
SHIFTED = 0.03
"""Maximum shift as a fraction of the side, either way."""
EXPOSURE, BALANCE, CONTRAST = 0.15, 0.04, 0.12
"""Standard deviations of the logarithms of a recoloured sample's exposure, of the gain of each channel, and of its
contrast."""


class WornAndMasked(PositionDataset):
    """Endless samples of the two domains.

    Each is a dict of float32 tensors: ``worn``, a face with a rule-based mask, 3×R×R in [-1, 1]; its ``region``,
    1×R×R in [0, 1]; the ``distance`` of each pixel from the region as a fraction of the image's side, 1×R×R;
    ``unmasked``, the face without the mask; and ``masked``, another face that really wears a mask, 3×R×R.

    Args:
        unmasked, masked: sources of :func:`maskhub.data.sources.open_source`; the masked photos are aligned crops.
        resolution, seed, walk: as in :class:`~maskhub.data.positions.PositionDataset`.
        wearing: :class:`~maskhub.data.masked.Wearing`.
        cache: file of the :class:`~maskhub.data.paired.FaceCache`.
        coarse: as in :class:`~maskhub.data.paired.WornPairs`.
        moved: share of the samples that are aligned less exactly; all pictures of a sample are moved in the same way.
        recoloured: share of all faces whose colours are changed.
    """

    def __init__(
        self,
        unmasked,
        masked,
        resolution,
        seed,
        *,
        wearing=None,
        cache=None,
        coarse=0.0,
        moved=0.0,
        recoloured=0.0,
        **walk,
    ):
        super().__init__(resolution, seed, **walk)
        self.moved, self.recoloured = moved, recoloured
        self.worn = WornPairs(unmasked, resolution, seed, wearing=wearing, cache=cache, coarse=coarse, **walk)
        self.real = UnpairedPhotos({"masked": masked}, resolution, seed, **walk)

    def __iter__(self):
        for position, worn, real in zip(self.positions(), self.worn, self.real, strict=False):
            pictures = {
                "unmasked": worn["unmasked"],
                "worn": worn["masked"],
                "region": worn["region"],
                "masked": real["masked"],
            }
            rng = np.random.default_rng((self.seed, 4, position))
            if self.moved and rng.random() < self.moved:
                pictures = moved_alike(pictures, rng)
            for names in (("unmasked", "worn"), ("masked",)):
                if rng.random() < self.recoloured:
                    pictures |= recoloured_alike({name: pictures[name] for name in names}, rng)
            yield pictures | {"distance": distance_from(pictures["region"])}


def moved_alike(pictures, rng):
    """Apply a random similarity transform to pictures, within :data:`WIDER`, :data:`TURNED` and :data:`SHIFTED`.

    Args:
        pictures: dict of float32 C×R×R in [-1, 1]; beyond their edges the border pixels are repeated.
        rng: ``numpy.random.Generator``.

    Returns:
        the same dict with the moved pictures.
    """
    wider, turned = rng.uniform(*WIDER), rng.uniform(-TURNED, TURNED)
    x, y = rng.uniform(-2 * SHIFTED, 2 * SHIFTED, 2)
    cos, sin = wider * np.cos(turned), wider * np.sin(turned)
    stacked = torch.cat(list(pictures.values()))[None]
    theta = torch.tensor([[[cos, -sin, x], [sin, cos, y]]], dtype=stacked.dtype)
    grid = F.affine_grid(theta, stacked.shape, align_corners=False)
    moved = F.grid_sample(stacked, grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
    return dict(zip(pictures, moved.split([len(picture) for picture in pictures.values()]), strict=True))


def recoloured_alike(pictures, rng):
    """Randomly change exposure, white balance and contrast by :data:`EXPOSURE`, :data:`BALANCE` and :data:`CONTRAST`.

    Args:
        pictures: dict of float32 3×R×R in [-1, 1].
        rng: ``numpy.random.Generator``.

    Returns:
        the same dict with the recoloured pictures; equal pixels stay equal.
    """
    gain = np.exp(rng.normal(0, EXPOSURE) + rng.normal(0, BALANCE, 3))
    contrast = np.exp(rng.normal(0, CONTRAST))
    gain, offset = (torch.tensor(x, dtype=torch.float32).view(3, 1, 1) for x in (gain, gain - 1))
    return {name: picture.mul(gain).add_(offset).mul_(contrast).clamp_(-1, 1) for name, picture in pictures.items()}


def distance_from(region):
    """The distance of each pixel from a region, as a fraction of the image's side.

    Args:
        region: float 1×R×R in [0, 1]; from 0.5 on a pixel belongs to it.

    Returns:
        float32 1×R×R; 1 everywhere if the region is empty.
    """
    outside = (region[0].numpy() < 0.5).astype(np.uint8)
    if outside.all():
        return torch.ones_like(region)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV rounds differently with the alignment of the memory; between pixels, the square is a whole number
    exact = np.sqrt(np.rint(np.square(distance, dtype=np.float64))) / len(outside)
    return torch.from_numpy(exact.astype(np.float32))[None]
