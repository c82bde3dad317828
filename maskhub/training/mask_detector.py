"""Training of the mask detector: one small network, supervised.

The loss of a batch, B the binary cross-entropy:

    L = B(presence)  +  λ_region · (B(region) + 1 − Dice(region))  +  λ_consistency · B(region, teacher's)

Nobody knows the regions of really masked faces. There the detector learns from its own moving average, which sees the
crop before it is degraded, wherever that is sure: a mean teacher (Tarvainen, Valpola: "Mean teachers are better
role models", NeurIPS 2017) with hard labels above a threshold as in FixMatch (Sohn and others, NeurIPS 2020). Dice:
Milletari and others: "V-Net", 3DV 2016.
"""

import copy
import dataclasses
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.nn import functional as F

import maskhub
from maskhub.data.mask_detection import CROPS, MaskDetectionCrops, mask_detection_batches
from maskhub.data.paired import cache_folder
from maskhub.data.sources import open_source
from maskhub.errors import CheckpointError, ConfigError, DivergenceError
from maskhub.models.mask_detector import MaskDetector
from maskhub.training import state
from maskhub.training.report import RunReport, sample_sheet
from maskhub.training.schedule import learning_rate_factor

__all__ = ["MaskDetectorConfig", "MaskDetectorTraining", "mask_detector_losses"]

SURE = 0.85
"""How sure the teacher must be of a pixel, either way, to teach it."""
_FREE_ON_RESUME = (
    "output", "recipe", "resume", "workers", "checkpoint_every", "sample_every", "log_every", "cache", "max_steps",
)  # fmt: skip


@dataclass
class MaskDetectorConfig:
    """Train the mask detector."""

    unmasked: str = ""
    """Source of unmasked faces: a folder, or user/dataset[:split][@revision][#column] on the Hub."""
    masked: str = ""
    """Source of aligned crops of really masked faces, likewise."""
    output: str = ""
    """Folder for detector/, checkpoints/, samples/ and metrics.jsonl."""
    recipe: str | None = None
    """YAML file with values for any of these options; the command line goes over it."""
    resolution: int = 128
    """Side of the crops in pixels; a multiple of 32."""
    width: int = 16
    """Channels of the first layer."""
    pyramid: int = 16
    """Channels of the decoder."""
    batch_size: int = 8
    """Samples a process and step; each is four crops."""
    max_steps: int = 3000
    """Steps of the whole run."""
    learning_rate: float = 2e-3
    """AdamW's step size at the start; it falls along a cosine."""
    weight_decay: float = 1e-2
    """AdamW's."""
    lambda_region: float = 1.0
    """Weight of the region's losses."""
    lambda_consistency: float = 0.5
    """Weight of what the moving average teaches; it sets in after a fifth of the run."""
    ema_decay: float = 0.998
    """Decay of the moving average of the weights, which teaches and which is saved."""
    seed: int = 0
    """Fixes initial weights, data order and all that is drawn."""
    holdout: bool = False
    """Never train on the tenth of photos whose file name's SHA-1 is divisible by 10."""
    cache: str | None = None
    """File in which found faces are kept; by default beside the photos, or in ~/.cache/maskhub."""
    checkpoint_every: int = 500
    """Steps between checkpoints; the two newest are kept."""
    sample_every: int = 500
    """Steps between sample sheets; 0 draws none."""
    log_every: int = 25
    """Steps between lines of metrics.jsonl."""
    resume: str | None = None
    """'latest' or a checkpoint folder: go on exactly where it stopped."""
    workers: int = 1
    """Background processes that make crops; 0 makes them in the loop."""

    def check(self):
        """Raise :class:`ConfigError` for a value that no run can have."""
        for name in ("unmasked", "masked", "output"):
            if not getattr(self, name):
                raise ConfigError(f"--{name} is missing.")
        for name in ("batch_size", "max_steps", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 1.")
        for name in ("sample_every", "workers", "seed", "lambda_region", "lambda_consistency", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must not be negative.")
        if not self.learning_rate > 0:
            raise ConfigError(f"--learning-rate is {self.learning_rate}; it must be above 0.")
        if not 0 < self.ema_decay < 1:
            raise ConfigError(f"--ema-decay is {self.ema_decay}; it must lie between 0 and 1.")

    def resumable(self):
        """The options that a resumed run must share with the one it goes on from."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _FREE_ON_RESUME}


def mask_detector_losses(presence, region, batch, taught=None):
    """The terms of the loss, by name.

    Args:
        presence, region: logits, N and N×1×H×W.
        batch: ``presence``, ``region`` and ``known`` of :class:`~maskhub.data.mask_detection.MaskDetectionCrops`.
        taught: the teacher's probabilities N×1×H×W, or None.

    Returns:
        dict of float32 scalars: ``presence``, ``region`` and, where ``taught`` is given, ``consistency``.
    """
    presence, region, known = presence.float(), region.float(), batch["known"].float()
    target = batch["region"]
    pixels = F.binary_cross_entropy_with_logits(region, target, reduction="none")
    cross = (pixels.mean((1, 2, 3)) * known).sum() / known.sum().clamp(min=1)
    chance = region.sigmoid()
    overlap, total = (chance * target).sum((1, 2, 3)), (chance + target).sum((1, 2, 3))
    covered = known * (target.sum((1, 2, 3)) > 0)  # an empty region has no overlap to ask for
    dice = ((1 - (2 * overlap + 1) / (total + 1)) * covered).sum() / covered.sum().clamp(min=1)
    terms = {
        "presence": F.binary_cross_entropy_with_logits(presence, batch["presence"]),
        "region": cross + dice,
    }
    if taught is not None:
        sure = ((taught - 0.5).abs() > SURE - 0.5).float() * (1 - known)[:, None, None, None]
        labels = (taught > 0.5).float()
        pixels = F.binary_cross_entropy_with_logits(region, labels, reduction="none")
        terms["consistency"] = (pixels * sure).sum() / sure.sum().clamp(min=1)
    return terms


class MaskDetectorTraining:
    """Trains a :class:`~maskhub.models.mask_detector.MaskDetector`; killed and resumed it ends with the same weights,
    bit for bit on a CPU.

    Args:
        config: :class:`MaskDetectorConfig`, checked.

    Raises:
        SourceError, ConfigError, CheckpointError: before the first step.
    """

    def __init__(self, config):
        self.config, self.output = config, Path(config.output)
        self.accelerator = Accelerator()
        self.sources = [open_source(spec, config.holdout) for spec in (config.unmasked, config.masked)]
        set_seed(config.seed)
        self.network = MaskDetector(config.width, config.pyramid, config.resolution)
        set_seed(config.seed * 1000 + self.accelerator.process_index + 1)
        self.network.to(self.accelerator.device, memory_format=torch.channels_last)
        self.teacher = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.step, self.seen = 0, None

    def run(self):
        """Train to ``max_steps``; returns the folder of the finished detector."""
        c = self.config
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay)
        self.net, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        self._start_or_resume()
        self.output.mkdir(parents=True, exist_ok=True)
        batches = self._batches()
        report = RunReport(self.output, self.step, c.max_steps, self.accelerator.is_main_process)
        images, saved = c.batch_size * CROPS * self.accelerator.num_processes, self.step
        try:
            while self.step < c.max_steps:
                report.add(self._train_step(next(batches)), images)
                self.step += 1
                if self.step % c.log_every == 0:
                    self._check_finite(report.log(self.step, self._learning_rate()))
                if c.sample_every and self.step % c.sample_every == 0:
                    self._write_samples()
                if self.step % c.checkpoint_every == 0:
                    self._save()
                    saved = self.step
        finally:
            report.close()
        if saved != self.step or not (self.output / "detector").is_dir():
            self._save()
        return self.output / "detector"

    def _batches(self):
        c, accelerator = self.config, self.accelerator
        data = MaskDetectionCrops(
            *self.sources,
            c.resolution,
            c.seed,
            start=self.step * c.batch_size,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
            batch_size=c.batch_size,
            cache=c.cache or cache_folder(self.sources[0]) / "faces.sqlite",
        )
        return mask_detection_batches(data, c.workers, pin_memory=accelerator.device.type == "cuda")

    def _learning_rate(self):
        warm = min(1.0, (self.step + 1) / max(1, self.config.max_steps // 50))
        return warm * self.config.learning_rate * learning_rate_factor("cosine", self.step, self.config.max_steps)

    def _train_step(self, batch):
        c = self.config
        batch = {name: values.to(self.accelerator.device, non_blocking=True) for name, values in batch.items()}
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.net.train()
        presence, region = self.net(batch["images"].contiguous(memory_format=torch.channels_last))
        taught = None
        if c.lambda_consistency and self.step >= c.max_steps // 5:
            taught = torch.zeros_like(region, dtype=torch.float32)
            unknown = batch["known"] == 0
            with torch.no_grad():
                taught[unknown] = self.teacher(batch["plain"][unknown])[1].float().sigmoid()
        terms = mask_detector_losses(presence, region, batch, taught)
        weights = {"presence": 1.0, "region": c.lambda_region, "consistency": c.lambda_consistency}
        self.accelerator.backward(sum(weights[name] * value for name, value in terms.items()))
        self.accelerator.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._teach()
        if self.seen is None:
            self.seen = {name: batch[name][: 4 * CROPS] for name in ("images", "region")}
        right = ((presence > 0) == (batch["presence"] > 0.5)).float().mean()
        return {**terms, "accuracy": right}

    @torch.no_grad()
    def _teach(self):
        """The moving average goes on by a step; it starts quickly, so that it need not forget the initial weights."""
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for mine, new in zip(self.teacher.parameters(), self.network.parameters(), strict=True):
            mine.lerp_(new, 1 - decay)
        for mine, new in zip(self.teacher.buffers(), self.network.buffers(), strict=True):
            mine.copy_(new)

    # ---- what it leaves and goes on from --------------------------------------------------------------------------

    def _save(self):
        shared = {
            "networks": {"detector": self.network.state_dict()},
            "ema": {"detector": self.teacher.state_dict()},
            "optimizers": {"detector": state.moments(self.optimizer.optimizer)},
        }
        own = {"random": {"cpu": torch.get_rng_state()}}
        record = {
            "method": "mask-detector",
            "config": self.config.resumable(),
            "optimizer": self.optimizer.optimizer.state_dict()["param_groups"],
            "versions": {"maskhub": maskhub.__version__, "torch": torch.__version__},
        }
        state.write_checkpoint(self.output / "checkpoints", self.step, shared, own, record, self.accelerator)
        if self.accelerator.is_main_process:
            state.prune_checkpoints(self.output / "checkpoints", keep=2)
            with torch.random.fork_rng(devices=[]):
                save_mask_detector(self.teacher, self.output / "detector")
        self.accelerator.wait_for_everyone()

    def _start_or_resume(self):
        path = state.resume_path(self.output, self.config.resume)
        if path is None:
            return
        record, shared, own = state.load_checkpoint(path, self.accelerator.process_index)
        if record.get("method") != "mask-detector" or record["processes"] != self.accelerator.num_processes or not own:
            raise CheckpointError(f"{path} is no run of the mask detector with as many processes as this one.")
        state.check_same_options(path, self.config.resumable(), record["config"])
        try:
            self.network.load_state_dict(shared["networks"]["detector"])
            self.teacher.load_state_dict(shared["ema"]["detector"])
            state.load_moments(self.optimizer.optimizer, shared["optimizers"]["detector"], record["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint {path} does not fit this run: {error}") from error
        torch.set_rng_state(own["random"]["cpu"])
        self.step = record["step"]
        self.accelerator.print(f"going on from {path}, {self.step:,} steps done", file=sys.stderr)

    def _check_finite(self, line):
        broken = [name for name, value in line.items() if not math.isfinite(value)]
        if broken:
            raise DivergenceError(
                f"the run diverged: {', '.join(broken)} is no number at step {self.step}. Try a lower --learning-rate."
            )

    def _write_samples(self):
        if not self.accelerator.is_main_process or self.seen is None:
            return
        with torch.inference_mode():
            _, region = self.teacher(self.seen["images"])
        columns = [
            self.seen["images"],
            *(_red(self.seen["images"], x) for x in (region.sigmoid(), self.seen["region"])),
        ]
        folder = self.output / "samples"
        folder.mkdir(exist_ok=True)
        sample_sheet([columns]).save(folder / f"step-{self.step:08d}.png")


def save_mask_detector(network, folder):
    """Write a detector for ``from_pretrained``, in float32 and as fp16 variant."""
    network.save_pretrained(folder)
    copy.deepcopy(network).half().save_pretrained(folder, variant="fp16")


def _red(images, region):
    red = torch.tensor([1.0, -1.0, -1.0], device=images.device).view(1, 3, 1, 1)
    return images + (red - images) * 0.5 * region
