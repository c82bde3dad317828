"""Unpaired training batches: one photo of each domain, drawn independently, with CycleGAN's augmentation."""

import itertools

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

__all__ = ["UnpairedPhotos", "augment", "endless_batches", "to_tensor"]

LOAD_SCALE = 286 / 256
"""CycleGAN loads at 286 pixels and crops 256; other resolutions keep the ratio."""


def to_tensor(photo):
    """RGB ``PIL.Image`` to float32 3×H×W in [-1, 1]."""
    pixels = torch.from_numpy(np.array(photo, dtype=np.uint8))
    return pixels.permute(2, 0, 1).to(torch.float32).div_(127.5).sub_(1)


def augment(photo, resolution, rng, load_scale=LOAD_SCALE):
    """Scale the centred square to ``load_scale × resolution``, cut a random square out of it, mirror every other one.

    Args:
        photo: RGB ``PIL.Image``.
        resolution: side of the result in pixels.
        rng: ``numpy.random.Generator``.

    Returns:
        float32 3×resolution×resolution in [-1, 1].
    """
    loaded = max(resolution, round(resolution * load_scale))
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    scaled = photo.resize((loaded, loaded), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    x, y = rng.integers(0, loaded - resolution + 1, 2)
    cut = scaled.crop((x, y, x + resolution, y + resolution))
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return to_tensor(cut)


class UnpairedPhotos(IterableDataset):
    """Endless samples of unrelated photos, one of each domain: ``{"unmasked": 3×R×R, ...}``, walked by position.

    Args:
        sources: domain → source of :func:`maskhub.data.sources.open_source`.
        resolution: R in pixels.
        seed: fixes order, crops and mirroring.
        start: position of this process's first sample, in samples of this process.
        rank, world: this process's share of the sequence.
        batch_size: samples that a worker takes in a row, so that batches do not depend on the number of workers.
    """

    def __init__(self, sources, resolution, seed, start=0, rank=0, world=1, batch_size=1, load_scale=LOAD_SCALE):
        self.sources = dict(sources)
        self.resolution, self.seed, self.start, self.load_scale = resolution, seed, start, load_scale
        self.rank, self.world, self.batch_size = rank, world, batch_size

    def __iter__(self):
        streams = [self._stream(number, name) for number, name in enumerate(self.sources)]
        for samples in zip(*streams, strict=True):
            yield dict(zip(self.sources, samples, strict=True))

    def _stream(self, number, name):
        for position, photo in self.sources[name].walk(self._positions(), self.seed + number):
            rng = np.random.default_rng((self.seed, number, position))
            yield augment(photo, self.resolution, rng, self.load_scale)

    def _positions(self, index=0, workers=None):
        """Those of one of so many workers; if not given, of the ``DataLoader``'s that this process is."""
        if workers is None:
            worker = get_worker_info()
            index, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        first = self.start // self.batch_size
        for batch in itertools.count(first + index, workers):
            for sample in range(batch * self.batch_size, (batch + 1) * self.batch_size):
                yield sample * self.world + self.rank


def endless_batches(dataset, workers=0, pin_memory=False):
    """An endless iterator of batches of a dataset that is walked by position."""
    loader = DataLoader(
        dataset,
        dataset.batch_size,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else starting workers would draw from torch's own random numbers
    )
    return iter(loader)
