"""Paired training samples made on the fly: the face of each photo without and with a random mask.

    data = WornPairs(open_source("photos"), resolution=128, seed=0, batch_size=4)
    batches = endless_batches(data, workers=2)     # {"unmasked", "masked": N×3×R×R, "region": N×1×R×R}

Detecting faces and landmarks takes the most time, so it is done once and cached.
"""

import itertools

import cv2
import numpy as np
import torch

from maskhub.data.face_cache import FaceCache, cache_folder
from maskhub.data.masked import Wearing
from maskhub.data.positions import PositionDataset
from maskhub.errors import SourceError
from maskhub.faces import align
from maskhub.faces.landmarks import moved_landmarks
from maskhub.image_file import middle_square
from maskhub.tensors import to_tensor

__all__ = ["WornPairs", "squared"]

TRIES = 20
"""Number of other photos to try instead of one without a face."""
STEP = 7919
"""Positions between two tries."""
COARSEST = 0.25
"""Minimum resolution of coarse samples, as a fraction of the side."""


class WornPairs(PositionDataset):
    """Endless pairs ``{"unmasked": 3×R×R, "masked": 3×R×R, "region": 1×R×R}``.

    The pictures are float32 in [-1, 1], aligned by :mod:`maskhub.faces.align`, with the same crop and mirroring; the
    region is float32 in [0, 1], and where it is 0 both pictures are the same.

    A photo without a clear face is replaced by another one of its folder; in a streamed dataset, which has no random
    access, it stays unmasked with an empty region, so curate such datasets first. The built-in pixel faces are drawn
    with their coverings.

    Args:
        source: of :func:`maskhub.data.sources.open_source`.
        resolution, seed, walk: as in :class:`~maskhub.data.positions.PositionDataset`; the seed fixes the masks too.
        wearing: :class:`~maskhub.data.masked.Wearing`: style and how often worn wrongly (seed and portion are not
            used: the largest face of each photo is masked).
        cache: file of the :class:`~maskhub.data.face_cache.FaceCache`; by default in :func:`cache_folder`.
        coarse: share of the samples that are reduced to a low resolution and enlarged, like small faces in large
            photos.
        repeats: this many samples in a row show the same photo and mask, cut, mirrored and coarsened differently, which
            saves drawing masks (Hoffer et al.: "Augment Your Batch", CVPR 2020).
    """

    def __init__(self, source, resolution, seed, *, wearing=None, cache=None, coarse=0.0, repeats=1, **walk):
        super().__init__(resolution, seed, **walk)
        self.wearing, self.coarse, self.repeats = wearing or Wearing(), coarse, repeats
        every = repeats if self.batch_size % repeats == 0 else 1  # else groups of samples cross batches
        self.source = self.shared(source, range(0, self.batch_size, every))
        _ = self.wearing.look  # reads the pictures of masks once, before there are workers
        # a fork of this process would wait forever for OpenCV's threads, which it does not have
        cv2.setNumThreads(1)
        self.cache = FaceCache(cache or cache_folder(source) / "faces.sqlite")

    def __iter__(self):
        for pictures in self.pictures():
            tensors = {name: to_tensor(pictures[name]) for name in ("unmasked", "masked")}
            yield tensors | {"region": torch.from_numpy(pictures["region"])[None]}

    def pictures(self):
        """The same samples as contiguous arrays: both pictures uint8 R×R×3, the region float32 R×R."""
        groups = itertools.groupby(self.positions(), self._drawn_at)
        for position, photo in self.source.walk(self._drawings(), self.seed):
            rng = np.random.default_rng((self.seed, 2, position))
            drawn = self._drawing(position, photo, rng)
            for number, other in enumerate(next(groups)[1]):
                if number or other != position:
                    rng = np.random.default_rng((self.seed, 5, other))
                yield self._cut(drawn, rng)

    def _drawn_at(self, position):
        """The position whose photo and mask a sample shows."""
        return position // self.world // self.repeats * self.repeats * self.world + self.rank

    def _drawings(self):
        for position, _ in itertools.groupby(self.positions(), self._drawn_at):
            yield position

    def _drawing(self, position, photo, rng):
        """Face, masked face and region, larger than the samples that are cut out of them."""
        loaded = max(self.resolution, round(self.resolution * self.load_scale))
        if self.source.draws_pairs:  # drawn faces, with and without their covering
            pair = self.source.pair(position, self.seed)
            return [cv2.resize(picture, (loaded, loaded), interpolation=cv2.INTER_NEAREST) for picture in pair]
        return self._worn(position, np.asarray(photo), loaded, rng)

    def _cut(self, drawn, rng):
        if self.coarse and not self.source.draws_pairs and rng.random() < self.coarse:
            fewer = max(round(len(drawn[0]) * rng.uniform(COARSEST, 1)), 1)
            drawn = [_coarsened(picture, fewer) for picture in drawn]
        x, y = rng.integers(0, len(drawn[0]) - self.resolution + 1, 2)
        cut = np.s_[y : y + self.resolution, x : x + self.resolution]
        cuts = [picture[cut] for picture in drawn]
        if rng.random() < 0.5:
            cuts = [picture[:, ::-1] for picture in cuts]
        return dict(zip(("unmasked", "masked", "region"), map(np.ascontiguousarray, cuts), strict=True))

    def _worn(self, position, pixels, loaded, rng):
        """The aligned face at ``loaded`` pixels without and with a mask, and the region."""
        found = self.cache.look(pixels)
        if found is None and self.source.size is not None:
            for other in range(position + STEP, position + STEP * (TRIES + 1), STEP):
                pixels = np.asarray(next(self.source.walk([other], self.seed))[1])
                found = self.cache.look(pixels)
                if found is not None:
                    break
            else:
                raise SourceError(f"{TRIES} photos of {self.source.spec} in a row show no clear face: curate it first.")
        if found is None:
            self.source.warn(f"left unmasked: a photo of {self.source.spec} shows no clear face")
            before = squared(pixels, loaded)
            return before, before, np.zeros(before.shape[:2], np.float32)
        face, marks = found
        matrix = align.alignment(face, loaded)
        before = align.crop(pixels, matrix, loaded)
        worn = self.wearing.way(rng)
        made = self.wearing.put_on(before, moved_landmarks(marks, matrix), int(rng.integers(2**62)), worn)
        return before, made.image, made.region


def squared(pixels, side):
    """The centre square of a picture, uint8 H×W×3, at ``side``×``side`` pixels."""
    left, top, right, bottom = middle_square(*pixels.shape[1::-1])
    flags = cv2.INTER_AREA if right - left > side else cv2.INTER_CUBIC
    return cv2.resize(pixels[top:bottom, left:right], (side, side), interpolation=flags)


def _coarsened(picture, side):
    """Reduce to ``side`` pixels and enlarge again, as ``align.crop`` does with small faces."""
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
