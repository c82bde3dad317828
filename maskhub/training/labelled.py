"""Base of the re-imaging tasks: training on small labelled photos that are kept in memory."""

import itertools
from typing import Annotated

import torch
from pydantic import BeforeValidator, Field

from maskhub.data.positions import PositionDataset
from maskhub.options import FREE, Count, Positive
from maskhub.training.options import Precision, Schedule, TrainingOptions
from maskhub.training.task import Task

__all__ = ["LabelledOptions", "LabelledSamples", "LabelledTask", "Sources"]

Sources = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""Specs of sources that are combined; a recipe may give a single one without brackets."""


class LabelledOptions(TrainingOptions):
    """Options that the re-imaging generators and the classifier share."""

    resolution: Annotated[int, Field(ge=16)] = 32
    batch_size: Annotated[int, Field(ge=2)] = 32
    max_steps: Annotated[Positive, FREE] = 10_000
    lr_schedule: Schedule = "constant"
    """linear: constant for the first half, then linear decay to 0, which makes the final faces less noisy."""
    mixed_precision: Precision = "no"
    log_every: Annotated[Positive, FREE] = 50
    workers: Annotated[Count, FREE] = 0
    """Background processes that make batches; 0 is enough, since these photos are in memory."""
    limit_photos: Count = 0

    def needs(self):
        return ("source",)


class LabelledTask(Task):
    """Base of the tasks that train on ``self.faces``, a :class:`~maskhub.data.labelled.LabelledPhotos`."""

    faces = None
    targets = None

    def dataset(self, seed, load_scale=None, **walk):
        return LabelledSamples(self.faces, self.targets, seed, **walk)

    def batches(self, dataset, workers, pin_memory):
        return super().batches(dataset, workers, pin_memory) if workers else dataset.batches()

    def sources_of(self, options):
        return {}  # self.faces are in memory

    def photos(self, options=None):
        return len(self.faces)

    def fingerprint(self, stages=()):
        return self.faces.fingerprint()

    def curves(self, names):
        return {what: [name for name in names if name.startswith(what)] for what in ("accuracy", "loss")}


class LabelledSamples(PositionDataset):
    """Endless samples ``{"image": 3×R×R in [-1, 1], "target": int64}`` of
    :class:`~maskhub.data.labelled.LabelledPhotos`, shuffled in each pass; ``targets`` is int64 N, or None, and the rest
    as in :class:`~maskhub.data.positions.PositionDataset`."""

    def __init__(self, photos, targets, seed, **walk):
        super().__init__(photos.images.shape[1], seed, **walk)
        self.photos, self.targets = photos, targets

    def __iter__(self):
        for place in self.places():
            yield {name: values[0] for name, values in self._at([place]).items()}

    def batches(self):
        """The batches, each assembled in one piece: the same as a ``DataLoader``'s, but faster."""
        places = self.places()
        while batch := list(itertools.islice(places, self.batch_size)):
            yield self._at(batch)

    def places(self):
        """The places of the samples' photos, in order."""
        order, order_of = None, None
        for position in self.positions():
            epoch, place = divmod(position, len(self.photos))
            if epoch != order_of:
                generator = torch.Generator().manual_seed(self.seed * 7919 + epoch)
                order, order_of = torch.randperm(len(self.photos), generator=generator).tolist(), epoch
            yield order[place]

    def _at(self, places):
        images = {"image": self.photos.tensor(places)}
        return images if self.targets is None else images | {"target": self.targets[places]}
