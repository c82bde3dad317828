"""Training samples of the mask detector: crops with and without masks, and their labels.

    data = MaskDetectionCrops(open_source("unmasked"), open_source("masked"), resolution=128, seed=0, batch_size=8)
    batches = mask_detection_batches(data, workers=1)   # {"images", "plain": 4N×3×R×R, "region": 4N×1×R×R, ...}

Really masked and unmasked photos come from different collections, which a detector could tell apart by lighting, blur
and JPEG instead of by masks. So each sample has four or more crops, half of each class, in which the collection says
nothing about the class.
"""

import cv2
import numpy as np
import torch

from maskhub.data.decoys import decoy, occlude
from maskhub.data.masked import Wearing
from maskhub.data.paired import WornPairs, squared
from maskhub.data.positions import PositionDataset, endless_batches
from maskhub.masks.blend import SHADOW
from maskhub.options import Share
from maskhub.tensors import to_pixels, to_tensor

__all__ = ["MaskDetectionCrops", "crops_per_sample", "mask_detection_batches", "moved", "roughen"]

WRONGLY_WORN = 0.3
EYES = 0.34
"""Height in an aligned crop below which masks are, including the bridge of the nose: that of the lower eyelids."""
VISIBLE = 0.03
"""Share of the crop that a mask must cover to count; for smaller ones the class is undecided."""
IN_FRONT = 0.35
"""Share of the crops, except those of really masked faces, with something in front."""


class _OftenAtChin(Wearing):
    """Masks of which a share, in addition to those worn wrongly, are worn at the chin."""

    at_chin: Share = 0.0

    def way(self, rng):
        # at 0 no number is drawn, so that the samples are those of earlier runs
        return "nose-and-mouth-out" if self.at_chin and rng.random() < self.at_chin else super().way(rng)


class MaskDetectionCrops(PositionDataset):
    """Endless samples of ``2 + 2 * real_faces`` aligned crops, by default four.

    1. a face of ``unmasked`` with a rule-based mask, sometimes worn wrongly or recoloured: masked, region known;
    2. the same face unmasked, every other time with a decoy (:mod:`maskhub.data.decoys`): unmasked, region empty;
    3. a face of ``masked``, or (every third time) its lower half under the upper half of the unmasked one: masked,
       region unknown;
    4. the upper half of the face of ``masked`` over the lower half of the unmasked one, or (every third time) the
       unmasked one again: unmasked, region empty.

    With more than one of ``real_faces``, 3 and 4 are repeated with other faces of ``masked``. Hands, hair, scarves and
    blobs cover some of the crops, but of the third kind only the share ``in_front``. Every crop is slightly shifted,
    rotated and scaled, since detection is not exact, and then passed through :func:`roughen`.

    Each sample is a dict of float32 tensors, with N crops: ``images`` N×3×R×R in [-1, 1]; ``plain`` the same before
    roughening; ``presence`` N, 1 for masked, 0.5 if the crop only shows an edge of the mask; ``region`` N×1×R×R in
    [0, 1], shadows not counted; ``known`` N, 1 where the region is known.

    Args:
        unmasked: source of photos with unmasked faces, which are detected.
        masked: source of aligned crops of masked faces, as ``maskhub dataset curate --crops`` makes them.
        at_chin: share of the rule-based masks worn at the chin, in addition to those that are worn wrongly anyway.
        in_front: share of the really masked faces with something in front.
        real_faces: number of faces of ``masked`` in a sample, 1 or more.
        resolution, seed, start, rank, world, batch_size, cache: as in :class:`~maskhub.data.paired.WornPairs`.
    """

    def __init__(
        self, unmasked, masked, resolution, seed, *, at_chin=0.0, in_front=0.0, real_faces=1, cache=None, **walk
    ):
        super().__init__(resolution, seed, **walk)
        wearing = _OftenAtChin(wrongly_worn=WRONGLY_WORN, at_chin=at_chin)
        self.worn = WornPairs(unmasked, resolution, seed, wearing=wearing, cache=cache, **walk)
        self.streams = self.worn.streams
        self.masked = [self.shared(masked) for _ in range(real_faces)]
        self.in_front = in_front

    def __iter__(self):
        walks = [source.walk(self.positions(), self.seed + 1 + n) for n, source in enumerate(self.masked)]
        for pair, *photos in zip(self.worn, *walks, strict=True):
            rng = np.random.default_rng((self.seed, 3, photos[0][0]))
            yield self._sample(pair, [photo for _, photo in photos], rng)

    def _sample(self, pair, photos, rng):
        bare, worn = (to_pixels(pair[name]) for name in ("unmasked", "masked"))
        # full shadow counts as 0, full cover as 1
        region = ((pair["region"][0].numpy() - SHADOW) / (1 - SHADOW)).clip(0, 1)
        empty = np.zeros_like(region)
        visible = 1 if (region > 0.5).mean() >= VISIBLE else 0.5
        reals = [_square(photo, self.resolution, rng) for photo in photos]
        made = [
            (_dyed(worn, region, rng) if rng.random() < 0.3 else worn, region, visible, 1),
            (decoy(bare, region, rng) if rng.random() < 0.5 else bare, empty, 0, 1),
        ]
        for real in reals:
            made += [
                (_joined(bare, real, rng) if rng.random() < 1 / 3 else real, empty, 1, 0),
                (bare if rng.random() < 1 / 3 else _joined(real, bare, rng, highest=EYES), empty, 0, 1),
            ]
        out = {"images": [], "plain": [], "region": [], "presence": [], "known": []}
        for image, covered, presence, known in made:
            in_front = IN_FRONT if known else self.in_front
            if in_front and rng.random() < in_front:
                image, cover = occlude(image, rng)
                covered = covered * (1 - cover)
            image, covered = moved(image, covered, rng)
            rough = roughen(image, rng)
            for name, value in (("images", to_tensor(rough)), ("plain", to_tensor(image))):
                out[name].append(value)
            out["region"].append(torch.from_numpy(covered)[None])
            out["presence"].append(torch.tensor(float(presence)))
            out["known"].append(torch.tensor(float(known)))
        return {name: torch.stack(values) for name, values in out.items()}


def crops_per_sample(real_faces):
    """The number of crops in a sample with this many really masked faces."""
    return 2 + 2 * real_faces


def mask_detection_batches(dataset, workers=0, pin_memory=False):
    """An endless iterator of batches of :class:`MaskDetectionCrops`; each sample gives its crops in a row."""
    for batch in endless_batches(dataset, workers, pin_memory):
        yield {name: values.flatten(0, 1) for name, values in batch.items()}


def roughen(image, rng):
    """Degrade a crop (uint8 RGB S×S×3) at random, as cameras and files do: tone, colour, blur, noise, size, JPEG."""
    side = image.shape[0]
    picture = image.astype(np.float32)
    if rng.random() < 0.7:
        mean = picture.mean()
        picture = (picture - mean) * rng.uniform(0.6, 1.35) + mean * rng.uniform(0.6, 1.35)
        picture *= rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.3:
        grey = picture.mean(2, keepdims=True)
        picture = grey + (picture - grey) * rng.choice([0.0, rng.uniform(0.2, 1.6)], p=(0.3, 0.7))
    if rng.random() < 0.25:  # one side in the shade
        angle = rng.uniform(0, 2 * np.pi)
        ys, xs = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
        ramp = 1 / (1 + np.exp(-(xs * np.cos(angle) + ys * np.sin(angle)) * rng.uniform(4, 25)))
        picture *= 1 - rng.uniform(0.2, 0.7) * ramp[..., None]
    if rng.random() < 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 2.0) * side / 128)
    if rng.random() < 0.3:
        small = int(side * rng.uniform(0.3, 0.8))
        picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (side, side), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])))
    if rng.random() < 0.3:
        picture = picture + rng.normal(0, rng.uniform(1, 10), picture.shape).astype(np.float32)
    out = np.rint(picture).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, data = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        out = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return out


def _dyed(image, region, rng):
    """Recolour the mask, since the rules only have some dozen colours."""
    dye = rng.uniform(0.25, 1.0, 3)
    dye *= rng.uniform(0.7, 1.2) / dye.mean()
    dyed = image * (1 + (dye.astype(np.float32) - 1) * region[..., None])
    return np.rint(dyed).clip(0, 255).astype(np.uint8)


def _joined(upper, lower, rng, highest=0.42):
    """Put the upper part of one aligned crop over the lower part of another, adapted to its lighting. The seam is
    between the lower eyelids and ``highest``, a share of the height."""
    side = upper.shape[0]
    seam = rng.uniform(EYES - 0.01, highest + 0.01) * side
    ramp = np.clip((np.arange(side) - seam) / (rng.uniform(0.01, 0.05) * side) + 0.5, 0, 1)[:, None, None]
    rows = slice(int(0.25 * side), int(0.42 * side))
    columns = slice(int(0.25 * side), int(0.75 * side))
    here, there = (np.median(crop[rows, columns].reshape(-1, 3), 0) + 8 for crop in (upper, lower))
    fitted = lower * np.clip(here / there, 0.5, 2)
    return np.rint(upper + (fitted - upper) * ramp).clip(0, 255).astype(np.uint8)


def moved(image, region, rng):
    """Slightly rotate, scale and shift a crop (uint8 RGB S×S×3) and its region (float32 S×S) in the same way."""
    side = image.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.normal(0, 5), rng.uniform(0.86, 1.12))
    matrix[:, 2] += rng.normal(0, 0.03, 2) * side
    image = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return image, cv2.warpAffine(region, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _square(photo, side, rng):
    """The centre square of a ``PIL.Image`` at ``side``, mirrored with probability 0.5."""
    pixels = squared(np.asarray(photo), side)
    return np.ascontiguousarray(pixels[:, ::-1]) if rng.random() < 0.5 else pixels
