"""The training loop of all methods.

A step makes the updates of :meth:`Task.step <maskhub.training.task.Task.step>` on ``gradient_accumulation``
micro-batches. All state that a step depends on (weights, moving averages, optimizer moments, pools, random state, place
in the data and in the stages) is in the checkpoint or follows from the step number. A run that is killed and resumed
ends with the same weights as one that never stopped, bit for bit on a CPU.

    trainer = Trainer(CycleGAN, CycleGANOptions(unmasked="a", masked="b", output="run", max_steps=1000))
    trainer.run()

Another process can follow a run through the files in its folder: see :mod:`maskhub.training.status`. After SIGINT or
SIGTERM it finishes the current step, writes a checkpoint and stops.
"""

import json
import math
import os
import time
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel

from maskhub.errors import CheckpointError, ConfigError, DivergenceError, WriteError, first_line
from maskhub.files import settle_folder, sweep, write_file
from maskhub.hold import hold
from maskhub.training import checkpoint
from maskhub.training.graphed import GraphedStep
from maskhub.training.options import SEEDS
from maskhub.training.report import NOT_LOSSES, RunReport
from maskhub.training.results import Results
from maskhub.training.resume import capture, faster_precision, init_from, restore
from maskhub.training.schedule import Timeline
from maskhub.training.signals import StopSignal
from maskhub.training.trackers import Trackers, tracker_arguments

__all__ = ["Trainer"]

TOO_LARGE = 1e6
"""A loss above this counts as diverged."""
STATUS_EVERY = 1.0
"""Minimum seconds between two writes of status.json during training."""


class Trainer:
    """Trains a task: ``task_class`` with an instance of its ``Options``; SourceError, ConfigError or CheckpointError if
    the run can't start. Its attributes ``task`` and ``options`` are the task's instance and the resolved options,
    ``step`` is the number of completed steps."""

    def __init__(self, task_class, options):
        options.check()
        if options.mixed_precision == "auto":  # checkpoints store the resolved value
            options = options.replaced(mixed_precision=faster_precision())
        self.output = Path(options.output)
        self.accelerator = Accelerator(
            mixed_precision=options.mixed_precision,
            # one step has several forward passes, each of which changes BatchNorm's statistics: synchronising them
            # would modify tensors that the backward pass still needs
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
            **tracker_arguments(options),
        )
        self._check_device(task_class, options)
        if self.accelerator.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        try:
            self._set_up(task_class, options)
        except BaseException:
            if self.accelerator.num_processes == 1:  # several processes are ended by their launcher
                self.close()
            raise

    def _check_device(self, task_class, options):
        alone = self.accelerator.num_processes == 1
        if options.cuda_graph and not task_class.recordable:
            raise ConfigError(f"--cuda-graph can't be used with {task_class.name}: its steps can't be recorded.")
        if options.cuda_graph and (self.accelerator.device.type != "cuda" or not alone):
            raise ConfigError("--cuda-graph needs a single process on an NVIDIA GPU.")

    def _set_up(self, task_class, options):
        rank = self.accelerator.process_index
        set_seed(options.seed)  # the same initial weights in all processes
        self.task = task_class(options, rank)
        self.results = Results(self)
        self.task.average = self.results.averaged
        samples = options.batch_size * self.accelerator.num_processes
        self.options = options.in_steps(self.task.photos, samples)
        self.timeline = Timeline(self.options)
        for stage in self.timeline.options:  # a missing source is an error before the first step
            self.task.sources_of(stage)
        set_seed((options.seed * 1000 + rank + 1) % SEEDS)
        self.step, self.seconds, self.ema, self.stop = 0, 0.0, {}, StopSignal(self.accelerator)
        self._graphed, self._graphed_stage, self._status_at = None, None, -STATUS_EVERY
        init_from(self)

    @property
    def exit_code(self):
        """0, or the conventional exit code of a process that was ended by a signal."""
        return 0 if self.over else self.stop.exit_code

    @property
    def over(self):
        """Whether all steps are done, or ``max_minutes`` are over."""
        return self.step >= self.options.max_steps or self._time_share() >= 1

    def _time_share(self):
        return self.seconds / (60 * self.options.max_minutes) if self.options.max_minutes else 0.0

    def describe(self, named=str):
        """Lines about the networks, data and length of the run, for ``--dry-run``, the log and the model card, where
        ``named`` gives the name of a source by its spec."""
        c = self.options
        for name, network in self.task.networks.items():
            count = sum(parameter.numel() for parameter in network.parameters())
            yield f"{name}: {type(network).__name__}, {count:,} parameters"
        yield from self.task.describe(named)
        stages = c.timeline()
        if len(stages) > 1:
            for number, stage in enumerate(stages, 1):
                shown = {name: named(value) if name in c.needs() else value for name, value in stage.items()}
                yield f"stage {number}: " + ", ".join(f"{name} {value}" for name, value in shown.items())
        total = c.batch_size * c.gradient_accumulation * self.accelerator.num_processes
        precision = "float32" if c.mixed_precision == "no" else c.mixed_precision
        yield (
            f"{c.max_steps:,} steps of {total} samples at {c.resolution} pixels in {precision}, "
            f"{self.accelerator.num_processes} process(es) on {self.accelerator.device.type}"
        )

    # ---- the loop -------------------------------------------------------------------------------------------------

    def run(self):
        """Train to ``max_steps`` or until a signal. Returns the folder of the result, or None if it was stopped."""
        main = self.accelerator.is_main_process
        self.prepare()
        restore(self)
        with hold(self.output, "a training run") if main else nullcontext():
            if main:
                sweep(self.output)
                settle_folder(self.results.folder)
                self.results.check_free()
            for line in self.describe():
                self.accelerator.print(line, flush=True)
            self._status("running")
            try:
                with self.stop.caught():
                    self._train()
            except BaseException as error:
                self._status("failed", error=f"{type(error).__name__}: {first_line(error)}")
                raise
            self._status("finished" if self.over else "stopped")
            return self.results.folder if self.over else None

    def prepare(self):
        """Move the networks to the device and create optimizers and moving averages."""
        c, task, accelerator = self.options, self.task, self.accelerator
        for network in task.networks.values():
            network.to(accelerator.device, memory_format=self.task.memory_format).train()
            if c.compile:
                network.compile()
        optimizers, cuda = task.optimizers(), accelerator.device.type == "cuda"
        if c.ema_decay:
            self.ema = {
                name: EMAModel(task.networks[name].parameters(), decay=c.ema_decay, foreach=cuda)
                for name in task.averaged
            }
        task.nets.update({name: accelerator.prepare(network) for name, network in task.networks.items()})
        self.optimizers = {name: accelerator.prepare(optimizer) for name, optimizer in optimizers.items()}

    def _train(self):
        c, main = self.options, self.accelerator.is_main_process
        if main:
            self.report = RunReport(self.output, self.step, c.max_steps, Trackers(self.accelerator, c, self.step))
        batches, reads, saved, since = None, None, self.step, time.perf_counter()
        try:
            while not self._ended():
                self.task.options = self.timeline.at(self.step).options
                sources = self.task.sources
                if sources != reads:  # a stage may read others
                    batches, reads = self.batches(), sources
                terms, images = self.train_step(batches)
                if main:
                    self.report.add(terms, images)
                self.step += 1
                now = time.perf_counter()
                self.seconds, since = self.seconds + now - since, now
                last = main and self.over
                if main and (self.step % c.log_every == 0 or last):
                    rate = self.timeline.at(self.step - 1).learning_rate(self.step - 1, self._time_share())
                    self._check_finite(self.report.log(self.step, rate))
                    self._status("running")
                due = self.step in c.sheets or (c.sample_every and (self.step % c.sample_every == 0 or last))
                keeps = self.step % c.checkpoint_every == 0
                # not at every step: the GPU is waited for here
                with self.report.aside() if main and (due or keeps) else nullcontext():
                    if due and main:
                        self.results.sample()
                    if keeps:
                        self._save()
                        saved = self.step
            if saved != self.step:
                self._save()
            if main and self.results.step != self.step:
                self.results.write()
        finally:
            if main:
                self.report.close()

    def _ended(self):
        """Whether no further step follows: all steps are done, the main process's time is up, or a signal came. All
        processes end after the same step."""
        self.seconds = self.stop.shared(self.seconds)
        return self.over or self.stop.received is not None

    def batches(self):
        """The batches of this process on its device, from the current step to the end of the run."""
        c, accelerator = self.options, self.accelerator
        dataset = self.task.dataset(
            c.seed,
            start=self.timeline.batches_before(self.step) * c.batch_size,
            stop=self.timeline.batches_before(c.max_steps) * c.batch_size,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
            batch_size=c.batch_size,
        )
        return map(self.on_device, self.task.batches(dataset, c.workers, accelerator.device.type == "cuda"))

    def train_step(self, batches):
        """One step. Returns the means of its terms by name, and its number of samples."""
        accelerator, stage = self.accelerator, self.timeline.at(self.step)
        c = self.task.options = stage.options
        self.task.progress = self.step / self.options.max_steps
        self._set_rate(stage.learning_rate(self.step, self._time_share()))
        given = [[next(batches) for _ in range(c.gradient_accumulation)] for _ in range(c.rounds)]
        if c.cuda_graph and self._graphed_stage is not stage:
            self._graphed, self._graphed_stage = GraphedStep(self._updates), stage
        terms = self._graphed(given) if c.cuda_graph else self._updates(given)
        for name, ema in self.ema.items():
            ema.step(self.task.networks[name].parameters())
        return terms, c.rounds * c.gradient_accumulation * c.batch_size * accelerator.num_processes

    def _set_rate(self, rate):
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                if not self.options.cuda_graph:
                    group["lr"] = rate
                elif torch.is_tensor(group["lr"]):
                    group["lr"].fill_(rate)
                else:  # a number would be recorded with the step
                    group["lr"] = torch.tensor(rate, device=self.accelerator.device)

    def _updates(self, given):
        """All updates of a step on its micro-batches, a list for each turn. Returns the means of their terms."""
        terms = {}
        for turn, batches in enumerate(given):
            micro = [self.task.step(batch, turn) for batch in batches]
            while self._update(micro, terms):
                pass
        return {name: torch.stack(values).mean() for name, values in terms.items()}

    def on_device(self, batch):
        """A batch on this process's device, as the task's ``step`` takes it."""

        def move(x):
            layout = {"memory_format": self.task.memory_format} if x.ndim == 4 and x.is_floating_point() else {}
            return x.to(self.accelerator.device, non_blocking=True, **layout)

        return self.task.prepared({name: move(x) for name, x in batch.items()})

    def _update(self, micro, terms):
        """Make the next optimizer step, on the mean loss of all micro-batches; False if there are no more."""
        for number, updates in enumerate(micro, 1):
            with self._without_sync() if number < len(micro) else nullcontext():
                update = next(updates, None)
                if update is None:
                    return False
                self.accelerator.backward(update.loss / len(micro))
            for name, value in update.terms.items():
                terms.setdefault(name, []).append(value.detach())
        optimizer = self.optimizers[update.optimizer]
        if update.clip:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            self.accelerator.clip_grad_norm_(parameters, update.clip)
        optimizer.step()
        optimizer.zero_grad()
        return True

    @contextmanager
    def _without_sync(self):
        """Don't synchronise gradients between processes: the last micro-batch synchronises the accumulated ones."""
        with ExitStack() as stack:
            for network in self.task.nets.values():
                stack.enter_context(self.accelerator.no_sync(network))
            yield

    # ---- how it ends ----------------------------------------------------------------------------------------------

    def _check_finite(self, line):
        losses = {name: value for name, value in line.items() if name not in NOT_LOSSES}
        broken = [name for name, value in losses.items() if not math.isfinite(value) or abs(value) > TOO_LARGE]
        if broken:
            raise self._diverged(f"{', '.join(broken)} is {losses[broken[0]]}")

    def _diverged(self, what):
        return DivergenceError(
            f"the run diverged: {what} at step {self.step}. The last checkpoint is from before that; try a lower "
            "--learning-rate, or --mixed-precision bf16 instead of fp16."
        )

    def _check_weights(self):
        """Raise unless all weights are finite and equal in all processes."""
        # Apple's mps has no float64, but it never has several processes to compare
        exact = torch.float32 if self.accelerator.device.type == "mps" else torch.float64
        networks = self.task.networks.values()
        mine = torch.stack([p.detach().sum(dtype=exact) for network in networks for p in network.parameters()])
        if not mine.isfinite().all():
            raise self._diverged("a weight is not a finite number")
        if not (self.accelerator.gather(mine.unsqueeze(0)) == mine).all():
            raise CheckpointError(
                f"at step {self.step} the processes have different weights: nothing was saved. "
                "Continue from the last checkpoint with --resume latest; if it happens again, please report it."
            )

    def _status(self, state, **more):
        now = time.monotonic()
        if not self.accelerator.is_main_process:
            return
        if state == "running" and now < self._status_at + STATUS_EVERY:
            return
        self._status_at = now
        record = {"state": state, "method": self.task.name, "step": self.step, "max_steps": self.options.max_steps}
        try:
            write_file(self.output / "status.json", json.dumps(record | {"pid": os.getpid()} | more) + "\n")
        except WriteError:
            if state != "failed":  # a full disk may be the reason of the failure
                raise

    def _save(self):
        self._check_weights()
        checkpoint.write_checkpoint(self.output / "checkpoints", *capture(self), self.accelerator)
        if self.accelerator.is_main_process:
            checkpoint.prune_checkpoints(self.output / "checkpoints", self.options.keep_checkpoints)
            if self.results.due:
                self.results.write()
        self.accelerator.wait_for_everyone()

    def close(self):
        """Leave the process group, whether the run ended well or not."""
        self.accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)  # for another run in the same process
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
