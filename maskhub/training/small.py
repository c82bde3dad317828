"""The loop for small photos that fit into memory: one process, seconds to minutes, stopped and resumed at any step.

Where :mod:`maskhub.training.loop` is made for streams and many processes, the re-imaging paper's networks learn from
some hundred faces of 32 pixels. Every step draws its random numbers from the seed and its own number, so that a resumed
run needs no more than weights and moments, and ends with the very bits of one that never stopped (on a CPU).

Another process can follow a run by two files of its folder: ``metrics.jsonl``, a line each ``log_every`` steps, and
``status.json``, with ``state`` (running, finished, stopped, failed), ``step``, ``max_steps``, ``pid`` and ``error``.
SIGINT and SIGTERM stop it after the step at hand, with a checkpoint.
"""

import dataclasses
import json
import math
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator

import maskhub
from maskhub.errors import CheckpointError, ConfigError, DivergenceError, MaskHubError, first_line
from maskhub.training import state
from maskhub.training.launch import parse
from maskhub.training.report import RunReport
from maskhub.training.schedule import learning_rate_factor

__all__ = ["SmallConfig", "SmallTrainer", "launch_small", "read_status"]

_FREE_ON_RESUME = frozenset(
    ["output", "recipe", "resume", "checkpoint_every", "keep_checkpoints", "sample_every", "log_every", "dry_run"]
) | {"push_to_hub"}
_STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}


@dataclass
class SmallConfig:
    """Options that the generators and the classifier share."""

    output: str = ""
    """Folder for pipeline/, checkpoints/, metrics.jsonl, status.json, curves.png and what else a run leaves."""
    recipe: str | None = None
    """YAML file with values for any of these options; the command line goes over it."""
    init_from: str | None = None
    """Checkpoint, pipeline or network folder whose weights a new run begins with (transfer); all else starts afresh."""
    resolution: int = 32
    """Side of the photos in pixels."""
    holdout: bool = False
    """Never train on the tenth of photos whose file name's SHA-1 is divisible by 10."""
    batch_size: int = 32
    """Photos a step."""
    max_steps: int = 10_000
    """Steps of the whole run."""
    learning_rate: float = 2e-4
    """Adam's step size at the start."""
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """linear: constant for the first half, then in a line to 0, which takes the noise out of the last faces."""
    beta1: float = 0.5
    """Adam's decay of the first moment; the second is 0.999."""
    seed: int = 0
    """Fixes initial weights, order of photos and random numbers."""
    checkpoint_every: int = 1000
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    sample_every: int = 500
    """Steps between samples or tests; 0 has them at the end alone."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""
    resume: str | None = None
    """'latest' or a checkpoint folder: go on exactly where it stopped."""
    push_to_hub: str | None = None
    """Repository id to upload the finished model to."""
    dry_run: bool = False
    """Show the resolved options, networks and sources, then stop."""

    def check(self):
        """Raise :class:`ConfigError` for a value that no run can have."""
        if not self.output:
            raise ConfigError("--output is missing.")
        for name, low in {
            "batch_size": 2, "max_steps": 1, "checkpoint_every": 1, "keep_checkpoints": 1, "log_every": 1,
            "sample_every": 0, "seed": 0, "resolution": 16,
        }.items():  # fmt: skip
            if getattr(self, name) < low:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least {low}.")
        if not self.learning_rate > 0:
            raise ConfigError(f"--learning-rate is {self.learning_rate}; it must be above 0.")

    def resumable(self):
        """The options that a resumed run must share with the one it goes on from, as a dict."""
        free = _FREE_ON_RESUME | ({"max_steps"} if self.lr_schedule == "constant" else set())
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in free}


class SmallTrainer:
    """Trains a few networks on photos in memory; subclasses say what they are and what a step does.

    A subclass sets ``self.networks``, ``self.optimizers`` (dicts) and ``self.photos`` in :meth:`build`, returns the
    losses of a step from :meth:`train_step`, and writes what people look at in :meth:`look`, the result in
    :meth:`write`.

    Args:
        config: a checked :class:`SmallConfig`.

    Raises:
        SourceError, ConfigError, CheckpointError: before the first step.
    """

    name = ""

    def __init__(self, config):
        self.config, self.output = config, Path(config.output)
        self.accelerator = Accelerator()
        if self.accelerator.num_processes > 1:
            raise ConfigError("these networks are too small to share out: start one process, without a launcher.")
        self.device = self.accelerator.device
        self.step, self.photos = 0, None
        self.networks, self.optimizers, self.averages = {}, {}, {}
        self._stop = None
        torch.manual_seed(config.seed)
        self.build()
        if config.init_from:
            self._init_from(Path(config.init_from))

    def build(self):
        raise NotImplementedError

    def train_step(self):
        raise NotImplementedError

    def look(self, line):
        """Samples, tests and curves; ``line`` is the newest of ``metrics.jsonl``, which may be added to."""
        raise NotImplementedError

    def write(self):
        """Write the result; returns its folder."""
        raise NotImplementedError

    def describe(self):
        """Lines about the networks and sources of this run."""
        for name, network in self.networks.items():
            count = sum(parameter.numel() for parameter in network.parameters())
            yield f"{name}: {type(network).__name__}, {count:,} parameters"

    def adam(self, *networks):
        parameters = [p for network in networks for p in network.parameters()]
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(self.config.beta1, 0.999), fused=True)

    def random(self, what=0):
        """A new generator of random numbers on the CPU, fixed by the seed, the step and ``what``."""
        number = (self.config.seed * 1_000_003 + self.step) * 16 + what
        return torch.Generator().manual_seed(number % 2**63)

    def batch_places(self, size):
        """The photos of this step, drawn from ``size`` in passes, each in a new order."""
        first, places = self.step * self.config.batch_size, []
        while len(places) < self.config.batch_size:
            epoch, place = divmod(first + len(places), size)
            generator = torch.Generator().manual_seed(self.config.seed * 7919 + epoch)
            order = torch.randperm(size, generator=generator)
            places += order[place : place + self.config.batch_size - len(places)].tolist()
        return places

    # ---- the loop -------------------------------------------------------------------------------------------------

    def run(self):
        """Train to ``max_steps``, or until a signal; returns the folder of the result, or None where it was stopped."""
        config = self.config
        for network in self.networks.values():
            network.to(self.device).train()
        self._start_or_resume()
        self.output.mkdir(parents=True, exist_ok=True)
        for line in self.describe():
            print(line, flush=True)
        report = RunReport(self.output, self.step, config.max_steps)
        saved, line = self.step if self.step else None, {}
        self._status("running")
        try:
            with self._signals():
                while self.step < config.max_steps and self._stop is None:
                    rate = config.learning_rate * learning_rate_factor(config.lr_schedule, self.step, config.max_steps)
                    for group in (g for optimizer in self.optimizers.values() for g in optimizer.param_groups):
                        group["lr"] = rate
                    torch.manual_seed((config.seed * 1_000_003 + self.step) * 16 + 15)  # dropout's
                    terms = self.train_step()
                    self.step += 1
                    report.add(terms, config.batch_size)
                    if self.step % config.log_every == 0 or self.step == config.max_steps:
                        line = report.log(self.step, rate)
                        self._check_finite(line)
                        self._status("running")
                    if config.sample_every and self.step % config.sample_every == 0 and self.step < config.max_steps:
                        self.look(line)
                    if self.step % config.checkpoint_every == 0:
                        saved = self._save()
                if saved != self.step:
                    self._save()
        except BaseException as error:
            self._status("failed", error=f"{type(error).__name__}: {first_line(error)}")
            raise
        finally:
            report.close()
        if self._stop is not None and self.step < config.max_steps:
            self._status("stopped")
            return None
        self.look(line)
        result = self.write()
        self._status("finished")
        return result

    @contextmanager
    def _signals(self):
        """Turn SIGINT and SIGTERM into a wish to stop, which is granted after the step at hand."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number, frame):
            self._stop = number

        before = {number: signal.signal(number, stop) for number in _STOPPED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def exit_code(self):
        """0, or what a shell expects of a process that a signal ended."""
        return _STOPPED.get(self._stop, 0) if self.step < self.config.max_steps else 0

    def _check_finite(self, line):
        broken = [name for name, value in line.items() if isinstance(value, float) and not math.isfinite(value)]
        if broken:
            raise DivergenceError(
                f"the run diverged: {', '.join(broken)} is no number at step {self.step}. The last checkpoint is from "
                "before it; try a lower --learning-rate."
            )

    def _status(self, word, **more):
        record = {"state": word, "method": self.name, "step": self.step, "max_steps": self.config.max_steps}
        write_aside(self.output / "status.json", json.dumps(record | {"pid": os.getpid()} | more) + "\n")

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def _init_from(self, path):
        """Begin with the weights of a checkpoint (every network's), or of the folder that :meth:`transfer` reads."""
        weights = state.load_checkpoint(path, 0)[1]["networks"] if (path / "state.json").is_file() else None
        weights = self.transfer(path) if weights is None else weights
        try:
            for name in self.networks.keys() & weights.keys():
                self.networks[name].load_state_dict(weights[name])
        except RuntimeError as error:
            raise CheckpointError(f"--init-from {path} has other networks: {first_line(error)}.") from error

    def transfer(self, path):
        """Weights by network of a finished model's folder."""
        raise CheckpointError(f"--init-from {path} is no checkpoint.")

    def _start_or_resume(self):
        path = state.resume_path(self.output, self.config.resume)
        if path is None:
            return
        record, shared, _ = state.load_checkpoint(path, 0)
        if record["method"] != self.name:
            raise CheckpointError(f"{path} is a run of {record['method']}, not of {self.name}.")
        if record["photos"] != self.photos.fingerprint():
            raise CheckpointError(f"{path} was trained on other photos than {self.photos.spec} now holds: start anew.")
        state.check_same_options(path, self.config.resumable(), record["config"])
        try:
            for name, network in self.networks.items():
                network.load_state_dict(shared["networks"][name])
            for name, optimizer in self.optimizers.items():
                state.load_moments(optimizer, shared["optimizers"].get(name, {}), record["optimizers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint {path} does not fit this run: {error}") from error
        self.averages = {
            name: {key: value.to(self.device) for key, value in tensors.items()}
            for name, tensors in shared.get("averages", {}).items()
        }
        self.step = record["step"]
        print(f"going on from {path}, {self.step:,} steps done", flush=True)

    def _save(self):
        shared = {"networks": {name: network.state_dict() for name, network in self.networks.items()}}
        shared |= {"optimizers": {name: state.moments(optimizer) for name, optimizer in self.optimizers.items()}}
        if self.averages:
            shared["averages"] = self.averages
        record = {
            "method": self.name,
            "config": self.config.resumable(),
            "photos": self.photos.fingerprint(),
            "optimizers": {name: optimizer.state_dict()["param_groups"] for name, optimizer in self.optimizers.items()},
            "versions": {"maskhub": maskhub.__version__, "torch": torch.__version__},
        }
        own = {"step": torch.tensor(self.step)}
        folder = self.output / "checkpoints"
        state.write_checkpoint(folder, self.step, shared, own, record, self.accelerator)
        state.prune_checkpoints(folder, self.config.keep_checkpoints)
        return self.step


def write_aside(path, content):
    """Write a file, of text or bytes, so that a reader sees the old one or the new one, never half of it."""
    aside = path.with_name(f".{path.name}.partial")
    aside.write_bytes(content.encode() if isinstance(content, str) else content)
    aside.replace(path)


def read_status(folder):
    """``status.json`` of a run's folder as a dict; None before its first step."""
    try:
        return json.loads((Path(folder) / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def launch_small(trainer_class, config_class, description, args=None):
    """Run one training script; exits with 2 and one line where the user can mend what is wrong."""
    try:
        config = parse(config_class, description, args)
        trainer = trainer_class(config)
        if config.dry_run:
            for name, value in dataclasses.asdict(config).items():
                print(f"{name}: {value}")
            print(*trainer.describe(), sep="\n")
            return
        result = trainer.run()
        if result is None:
            print(f"stopped at step {trainer.step:,}; go on with --resume latest", file=sys.stderr, flush=True)
            sys.exit(trainer.exit_code)
        print(f"wrote {result}")
        if config.push_to_hub:
            from maskhub.hub import push_folder

            print(f"pushed to {push_folder(result, config.push_to_hub)}")
    except MaskHubError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
