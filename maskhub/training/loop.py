"""The training loop that every method shares.

One step is ``gradient_accumulation`` micro-batches; in each, the generators learn with the discriminators frozen, then
the discriminators learn from the fakes just made. Everything that decides the next step (weights, moving averages,
moments, pools, random numbers, place in the data) is in the checkpoint, so that a run killed at any moment and resumed
ends with the very weights of one that never stopped (bit for bit on a CPU).
"""

import math
import time
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel

import maskhub
from maskhub.data.sources import open_source
from maskhub.data.unpaired import UnpairedPhotos, unpaired_batches
from maskhub.errors import CheckpointError, DivergenceError, first_line
from maskhub.training import state
from maskhub.training.report import RunReport, sample_sheet
from maskhub.training.schedule import learning_rate_factor

__all__ = ["TrainingLoop"]

SAMPLES = 6
"""Photos of each domain on a sample sheet."""


class TrainingLoop:
    """Trains a method on two sources of photos.

    Args:
        method_class: such as :class:`~maskhub.training.cyclegan.CycleGAN`.
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
        rank = self.accelerator.process_index
        self.sources = {name: open_source(getattr(config, name), config.holdout) for name in ("unmasked", "masked")}
        set_seed(config.seed)  # every process draws the same initial weights
        self.method = method_class(config, seed=config.seed * 1000 + rank)
        set_seed(config.seed * 1000 + rank + 1)
        self.bare = {**self.method.generators, **self.method.discriminators}
        if config.init_from:
            self._init_from(Path(config.init_from))
        self.step = 0
        self.seconds = 0.0

    def _init_from(self, path):
        """Begin with the weights of a checkpoint (every network's) or of a pipeline folder (the generators')."""
        if (path / "state.json").is_file():
            weights = state.load_checkpoint(path, 0)[1]["networks"]
        elif (path / "model_index.json").is_file():
            weights = {
                name: type(network).from_pretrained(path / name).state_dict()
                for name, network in self.method.generators.items()
            }
        else:
            raise CheckpointError(f"--init-from {path} is neither a checkpoint nor a pipeline folder.")
        try:
            for name in self.bare.keys() & weights.keys():
                self.bare[name].load_state_dict(weights[name])
        except RuntimeError as error:
            raise CheckpointError(f"--init-from {path} has other networks: {first_line(error)}.") from error

    # ---- before the first step ------------------------------------------------------------------------------------

    def describe(self):
        """Lines about the networks and sources of this run, for ``--dry-run`` and the log."""
        for name, network in self.bare.items():
            count = sum(parameter.numel() for parameter in network.parameters())
            yield f"{name}: {type(network).__name__}, {count:,} parameters"
        for name, source in self.sources.items():
            size = f"{len(source):,} photos" if hasattr(source, "__len__") else "streamed"
            yield f"{name}: {source.spec}, {size}{', held-out tenth left out' if self.config.holdout else ''}"
        c = self.config
        total = c.batch_size * c.gradient_accumulation * self.accelerator.num_processes
        yield (
            f"{c.max_steps:,} steps of {total} pairs at {c.resolution} pixels, {c.mixed_precision} precision, "
            f"{self.accelerator.num_processes} process(es) on {self.accelerator.device.type}"
        )

    def _prepare(self):
        def adam(networks):
            parameters = [p for network in networks.values() for p in network.parameters()]
            return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(self.config.beta1, 0.999))

        for network in self.bare.values():
            network.to(self.accelerator.device)
        optimizers = {"generators": adam(self.method.generators), "discriminators": adam(self.method.discriminators)}
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
            name: self.accelerator.unwrap_model(net) if name in self.method.discriminators else net
            for name, net in self.nets.items()
        }

    def _start_or_resume(self):
        folder, resume = self.output / "checkpoints", self.config.resume
        path = state.latest_checkpoint(folder) if resume == "latest" else resume
        if path is None:
            if resume is None and state.latest_checkpoint(folder):
                raise CheckpointError(
                    f"{self.output} already holds a run: go on with --resume latest, or choose another --output."
                )
            return
        record, shared, own = state.load_checkpoint(path, self.accelerator.process_index)
        self._check_same_run(path, record, own)
        try:
            for name, network in self.bare.items():
                network.load_state_dict(shared["networks"][name])
            for name, ema in self.ema.items():
                _load_ema(ema, shared["ema"][name], record["ema"][name], self.accelerator.device)
            for name, optimizer in self.optimizers.items():
                _load_optimizer(optimizer, shared["optimizers"][name], record["optimizers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint {path} does not fit this run: {error}") from error
        for name, pool in self.method.pools.items():
            pool.load_state_dict({key: value.to(self.accelerator.device) for key, value in own["pools"][name].items()})
        _set_random_state(own["random"])
        if self.accelerator.scaler is not None and record["scaler"]:
            self.accelerator.scaler.load_state_dict(record["scaler"])
        self.step, self.seconds = record["step"], record["seconds"]
        self.accelerator.print(f"going on from {path}, {self.step:,} steps done")

    def _check_same_run(self, path, record, own):
        if record["method"] != self.method.name:
            raise CheckpointError(f"{path} is a run of {record['method']}, not of {self.method.name}.")
        if record["processes"] != self.accelerator.num_processes or own is None:
            raise CheckpointError(
                f"{path} is a run of {record['processes']} process(es), this one has {self.accelerator.num_processes}: "
                "start as many, or the data would not go on where it stopped."
            )
        now, then = self.config.resumable(), record["config"]
        changed = [f"{name} {then.get(name)!r} → {now[name]!r}" for name in now if now[name] != then.get(name)]
        if changed:
            raise CheckpointError(f"{path} was trained with other options: {'; '.join(changed)}.")

    # ---- the loop -------------------------------------------------------------------------------------------------

    def run(self):
        """Train to ``max_steps``; returns the folder of the finished pipeline."""
        config, accelerator = self.config, self.accelerator
        self._prepare()
        self._start_or_resume()
        self.output.mkdir(parents=True, exist_ok=True)
        for line in self.describe():
            accelerator.print(line)
        batches = self._batches()
        report = RunReport(self.output, self.step, config.max_steps, accelerator.is_main_process, config.tensorboard)
        images = config.batch_size * config.gradient_accumulation * accelerator.num_processes
        last_saved, since = self.step, time.perf_counter()
        try:
            while self.step < config.max_steps:
                report.add(self._train_step(batches), images)
                self.step += 1
                self.seconds += time.perf_counter() - since
                since = time.perf_counter()
                if self.step % config.log_every == 0:
                    self._check_finite(report.log(self.step, self._learning_rate()))
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
        dataset = UnpairedPhotos(
            self.sources["unmasked"],
            self.sources["masked"],
            c.resolution,
            c.seed,
            start=self.step * c.gradient_accumulation * c.batch_size,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            batch_size=c.batch_size,
        )
        return unpaired_batches(dataset, c.workers, pin_memory=self.accelerator.device.type == "cuda")

    def _learning_rate(self):
        c = self.config
        return c.learning_rate * learning_rate_factor(c.lr_schedule, self.step, c.max_steps)

    def _train_step(self, batches):
        accelerator, sums = self.accelerator, {}
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self._learning_rate()
        for _ in range(self.config.gradient_accumulation):
            batch = {name: images.to(accelerator.device, non_blocking=True) for name, images in next(batches).items()}
            with accelerator.accumulate(*self.nets.values()):
                self._freeze_discriminators(True)
                loss, g_terms, fakes = self.method.generator_loss(self.frozen_nets, batch)
                self._descend("generators", loss)
                self._freeze_discriminators(False)
                loss, d_terms = self.method.discriminator_loss(self.nets, batch, fakes)
                self._descend("discriminators", loss)
            for name, value in {**g_terms, **d_terms}.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / self.config.gradient_accumulation
        for name, ema in self.ema.items():
            ema.step(self.bare[name].parameters())
        return sums

    def _freeze_discriminators(self, frozen):
        for name in self.method.discriminators:
            self.bare[name].requires_grad_(not frozen)

    def _descend(self, side, loss):
        self.accelerator.backward(loss)
        self.optimizers[side].step()
        self.optimizers[side].zero_grad()

    # ---- what it leaves -------------------------------------------------------------------------------------------

    def _check_finite(self, line):
        broken = [name for name, value in line.items() if not math.isfinite(value)]
        if broken:
            raise DivergenceError(
                f"the run diverged: {', '.join(broken)} is no number at step {self.step}. The last checkpoint is from "
                "before it; try a lower --learning-rate, or --mixed-precision bf16 in place of fp16."
            )

    def _check_processes_agree(self):
        sums = [p.detach().double().sum() for network in self.bare.values() for p in network.parameters()]
        mine = torch.stack(sums).unsqueeze(0)
        if not self.accelerator.device.type == "mps" and not (self.accelerator.gather(mine) == mine).all():
            raise CheckpointError(
                f"at step {self.step} the processes have different weights: nothing was saved. "
                "Go on from the last checkpoint with --resume latest; if it happens again, please report it."
            )

    def _save(self):
        accelerator = self.accelerator
        self._check_processes_agree()
        optimizers = {name: optimizer.optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        shared = {
            "networks": {name: network.state_dict() for name, network in self.bare.items()},
            "optimizers": {name: _optimizer_tensors(value) for name, value in optimizers.items()},
        }
        if self.ema:
            shared["ema"] = {name: _ema_tensors(ema) for name, ema in self.ema.items()}
        own = {
            "random": _random_state(),
            "pools": {name: pool.state_dict() for name, pool in self.method.pools.items()},
        }
        record = {
            "method": self.method.name,
            "seconds": self.seconds,
            "config": self.config.resumable(),
            "optimizers": {name: value["param_groups"] for name, value in optimizers.items()},
            "ema": {name: ema.optimization_step for name, ema in self.ema.items()},
            "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
            "versions": {"maskhub": maskhub.__version__, "torch": torch.__version__},
        }
        folder = self.output / "checkpoints"
        state.write_checkpoint(folder, self.step, shared, own, record, accelerator)
        if accelerator.is_main_process:
            state.prune_checkpoints(folder, self.config.keep_checkpoints)
            self._write_pipeline()
        accelerator.wait_for_everyone()

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
        with _untouched_random_state():
            save_pipeline(self.method.pipeline(self.inference_generators()), self.output / "pipeline", card)

    def _write_samples(self):
        if not self.accelerator.is_main_process:
            return
        if not hasattr(self, "_sample_photos"):
            photos = UnpairedPhotos(*self.sources.values(), self.config.resolution, seed=0, load_scale=1.0)
            first = [sample for sample, _ in zip(photos, range(SAMPLES), strict=False)]
            self._sample_photos = {
                name: torch.stack([sample[name] for sample in first]).to(self.accelerator.device) for name in first[0]
            }
        with torch.inference_mode(), _untouched_random_state():
            sheet = sample_sheet(self.method.sample_rows(self.inference_generators(), self._sample_photos))
        folder = self.output / "samples"
        folder.mkdir(exist_ok=True)
        sheet.save(folder / f"step-{self.step:08d}.png")

    def close(self):
        """Leave the process group, whether the run ended well or not."""
        self.accelerator.end_training()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


# ---- pieces of state as tensors -------------------------------------------------------------------------------------


def _optimizer_tensors(state_dict):
    return {str(index): dict(moments) for index, moments in state_dict["state"].items()}


def _load_optimizer(optimizer, tensors, groups):
    moments = {int(index): values for index, values in tensors.items()}
    optimizer.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _ema_tensors(ema):
    return {str(index): tensor for index, tensor in enumerate(ema.shadow_params)}


def _load_ema(ema, tensors, optimization_step, device):
    if len(tensors) != len(ema.shadow_params):
        raise ValueError(f"{len(tensors)} averaged tensors for {len(ema.shadow_params)}")
    ema.shadow_params = [tensors[str(index)].to(device) for index in range(len(tensors))]
    ema.optimization_step = optimization_step


def _untouched_random_state():
    """New networks draw initial weights: a run that writes results must go on as one that resumes from before them."""
    return torch.random.fork_rng(devices=[])


def _random_state():
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    return random


def _set_random_state(random):
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
