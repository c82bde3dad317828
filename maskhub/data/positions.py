"""Training data that is read by position, and its batches."""

import itertools
import os
import signal
import threading
import warnings

import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from maskhub.data.lanes import Share

__all__ = ["LOAD_SCALE", "PositionDataset", "endless_batches"]

LOAD_SCALE = 286 / 256
"""CycleGAN loads at 286 pixels and crops 256; other resolutions keep the ratio."""
LEFT = 60.0
"""Seconds that a worker lives on after a SIGTERM that its parent has not sent."""


class PositionDataset(IterableDataset):
    """Endless samples (up to ``stop``), each of which depends only on the seed and its position in the sequence.

    So the samples are the same for any number of workers and any start, and no state has to be saved.

    Args:
        resolution: R in pixels.
        seed: seed of order, crops and mirroring.
        start: position of the first sample, in samples of this process.
        rank, world: rank of this process and number of processes.
        batch_size: samples that a worker takes in a row, so that batches do not depend on the number of workers.
        stop: position after the last sample, so that workers do not read ahead of the end of a run; None: no end.
        load_scale: photos are loaded at this times R, then a random R×R square is cropped.
    """

    def __init__(self, resolution, seed, start=0, rank=0, world=1, batch_size=1, load_scale=LOAD_SCALE, stop=None):
        self.resolution, self.seed, self.start, self.load_scale = resolution, seed, start, load_scale
        self.stop = stop
        self.rank, self.world, self.batch_size = rank, world, batch_size
        self.streams = []

    def shared(self, source, taken=None):
        """A source as this process walks it; ``taken`` is a range of the samples of a batch that take a photo, or None:
        all."""
        share = Share(self.world, self.batch_size, range(self.batch_size) if taken is None else taken)
        source = source.shared(share)
        if source.deal is not None:
            self.streams.append(source)
        return source

    def turns(self, index=0, workers=1):
        """The numbers of the batches of worker ``index`` of ``workers``; None where it waits for the others.

        A worker makes the batches of whole lanes (:mod:`maskhub.data.lanes`), so that no other reads the same files.
        Workers take turns, so if they do not divide the lanes, some of them wait in the last turn of a round.
        """
        lanes = min((stream.deal.lanes for stream in self.streams if stream.deal.lanes >= workers), default=workers)
        width = -(-lanes // workers) * workers
        turn, place = divmod(self.start // self.batch_size, lanes)
        for number in itertools.count(turn * width + place + index, workers):
            turn, place = divmod(number, width)
            batch = turn * lanes + place
            if self.stop is not None and batch * self.batch_size >= self.stop:
                return
            yield batch if place < lanes else None

    def positions(self, index=0, workers=None):
        """The positions of worker ``index`` of ``workers``; by default of this process in its ``DataLoader``."""
        if workers is None:
            index, workers = _this_worker()
        for batch in self.turns(index, workers):
            if batch is not None:
                for sample in range(batch * self.batch_size, (batch + 1) * self.batch_size):
                    yield sample * self.world + self.rank


class _WithPauses(IterableDataset):
    """A dataset for a ``DataLoader``, with empty samples where a worker waits for the others."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __iter__(self):
        samples, size = iter(self.dataset), self.dataset.batch_size
        for batch in self.dataset.turns(*_this_worker()):
            yield from [None] * size if batch is None else itertools.islice(samples, size)


def _this_worker():
    """The index of this worker process of a ``DataLoader``, and their number."""
    worker = get_worker_info()
    return (worker.id, worker.num_workers) if worker else (0, 1)


def _together(samples):
    """A batch, or None. The first sample has all entries; later ones may lack some, which then have fewer rows."""
    if samples[0] is None:
        return None
    return {name: default_collate([sample[name] for sample in samples if name in sample]) for name in samples[0]}


def _await_the_end(worker):
    """Let a worker live on after a signal that stops the run. A terminal and a cluster send it to all processes, but
    the training process still needs the worker for its last step, and ends it itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end, args=(os.getppid(),), daemon=True).start()


def _end(parent):
    """End this worker when its parent sends SIGTERM, or :data:`LEFT` seconds after another process has sent it."""
    received = signal.sigwaitinfo({signal.SIGTERM})
    while received and received.si_pid != parent:
        received = signal.sigtimedwait({signal.SIGTERM}, LEFT)
    os._exit(0)


def endless_batches(dataset, workers=0, pin_memory=False):
    """An iterator of the batches of a :class:`PositionDataset`. A warning says which streams have too few files."""
    for stream in dataset.streams:
        shortage = stream.deal.shortage(stream, workers)
        if shortage and dataset.rank == 0:
            warnings.warn(shortage, stacklevel=2)
    loader = DataLoader(
        _WithPauses(dataset),
        dataset.batch_size,
        num_workers=workers,
        collate_fn=_together,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # otherwise starting workers would use torch's global random state
        worker_init_fn=_await_the_end,
    )
    return (batch for batch in iter(loader) if batch is not None)
