"""Samples of the two-step method: faces with a rule-based mask, and unrelated really masked faces."""

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from maskhub.data.paired import WornPairs
from maskhub.data.positions import PositionDataset
from maskhub.data.unpaired import cut_out

__all__ = ["WornAndMasked", "distance_from", "finished", "recoloured"]

WIDER = (0.93, 1.18)
"""Range of the crop width of moved samples, relative to the exact one: detectors differ this much, and the pipeline
uses a wider crop for masks that extend beyond it."""
TURNED = 0.07
"""Maximum rotation in radians, either way."""
SHIFTED = 0.03
"""Maximum shift as a fraction of the side, either way."""
EXPOSURE, BALANCE, CONTRAST = 0.15, 0.04, 0.12
"""Standard deviations of the logarithms of a recoloured sample's exposure, gain of each channel, and contrast."""


class WornAndMasked(PositionDataset):
    """Endless samples of the two domains, as uint8 pictures; :func:`finished` makes float pictures of a batch.

    Each is a dict of tensors: ``worn``, a face with a rule-based mask, R×R×3; its ``region``, R×R×1; ``unmasked``, the
    face without the mask; ``masked``, another face that really wears a mask; and how to move and recolour
    them. Moving and recolouring is left to the device that trains.

    Args:
        unmasked, masked: sources of :func:`maskhub.data.sources.open_source`; the masked photos are aligned crops.
        resolution, seed, walk: as in :class:`~maskhub.data.positions.PositionDataset`.
        wearing: :class:`~maskhub.data.masked.Wearing`.
        cache: file of the :class:`~maskhub.data.face_cache.FaceCache`.
        coarse, repeats: as in :class:`~maskhub.data.paired.WornPairs`.
        moved: share of the samples that are aligned less exactly; all pictures of a sample are moved in the same way.
        recoloured: share of all faces whose colours are changed.
        masked_faces: number of samples of a batch that have ``masked``, the first ones; None: all.
        distance: samples also have the ``distance`` of each pixel from the region, float32 1×R×R, as a fraction of the
            image's side. Not for moved samples.
    """

    def __init__(
        self, unmasked, masked, resolution, seed, *, wearing=None, cache=None, coarse=0.0, repeats=1, moved=0.0,
        recoloured=0.0, masked_faces=None, distance=False, **walk,
    ):  # fmt: skip
        super().__init__(resolution, seed, **walk)
        self.moved, self.recoloured, self.distance = moved, recoloured, distance
        self.masked_faces = self.batch_size if masked_faces is None else masked_faces
        how = {"wearing": wearing, "cache": cache, "coarse": coarse, "repeats": repeats}
        self.worn = WornPairs(unmasked, resolution, seed, **how, **walk)
        self.streams = self.worn.streams
        self.masked = self.shared(masked, range(min(self.masked_faces, self.batch_size)))

    def __iter__(self):
        photos = self.masked.walk(filter(self._has_masked, self.positions()), self.seed)
        for position, worn in zip(self.positions(), self.worn.pictures(), strict=False):
            covered = np.ceil(worn["region"] * 255).astype(np.uint8)  # 0 still means an unchanged pixel
            sample = {"unmasked": worn["unmasked"], "worn": worn["masked"], "region": covered[..., None]}
            if self._has_masked(position):
                rng = np.random.default_rng((self.seed, 0, position))
                sample["masked"] = np.array(cut_out(next(photos)[1], self.resolution, rng, self.load_scale))
            rng = np.random.default_rng((self.seed, 4, position))
            moved = bool(self.moved) and rng.random() < self.moved
            sample |= {"moved": np.array(moved), "move": _drawn_move(rng) if moved else np.eye(2, 3, dtype=np.float32)}
            colours = [_drawn_colours(rng) if rng.random() < self.recoloured else PLAIN for _ in range(2)]
            sample |= {"colours": np.float32(colours[0]), "masked_colours": np.float32(colours[1])}
            if self.distance:
                sample["distance"] = distance_from(covered.astype(np.float32) / 255)[None]
            yield {name: torch.from_numpy(value) for name, value in sample.items()}

    def _has_masked(self, position):
        return position // self.world % self.batch_size < self.masked_faces


def finished(batch, memory_format=torch.contiguous_format):
    """The float pictures of a batch of :class:`WornAndMasked`, moved and recoloured, on the device that it is on: a
    dict of float32 tensors: ``unmasked``, ``worn`` and ``masked`` N×3×R×R in [-1, 1] (of ``masked`` there may be
    fewer), ``region`` N×1×R×R in [0, 1], and ``distance``, if the samples have it."""
    out = {name: _float(batch[name], memory_format) / 127.5 - 1 for name in ("unmasked", "worn", "masked")}
    out["region"] = _float(batch["region"], memory_format) / 255
    pair = torch.cat([out["unmasked"], out["worn"], out["region"]], 1)
    out["unmasked"], out["worn"], out["region"] = _moved(pair, batch).split((3, 3, 1), 1)
    out["masked"] = _moved(out["masked"], batch)
    for names, colours in ((("unmasked", "worn"), "colours"), (("masked",), "masked_colours")):
        for name in names:
            out[name] = recoloured(out[name], batch[colours]).contiguous(memory_format=memory_format)
    return out | {name: batch[name] for name in ("distance",) if name in batch}


def _float(pictures, memory_format):
    return pictures.movedim(-1, 1).to(torch.float32, memory_format=memory_format)


def _drawn_move(rng):
    """A random similarity transform within :data:`WIDER`, :data:`TURNED` and :data:`SHIFTED`, 2×3."""
    wider, turned = rng.uniform(*WIDER), rng.uniform(-TURNED, TURNED)
    x, y = rng.uniform(-2 * SHIFTED, 2 * SHIFTED, 2)
    cos, sin = wider * np.cos(turned), wider * np.sin(turned)
    return np.float32([[cos, -sin, x], [sin, cos, y]])


def _moved(pictures, batch):
    """The pictures of moved samples transformed; beyond their edges the border pixels are repeated."""
    grid = F.affine_grid(batch["move"][: len(pictures)], pictures.shape, align_corners=False)
    moved = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(batch["moved"][: len(pictures)].view(-1, 1, 1, 1), moved, pictures)


PLAIN = (1.0, 1.0, 1.0, 1.0)
"""Gains of the channels and contrast of a sample that keeps its colours."""


def _drawn_colours(rng):
    """A random change of exposure, white balance and contrast by :data:`EXPOSURE`, :data:`BALANCE`, :data:`CONTRAST`:
    the gain of each channel, and the contrast."""
    gain = np.exp(rng.normal(0, EXPOSURE) + rng.normal(0, BALANCE, 3))
    return *gain, np.exp(rng.normal(0, CONTRAST))


def recoloured(pictures, colours):
    """Pictures, float32 N×3×R×R in [-1, 1], with changed colours; equal pixels stay equal. ``colours`` has N rows or
    more: the gain of each channel, as of light (−1 is black), and the contrast (0 is grey)."""
    gain, contrast = colours[: len(pictures), :, None, None].split((3, 1), 1)
    return (pictures * gain + (gain - 1)).mul_(contrast).clamp_(-1, 1)


def distance_from(region):
    """The distance of each pixel from a region, float32 R×R in [0, 1] of which pixels from 0.5 on belong to it: float32
    R×R, as a fraction of the image's side; 1 everywhere if the region is empty."""
    outside = (region < 0.5).astype(np.uint8)
    if outside.all():
        return np.ones_like(region)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV rounds differently with the alignment of the memory; between pixels, the square is a whole number
    exact = np.sqrt(np.rint(np.square(distance, dtype=np.float64))) / len(outside)
    return exact.astype(np.float32)
