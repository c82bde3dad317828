"""What a run leaves behind: sample sheets, curves, and the finished model."""

import time

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from maskhub.errors import ConfigError
from maskhub.files import write_file, written_folder
from maskhub.image_file import encoded
from maskhub.json_file import read_json, write_json
from maskhub.training.card import training_card
from maskhub.training.report import sample_sheet, timeline_sheet, write_curves
from maskhub.training.status import RECORD

__all__ = ["Results"]

SAMPLES = 6
"""Photos of each domain on a sample sheet."""
MEASURED, AT_ONCE = 64, 8
"""Samples from which the batch norms of averaged weights get their statistics, and batch size."""
RESULT_EVERY = 60.0
"""Minimum seconds between two writes of the result and the curves at checkpoints; the last one always writes them."""


class Results:
    """Writes the results of a :class:`~maskhub.training.trainer.Trainer`; only its main process may call
    :meth:`sample` and :meth:`write`."""

    def __init__(self, trainer):
        self.trainer, self.folder = trainer, trainer.output / trainer.task.result
        self._copies, self._fixed_batch, self._measured, self._written_at = {}, None, None, -RESULT_EVERY

    def check_free(self):
        """ConfigError if a new run would replace a folder that is not a run's result."""
        if not self.trainer.step and self.folder.exists() and self.step is None:
            raise ConfigError(
                f"{self.folder} is not the result of a run, but would be replaced: choose another --output."
            )

    def averaged(self, name):
        """The network ``name`` in float32 and eval mode, with its moving average as weights if it has one."""
        network, ema = self.trainer.task.networks[name], self.trainer.ema
        if name not in self._copies or self._copies[name].config != network.config:
            with _same_random_numbers():  # a new network draws random weights
                self._copies[name] = type(network).from_config(network.config).to(self.trainer.accelerator.device)
        copy = self._copies[name]
        copy.load_state_dict(network.state_dict())
        if name in ema:
            ema[name].copy_to(copy.parameters())
        return copy.eval().requires_grad_(False)

    def networks(self):
        """The networks of the result. Batch norms of averaged weights get statistics of their own: the running ones
        are of weights that the network no longer has (Izmailov and others: "Averaging Weights Leads to Wider Optima
        and Better Generalization", UAI 2018)."""
        task = self.trainer.task
        networks = {name: self.averaged(name) for name in task.averaged}
        for name, network in networks.items() if task.input_of else ():
            norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
            if name in self.trainer.ema and norms:
                self._measure(network, norms, name)
        return networks

    def _measure(self, network, norms, name):
        task = self.trainer.task
        if self._measured is None:
            self._measured = task.fixed_batch(MEASURED)
        with torch.inference_mode(), _same_random_numbers():
            torch.manual_seed(0)
            given = task.input_of(name, self.trainer.on_device(self._measured))
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the mean over all batches
                norm.train()
            for part in given.split(AT_ONCE):
                if len(part) > 1:
                    network(part)
            network.eval()

    def sample(self):
        """Write a sample sheet and the figures on test photos."""
        trainer, task = self.trainer, self.trainer.task
        networks = self.networks()
        with torch.inference_mode(), _same_random_numbers():
            if self._fixed_batch is None:
                self._fixed_batch = trainer.on_device(task.fixed_batch(SAMPLES))
            torch.manual_seed(0)  # for networks that draw noise
            groups, figures = task.samples(networks, self._fixed_batch), task.test(networks)
        if figures:
            trainer.report.test(trainer.step, figures)
        if groups:
            folder = trainer.output / "samples"
            sheet = folder / f"step-{trainer.step:08d}.png"
            write_file(sheet, encoded(sample_sheet(groups)))
            trainer.report.picture("samples", sheet, trainer.step)
            timeline_sheet(folder, [len(group) for group in groups], groups[0][0].shape[3])

    @property
    def due(self):
        """Whether a checkpoint should write the result too."""
        return time.monotonic() >= self._written_at + RESULT_EVERY

    @property
    def step(self):
        """The step of the result in the folder; None without one."""
        return (read_json(self.folder / RECORD) or {}).get("step")

    def write(self):
        """Write curves.png and the result's folder, which records the step and so comes last."""
        self._written_at = time.monotonic()
        trainer, task = self.trainer, self.trainer.task
        curves = write_curves(trainer.output, task.curves, [stage.first for stage in trainer.timeline.stages[1:]])
        if curves:
            trainer.report.picture("curves", curves, trainer.step)
        networks = self.networks()
        with _same_random_numbers(), written_folder(self.folder) as folder:
            task.write(networks, folder, training_card(trainer).render())
            write_json(folder / RECORD, {"method": task.name, "step": trainer.step})


def _same_random_numbers():
    """Restore the random state afterwards, so that writing results does not change the rest of the run."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_available() else [])
