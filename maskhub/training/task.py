"""Base class of all training methods: networks, optimizers, data, losses, samples and result.

A new method is one file with a subclass of :class:`Task`. Its :meth:`~Task.step` is a generator function that reads
like the algorithm in the paper: it computes a loss and yields an :class:`Update`; the trainer then makes the
optimizer's step and continues. The order of the yields is the order of the updates::

    def step(self, batch, turn):
        loss = F.binary_cross_entropy_with_logits(self.nets["discriminator"](batch["image"]), ...)
        yield Update("discriminator", loss, {"loss_real": loss})
        ...
        yield Update("generator", loss, {"loss_combined": loss})
"""

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch.utils.data import default_collate

from maskhub.data.positions import endless_batches
from maskhub.data.sources import open_source
from maskhub.pipelines.fetch import with_variant
from maskhub.training.options import TrainingOptions

__all__ = ["Task", "Update", "frozen", "stored"]


@dataclass(frozen=True)
class Update:
    """One step of an optimizer: its name, the scalar ``loss`` to minimise, unweighted ``terms`` by name for
    metrics.jsonl, and the norm to which to ``clip`` the gradients, or None."""

    optimizer: str
    loss: torch.Tensor
    terms: dict = field(default_factory=dict)
    clip: float | None = None


class Task:
    """Base of all methods.

    Args:
        options: the method's options, already checked.
        networks: dict of name → network.
        rank: rank of this process.

    Attributes:
        Options: class of the method's options.
        name: name of the method.
        paper: URL of its paper.
        result: name of the finished model's folder.
        averaged: names of the networks that have a moving average; the result uses the averages.
        trained_against: names of the encoders and feature networks used in the losses; figures measured with them are
            biased.
        input_of: method that returns the input of a network, by its name, in a step on a batch; the batch norms of
            averaged weights are measured on it. None: they keep the running statistics.
        recordable: whether :meth:`step` can be recorded as a CUDA graph: it doesn't wait for the GPU, and neither what
            it does nor its random numbers come from the CPU.
        networks: dict of name → network, without wrappers for compilation and several processes.
        nets: the same with these wrappers; :meth:`step` calls these.
        pools: dict of name → object with ``state_dict`` and ``load_state_dict``, separate in every process.
        options: within :meth:`step`, the options of the current stage.
        progress: completed fraction of the run, 0 to 1.
    """

    Options = TrainingOptions
    name = ""
    paper = ""
    result = "pipeline"
    averaged = ()
    trained_against = ()
    input_of = None
    recordable = False

    def __init__(self, options, networks, rank=0):
        self.options, self.rank = options, rank
        self.networks, self.nets = networks, dict(networks)
        self.pools, self.progress, self._opened = {}, 0.0, {}

    @property
    def memory_format(self):
        """The memory format of networks and batches."""
        return torch.channels_last if self.options.channels_last else torch.contiguous_format

    # ---- data -----------------------------------------------------------------------------------------------------

    @property
    def sources(self):
        """Name → :class:`~maskhub.data.source.PhotoSource`, those of the current stage."""
        return self.sources_of(self.options)

    def sources_of(self, options):
        """The sources of other options; each is opened once."""
        wanted = {name: (getattr(options, name), options.holdout, options.limit_photos) for name in options.needs()}
        for key in wanted.values():
            if key not in self._opened:
                spec, holdout, limit = key
                source = open_source(spec, holdout)
                self._opened[key] = source.limited(limit) if limit else source
        return {name: self._opened[key] for name, key in wanted.items()}

    def dataset(self, seed, load_scale=None, **walk):
        """The endless samples of a run, an ``IterableDataset`` of dicts of tensors, all random numbers by the seed.

        Photos are loaded ``load_scale`` times larger than the resolution before the random crop; None: the task's
        default. ``walk`` is ``start``, ``rank``, ``world``, ``batch_size`` of
        :class:`~maskhub.data.positions.PositionDataset`.
        """
        raise NotImplementedError

    def batches(self, dataset, workers, pin_memory):
        """An endless iterator of batches, dicts of tensors."""
        return endless_batches(dataset, workers, pin_memory)

    def prepared(self, batch):
        """The batch as :meth:`step` takes it, from what the dataset gave, on the device."""
        return batch

    def fixed_batch(self, count):
        """The batch of the sample sheets: the first samples with seed 0, without random crops."""
        samples = [sample for sample, _ in zip(self.dataset(0, load_scale=1.0), range(count), strict=False)]
        return default_collate(samples)

    def photos(self, options=None):
        """Number of photos in the largest source (of other options), or None if the size of a source is unknown."""
        sizes = [source.size for source in self.sources_of(options or self.options).values()]
        return None if None in sizes else max(sizes)

    def fingerprint(self, stages=()):
        """A hash of the photos' names and order in all stages, so that a resumed run notices changes."""
        names = repr(
            [source.identity() for options in stages or [self.options] for source in self.sources_of(options).values()]
        )
        return hashlib.sha256(names.encode("utf-8", "surrogatepass")).hexdigest()

    # ---- learning -------------------------------------------------------------------------------------------------

    def optimizers(self):
        """Name → new torch optimizer."""
        raise NotImplementedError

    def adam(self, *names, kind=torch.optim.Adam, **settings):
        """An optimizer for some networks, with the learning rate and β₁ from the options."""
        parameters = [parameter for name in names for parameter in self.networks[name].parameters()]
        betas = (self.options.beta1, 0.999)
        if self.options.cuda_graph:
            settings["capturable"] = True
        return kind(parameters, lr=self.options.learning_rate, betas=betas, **settings)

    def step(self, batch, turn):
        """One step on one micro-batch on the device: a generator function that yields :class:`Update` s.

        ``turn`` is the index of the round within the step, from 0 to ``options.rounds`` − 1.
        """
        raise NotImplementedError

    def average(self, name):
        """The network ``name`` with its moving average as weights, in eval mode; the trainer replaces this method."""
        return self.networks[name]

    # ---- what a run leaves ----------------------------------------------------------------------------------------

    def curves(self, names):
        """The panels of ``curves.png``, a dict of title → names of metrics; ``names`` are all metrics of the run."""
        return {"loss": names}

    def describe(self, named=str):
        """Lines about the data, for the log and the card; ``named`` gives the name of a source by its spec."""
        for name, source in self.sources.items():
            held_out = ", without the held-out tenth" if self.options.holdout else ""
            yield f"{name}: {named(source.spec)}, {source.describe()}{held_out}"

    def samples(self, networks, batch):
        """The sample sheet: groups of columns, each N×3×R×R in [-1, 1]; the second column of a group shows results.

        ``networks`` are those of the result, in float32 and eval mode, ``batch`` is that of :meth:`fixed_batch`.
        """
        return []

    def test(self, networks):
        """Figures on test photos by name, for tests.jsonl; called as often as :meth:`samples`."""
        return {}

    def write(self, networks, folder, card):
        """Write the finished model to an empty folder, with ``card`` as its ``README.md``.

        ``networks`` are in float32 and eval mode, with the moving averages as weights.
        """
        raise NotImplementedError

    def begin_with(self, name, weights):
        """Load another run's state dict of network ``name``, for ``--init-from``; RuntimeError if it does not fit."""
        self.networks[name].load_state_dict(weights)

    def transfer(self, path):
        """State dicts by network from a finished model's folder, for ``--init-from``; empty if ``path`` is not one."""
        return {}

    def saved(self, name, *folders):
        """The state dict of network ``name`` from the first of these folders that holds one, for :meth:`transfer`."""
        folder = next((folder for folder in folders if (folder / "config.json").is_file()), None)
        return {name: stored(type(self.networks[name]), folder).state_dict()} if folder else {}

    def card(self):
        """The :class:`~maskhub.cards.ModelCard` of the result, without the section on training."""
        raise NotImplementedError


def stored(kind, folder):
    """The network of this class in a folder, in float32, also if the folder only has half-precision weights."""
    return kind.from_pretrained(folder, **with_variant(folder, {}))


@contextmanager
def frozen(*networks):
    """No gradients for the parameters of these networks within the block; gradients still flow to their inputs."""
    for network in networks:
        network.requires_grad_(False)
    try:
        yield
    finally:
        for network in networks:
            network.requires_grad_(True)
