"""Training data that is read by position, and its batches."""

import itertools

import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

__all__ = ["LOAD_SCALE", "PositionDataset", "endless_batches"]

LOAD_SCALE = 286 / 256
"""CycleGAN loads at 286 pixels and crops 256; other resolutions keep the ratio."""


class PositionDataset(IterableDataset):
    """Endless samples, each of which depends only on the seed and its position in the sequence.

    So the samples are the same for any number of workers and any start, and no state has to be saved.

    Args:
        resolution: R in pixels.
        seed: seed of order, crops and mirroring.
        start: position of the first sample, in samples of this process.
        rank, world: rank of this process and number of processes.
        batch_size: samples that a worker takes in a row, so that batches do not depend on the number of workers.
        load_scale: photos are loaded at this times R, then a random R×R square is cropped.
    """

    def __init__(self, resolution, seed, start=0, rank=0, world=1, batch_size=1, load_scale=LOAD_SCALE):
        self.resolution, self.seed, self.start, self.load_scale = resolution, seed, start, load_scale
        self.rank, self.world, self.batch_size = rank, world, batch_size

    def positions(self, index=0, workers=None):
        """Those of one of so many workers; if not given, of the ``DataLoader``'s that this process is."""
        if workers is None:
            worker = get_worker_info()
            index, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for batch in itertools.count(self.start // self.batch_size + index, workers):
            for sample in range(batch * self.batch_size, (batch + 1) * self.batch_size):
                yield sample * self.world + self.rank


def _together(samples):
    """A batch. The first sample has all entries; later ones may lack some, which then have fewer rows."""
    return {name: default_collate([sample[name] for sample in samples if name in sample]) for name in samples[0]}


def endless_batches(dataset, workers=0, pin_memory=False):
    """An endless iterator of batches of a :class:`PositionDataset`."""
    loader = DataLoader(
        dataset,
        dataset.batch_size,
        num_workers=workers,
        collate_fn=_together,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # otherwise starting workers would use torch's global random state
    )
    return iter(loader)
