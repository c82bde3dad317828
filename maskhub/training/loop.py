"""The training loop that every method shares.

One step is ``gradient_accumulation`` micro-batches; in each, the generators learn with the discriminators frozen, then
the discriminators learn from the fakes just made. Where one side is to be updated more often than the other, it goes on
alone with more batches. Everything that decides the next step (weights, moving averages, moments, pools, random
numbers, place in the data and in the stages) is in the checkpoint or follows from the step, so that a run killed at any
moment and resumed ends with the very weights of one that never stopped (bit for bit on a CPU).
"""

import math
import time
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel

from maskhub.data.sources import open_source
from maskhub.data.unpaired import endless_batches
from maskhub.errors import CheckpointError, DivergenceError
from maskhub.training import state
from maskhub.training.muon import Muon
from maskhub.training.report import RunReport, sample_sheet, timeline_sheet, write_curves
from maskhub.training.resume import capture, init_from, restore, untouched_random_state
from maskhub.training.schedule import learning_rate_factor

__all__ = ["TrainingLoop"]

OPTIMIZERS = {"adam": torch.optim.Adam, "muon": Muon}
SAMPLES = 6
"""Photos of each domain on a sample sheet."""
TOO_LARGE = 1e6
"""A loss above this has diverged, though it is still a number."""


class TrainingLoop:
    """Trains a method on its sources of photos.

    Args:
        method_class: a :class:`~maskhub.training.method.Method`.
        config: the method's options, checked.

    Raises:
        SourceError, ConfigError, CheckpointError: before the first step.
    """

    def __init__(self, method_class, config):
        self.config = config
        self.output = Path(config.output)
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation,
            # BatchNorm's statistics change with each of the several forward passes of one step: synchronising them
            # would alter tensors that the backward pass still needs
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        if self.accelerator.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        rank = self.accelerator.process_index
        self.sources = {name: open_source(getattr(config, name), config.holdout) for name in config.needs()}
        set_seed(config.seed)  # every process draws the same initial weights
        self.method = method_class(config, seed=config.seed * 1000 + rank)
        set_seed(config.seed * 1000 + rank + 1)
        self.bare = {**self.method.generators, **self.method.discriminators}
        if config.init_from:
            init_from(self, config.init_from)
        self.step = 0
        self.seconds = 0.0

    # ---- before the first step ------------------------------------------------------------------------------------

    def describe(self):
        """Lines about the networks and sources of this run, for ``--dry-run`` and the log."""
        for name, network in self.bare.items():
            count = sum(parameter.numel() for parameter in network.parameters())
            yield f"{name}: {type(network).__name__}, {count:,} parameters"
        for name, source in self.sources.items():
            size = source.describe()
            yield f"{name}: {source.spec}, {size}{', held-out tenth left out' if self.config.holdout else ''}"
        c = self.config
        stages = c.timeline()
        if len(stages) > 1:
            for number, stage in enumerate(stages, 1):
                yield f"stage {number}: " + ", ".join(f"{name} {value}" for name, value in stage.items())
        total = c.batch_size * c.gradient_accumulation * self.accelerator.num_processes
        yield (
            f"{c.max_steps:,} steps of {total} samples at {c.resolution} pixels, {c.mixed_precision} precision, "
            f"{self.accelerator.num_processes} process(es) on {self.accelerator.device.type}"
        )

    def _prepare(self):
        def optimizer(kind, networks):
            parameters = [p for network in networks.values() for p in network.parameters()]
            return kind(parameters, lr=self.config.learning_rate, betas=(self.config.beta1, 0.999))

        for network in self.bare.values():
            network.to(self.accelerator.device, memory_format=self._memory_format())
            if self.config.compile:
                network.compile()
        optimizers = {
            "generators": optimizer(OPTIMIZERS[self.config.optimizer], self.method.generators),
            "discriminators": optimizer(torch.optim.Adam, self.method.discriminators),
        }
        self.ema = {}
        if self.config.ema_decay:
            self.ema = {
                name: EMAModel(network.parameters(), decay=self.config.ema_decay)
                for name, network in self.method.generators.items()
            }
        self.nets = {name: self.accelerator.prepare(network) for name, network in self.bare.items()}
        self.optimizers = {name: self.accelerator.prepare(optimizer) for name, optimizer in optimizers.items()}
        # judged by the unwrapped discriminators, the generators' step leaves DDP's book-keeping of them alone
        self.frozen_nets = {
            name: self.accelerator.unwrap_model(net, keep_torch_compile=True)
            if name in self.method.discriminators
            else net
            for name, net in self.nets.items()
        }

    def _memory_format(self):
        return torch.channels_last if self.config.channels_last else torch.contiguous_format

    # ---- the loop -------------------------------------------------------------------------------------------------

    def run(self):
        """Train to ``max_steps``; returns the folder of the finished pipeline."""
        config, accelerator = self.config, self.accelerator
        self._prepare()
        restore(self)
        self.output.mkdir(parents=True, exist_ok=True)
        for line in self.describe():
            accelerator.print(line)
        batches = self._batches()
        report = RunReport(self.output, self.step, config.max_steps, accelerator.is_main_process, config.tensorboard)
        last_saved, since = self.step, time.perf_counter()
        try:
            while self.step < config.max_steps:
                report.add(*self._train_step(batches))
                self.step += 1
                self.seconds += time.perf_counter() - since
                since = time.perf_counter()
                if self.step % config.log_every == 0:
                    self._check_finite(report.log(self.step, self._learning_rate(self.step - 1)))
                if config.sample_every and self.step % config.sample_every == 0:
                    self._write_samples()
                if self.step % config.checkpoint_every == 0:
                    self._save()
                    last_saved = self.step
        finally:
            report.close()
        if last_saved != self.step or not (self.output / "pipeline").is_dir():
            self._save()
        return self.output / "pipeline"

    def _batches(self):
        c = self.config
        dataset = self.method.dataset(
            self.sources,
            c.seed,
            start=c.batches_before(self.step) * c.batch_size,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            batch_size=c.batch_size,
        )
        return endless_batches(dataset, c.workers, pin_memory=self.accelerator.device.type == "cuda")

    def _learning_rate(self, step):
        options, done, length = self.config.stage(step)
        return options.learning_rate * learning_rate_factor(options.lr_schedule, done, length)

    def _train_step(self, batches):
        """One step; returns the means of its losses by name, and the samples that were taken for it."""
        accelerator, c = self.accelerator, self.config.stage(self.step)[0]
        self.method.config = c
        rate = self._learning_rate(self.step)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
        seen, rounds = {}, max(c.generator_updates, c.discriminator_updates)
        for turn in range(rounds):
            for _ in range(c.gradient_accumulation):
                batch = {
                    name: x.to(accelerator.device, non_blocking=True, memory_format=self._memory_format())
                    for name, x in next(batches).items()
                }
                with accelerator.accumulate(*self.nets.values()):
                    fakes = None
                    if turn < c.generator_updates:
                        fakes = self._generators_turn(batch, seen)
                    if turn < c.discriminator_updates:
                        self._discriminators_turn(batch, fakes, seen)
        for name, ema in self.ema.items():
            ema.step(self.bare[name].parameters())
        samples = rounds * c.gradient_accumulation * c.batch_size * accelerator.num_processes
        return {name: torch.stack(values).mean() for name, values in seen.items()}, samples

    def _generators_turn(self, batch, seen):
        self._freeze_discriminators(True)
        loss, terms, fakes = self.method.generator_loss(self.frozen_nets, batch)
        self._descend("generators", loss)
        self._freeze_discriminators(False)
        _note(seen, terms)
        return fakes

    def _discriminators_turn(self, batch, fakes, seen):
        if fakes is None:
            fakes = self.method.fakes(self.frozen_nets, batch)
        loss, terms = self.method.discriminator_loss(self.nets, batch, fakes)
        self._descend("discriminators", loss)
        _note(seen, terms)

    def _freeze_discriminators(self, frozen):
        for network in self.method.discriminators.values():
            network.requires_grad_(not frozen)

    def _descend(self, side, loss):
        self.accelerator.backward(loss)
        self.optimizers[side].step()
        self.optimizers[side].zero_grad()

    # ---- what it leaves -------------------------------------------------------------------------------------------

    def _check_finite(self, line):
        broken = [name for name, value in line.items() if not math.isfinite(value) or abs(value) > TOO_LARGE]
        if broken:
            raise self._diverged(f"{', '.join(broken)} is {line[broken[0]]}")

    def _diverged(self, what):
        return DivergenceError(
            f"the run diverged: {what} at step {self.step}. The last checkpoint is from before it; try a lower "
            "--learning-rate, or --mixed-precision bf16 in place of fp16."
        )

    def _check_weights(self):
        """A checkpoint must be a good one: finite, and the same in all processes."""
        # Apple's mps has no float64, and never more than one process whose weights could differ by a rounding
        exact = torch.float32 if self.accelerator.device.type == "mps" else torch.float64
        mine = torch.stack([p.detach().sum(dtype=exact) for net in self.bare.values() for p in net.parameters()])
        if not mine.isfinite().all():
            raise self._diverged("a weight is no number")
        if not (self.accelerator.gather(mine.unsqueeze(0)) == mine).all():
            raise CheckpointError(
                f"at step {self.step} the processes have different weights: nothing was saved. "
                "Go on from the last checkpoint with --resume latest; if it happens again, please report it."
            )

    def _save(self):
        accelerator, folder = self.accelerator, self.output / "checkpoints"
        self._check_weights()
        state.write_checkpoint(folder, self.step, *capture(self), accelerator)
        if accelerator.is_main_process:
            state.prune_checkpoints(folder, self.config.keep_checkpoints)
            self._write_pipeline()
            write_curves(self.output, self._stage_starts())
        accelerator.wait_for_everyone()

    def _stage_starts(self):
        starts, first = [], 0
        for stage in self.config.timeline()[:-1]:
            first += stage["steps"]
            starts.append(first)
        return starts

    def inference_generators(self):
        """Copies of the generators in float32 and eval mode, with the moving averages as weights if there are any."""
        copies = {}
        for name, network in self.method.generators.items():
            copy = type(network).from_config(network.config).to(self.accelerator.device)
            copy.load_state_dict(network.state_dict())
            if name in self.ema:
                self.ema[name].copy_to(copy.parameters())
            copies[name] = copy.eval().requires_grad_(False)
        return copies

    def _write_pipeline(self):
        from maskhub.hub import save_pipeline, training_card

        card = training_card(self)
        with untouched_random_state():
            save_pipeline(self.method.pipeline(self.inference_generators()), self.output / "pipeline", card)

    def _write_samples(self):
        if not self.accelerator.is_main_process:
            return
        if not hasattr(self, "_sample_photos"):
            photos = self.method.dataset(self.sources, seed=0, load_scale=1.0)
            first = [sample for sample, _ in zip(photos, range(SAMPLES), strict=False)]
            self._sample_photos = {
                name: torch.stack([sample[name] for sample in first]).to(self.accelerator.device) for name in first[0]
            }
        with torch.inference_mode(), untouched_random_state():
            torch.manual_seed(0)  # of networks that draw noise
            groups = self.method.sample_rows(self.inference_generators(), self._sample_photos)
        folder = self.output / "samples"
        folder.mkdir(exist_ok=True)
        sample_sheet(groups).save(folder / f"step-{self.step:08d}.png")
        timeline_sheet(folder, [len(group) for group in groups], self.config.resolution)

    def close(self):
        """Leave the process group, whether the run ended well or not."""
        self.accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)  # so that another run in this process starts afresh
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _note(seen, terms):
    for name, value in terms.items():
        seen.setdefault(name, []).append(value.detach())
