"""Samples of the two-step method: faces with a mask drawn on by rule, and unrelated really masked faces."""

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset

from maskhub.data.paired import WornPairs
from maskhub.data.unpaired import LOAD_SCALE, UnpairedPhotos

__all__ = ["WornAndMasked"]


class WornAndMasked(IterableDataset):
    """Endless samples of the two domains, walked by position as :class:`~maskhub.data.unpaired.UnpairedPhotos` is.

    Each is a dict of float32 tensors: ``worn``, a face with a mask by rule, 3×R×R in [-1, 1]; of it the ``region``,
    1×R×R in [0, 1], the ``distance`` of each pixel from the region in shares of the image's side, 1×R×R, and
    ``unmasked``, the face itself; and ``masked``, another face that really wears a mask, 3×R×R.

    Args:
        unmasked, masked: sources of :func:`maskhub.data.sources.open_source`; the masked photos are aligned crops.
        resolution, seed, start, rank, world, batch_size, load_scale: as there.
        wearing: :class:`~maskhub.data.masked.Wearing`.
        cache: file of the :class:`~maskhub.data.paired.FaceCache`.
    """

    def __init__(
        self,
        unmasked,
        masked,
        resolution,
        seed,
        start=0,
        rank=0,
        world=1,
        batch_size=1,
        load_scale=LOAD_SCALE,
        wearing=None,
        cache=None,
    ):
        walk = {"start": start, "rank": rank, "world": world, "batch_size": batch_size, "load_scale": load_scale}
        self.batch_size = batch_size
        self.worn = WornPairs(unmasked, resolution, seed, wearing=wearing, cache=cache, **walk)
        self.real = UnpairedPhotos({"masked": masked}, resolution, seed, **walk)

    def __iter__(self):
        for worn, real in zip(self.worn, self.real, strict=True):
            yield {
                "unmasked": worn["unmasked"],
                "worn": worn["masked"],
                "region": worn["region"],
                "distance": distance_from(worn["region"]),
                "masked": real["masked"],
            }


def distance_from(region):
    """Each pixel's distance from a region, in shares of the image's side.

    Args:
        region: float 1×R×R in [0, 1]; from 0.5 on a pixel belongs to it.

    Returns:
        float32 1×R×R; 1 everywhere where there is no region at all.
    """
    outside = (region[0].numpy() < 0.5).astype(np.uint8)
    if outside.all():
        return torch.ones_like(region)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return torch.from_numpy(distance / len(outside))[None]
