"""The options of a training run: the dataclass is the command line, the recipe and what a checkpoint remembers."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args, get_origin

import torch
import tyro
import yaml

from maskhub.data.masked import Wearing
from maskhub.errors import ConfigError
from maskhub.training.diffaugment import policies

__all__ = ["GANConfig", "TrainingConfig", "WornConfig", "check_least", "read_recipe"]

_FREE_ON_RESUME = frozenset(
    [
        "output",
        "resume",
        "checkpoint_every",
        "sample_every",
        "log_every",
        "keep_checkpoints",
        "workers",
        "push_to_hub",
        "recipe",
        "dry_run",
        "tensorboard",
        "max_steps",
        "weights_dir",
    ]
)


@dataclass
class TrainingConfig:
    """Options that every method shares."""

    unmasked: str = ""
    """Source of unmasked faces: a folder, or user/dataset[:split][@revision][#column] on the Hub."""
    masked: str = ""
    """Source of masked faces, likewise."""
    output: str = ""
    """Folder for pipeline/, checkpoints/, samples/ and metrics.jsonl."""
    recipe: str | None = None
    """YAML file with values for any of these options; the command line goes over it."""
    init_from: str | None = None
    """Checkpoint or pipeline folder whose weights a new run begins with (transfer); all else starts afresh."""
    resolution: int = 256
    """Side of the training crops in pixels; a multiple of 4, at least 32."""
    batch_size: int = 1
    """Samples of each domain a process and micro-batch."""
    gradient_accumulation: int = 1
    """Micro-batches a step."""
    max_steps: int = 200_000
    """Generator updates of the whole run."""
    learning_rate: float = 2e-4
    """Adam's step size at the start."""
    beta1: float = 0.5
    """Adam's decay of the first moment; the second is 0.999."""
    lr_schedule: Literal["linear", "cosine", "constant"] = "linear"
    """linear: constant for the first half, then in a line to 0."""
    ema_decay: float = 0.999
    """Decay of the moving average of the generators' weights that the pipeline gets; 0 turns it off."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """Arithmetic of the networks; losses stay in float32. auto: bf16 where that is the faster on this hardware."""
    seed: int = 0
    """Fixes initial weights, data order, augmentation and pools."""
    holdout: bool = False
    """Never train on the tenth of photos whose file name's SHA-1 is divisible by 10."""
    checkpoint_every: int = 1000
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    sample_every: int = 500
    """Steps between sample grids; 0 draws none."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    resume: str | None = None
    """'latest' or a checkpoint folder: go on exactly where it stopped."""
    workers: int = 1
    """Background processes that read photos, for each process; 0 reads in the loop."""
    tensorboard: bool = False
    """Also write tensorboard events to output/tensorboard."""
    push_to_hub: str | None = None
    """Repository id to upload the finished pipeline to."""
    dry_run: bool = False
    """Show the resolved options, networks and sources, then stop."""

    def check(self):
        """Raise :class:`ConfigError` for a value that no run can have."""
        for name in (*self.needs(), "output"):
            if not getattr(self, name):
                raise ConfigError(f"--{name} is missing.")
        for name, low in {
            "batch_size": 1, "gradient_accumulation": 1, "max_steps": 1, "checkpoint_every": 1, "keep_checkpoints": 1,
            "log_every": 1, "sample_every": 0, "workers": 0, "resolution": 32, "seed": 0,
        }.items():  # fmt: skip
            check_least(self, name, low)
        if self.resolution % 4:
            raise ConfigError(f"--resolution is {self.resolution}; it must be a multiple of 4.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"--ema-decay is {self.ema_decay}; it must be at least 0 and below 1.")
        if not self.learning_rate > 0:
            raise ConfigError(f"--learning-rate is {self.learning_rate}; it must be above 0.")

    def __post_init__(self):
        if self.mixed_precision == "auto":  # a checkpoint remembers what it was
            self.mixed_precision = "bf16" if _bf16_is_faster() else "no"

    def needs(self):
        """The names of the sources that the method reads."""
        return ("unmasked", "masked")

    def resumable(self):
        """The options that a resumed run must share with the one it goes on from, as a dict."""
        options = json.loads(json.dumps(dataclasses.asdict(self)))  # as a checkpoint's record gives them back
        return {name: value for name, value in options.items() if name not in _FREE_ON_RESUME}


@dataclass
class GANConfig(TrainingConfig):
    """Options that every adversarial method shares."""

    gan_loss: Literal["lsgan", "vanilla", "wgan-gp"] = "lsgan"
    """Adversarial loss: least squares, cross-entropy, or Wasserstein with gradient penalty."""
    optimizer: Literal["adam", "muon"] = "adam"
    """Of the generators. muon: orthogonalised momentum for all kernels, at Adam's learning rates."""
    lambda_gp: float = 10.0
    """Weight of wgan-gp's gradient penalty."""
    r1: float = 0.0
    """γ of the R1 penalty on the discriminators' slope at real photos; 0 leaves it out."""
    spectral_norm: bool = False
    """Divide every weight of the discriminators by its largest singular value (Miyato et al., ICLR 2018)."""
    diffaugment: str = ""
    """What the discriminators see is augmented by these: color, translation, cutout; with commas, or nothing."""
    generator_updates: int = 1
    """Updates of the generators a step."""
    discriminator_updates: int = 1
    """Updates of the discriminators a step, each on a batch of its own from the second on (5 in WGAN-GP's paper)."""
    compile: bool = False
    """Compile each network with torch.compile: minutes at the start, faster steps."""
    channels_last: bool = False
    """Keep images in memory pixel by pixel; measure before choosing, it goes well with compile."""
    stages: tyro.conf.Suppress[tuple] = ()
    """In a recipe: a list of stages, each with its ``steps`` and the options that change for it. One run goes through
    all of them with the same networks, optimizers and pools; the learning rate's schedule begins anew in each."""

    staged: ClassVar[frozenset] = frozenset(
        ["learning_rate", "lr_schedule", "generator_updates", "discriminator_updates", "r1", "lambda_gp"]
    )
    """Options that a stage may change; a method adds its λs."""

    def check(self):
        super().check()
        for name in ("lambda_gp", "r1", "generator_updates", "discriminator_updates"):
            check_least(self, name, 0)
        if not self.generator_updates and not self.discriminator_updates:
            raise ConfigError("neither generators nor discriminators are updated: nothing would be learnt.")
        policies(self.diffaugment)
        total = 0
        for number, stage in enumerate(self.stages, 1):
            changes, steps = {k: v for k, v in stage.items() if k != "steps"}, stage.get("steps")
            if type(steps) is not int or steps < 1:
                raise ConfigError(f"stage {number} needs its steps, a whole number of at least 1; it has {steps!r}.")
            unknown = sorted(changes.keys() - self.staged)
            if unknown:
                raise ConfigError(
                    f"stage {number} changes {', '.join(unknown)}; a stage may change {', '.join(sorted(self.staged))}."
                )
            total += steps
            dataclasses.replace(self, stages=(), max_steps=steps, **_typed(f"stage {number}", self, changes)).check()
        if self.stages and self.max_steps > total:
            raise ConfigError(f"--max-steps is {self.max_steps}; the stages of the recipe have {total} in all.")

    def timeline(self):
        """The stages, as a list of dicts with their ``steps``; one of ``max_steps`` where there are none."""
        return [dict(stage) for stage in self.stages] or [{"steps": self.max_steps}]

    def stage(self, step):
        """Where the step after ``step`` completed ones lies.

        Returns:
            the options that hold there, the steps of its stage that are done, and the stage's length.
        """
        first = 0
        for stage in self.timeline():
            if step < first + stage["steps"]:
                break
            first += stage["steps"]
        else:
            first -= stage["steps"]
        changes = {name: value for name, value in stage.items() if name != "steps"}
        options = dataclasses.replace(self, **_typed("a stage", self, changes)) if changes else self
        return options, step - first, stage["steps"]

    def batches_before(self, step):
        """How many micro-batches of each process the first ``step`` steps take."""
        total, first = 0, 0
        for stage in self.timeline():
            steps = min(max(step - first, 0), stage["steps"])
            updates = [stage.get(name, getattr(self, name)) for name in ("generator_updates", "discriminator_updates")]
            total += steps * max(updates)
            first += stage["steps"]
        return total * self.gradient_accumulation


@dataclass
class WornConfig(GANConfig):
    """Options of the methods that wear rule-based masks as they train."""

    style: str = "random"
    """Mask of the training photos: surgical, kn95, cup, cloth, patterned, neoprene, or random."""
    wrongly_worn: float = 0.0
    """Share of the masks that is worn wrongly, 0 to 1."""

    def check(self):
        super().check()
        self.wearing()

    def wearing(self):
        """The :class:`~maskhub.data.masked.Wearing` of these options."""
        return Wearing(style=self.style, wrongly_worn=self.wrongly_worn)


def read_recipe(path, config_class):
    """Make a config of ``config_class`` from the YAML file ``path``; options may be written with - or _.

    Raises:
        ConfigError: no such file, not a YAML mapping, or an option that does not exist.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"the recipe {path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the recipe {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the recipe {path} must be a mapping of options to values.")
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    named = {str(key).replace("-", "_"): value for key, value in values.items()}
    unknown = sorted(named.keys() - fields.keys())
    if unknown:
        raise ConfigError(f"the recipe {path} has unknown options: {', '.join(unknown)}.")
    stages = named.pop("stages", None) or []
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ConfigError(f"the recipe {path} must give stages as a list of mappings.")
    named = _typed(f"the recipe {path}", config_class, named)
    if stages:
        stages = [{str(key).replace("-", "_"): value for key, value in stage.items()} for stage in stages]
        named["stages"] = tuple(stages)
        lengths = [stage.get("steps") for stage in stages]
        if "max_steps" not in named and all(type(steps) is int and steps > 0 for steps in lengths):
            named["max_steps"] = sum(lengths)
    return config_class(**named)


def _typed(where, config_class, named):
    """Options as YAML gives them, as the types that they are declared with."""
    types, typed = {field.name: field.type for field in dataclasses.fields(config_class)}, {}
    for name, value in named.items():
        wanted = types[name]
        choices = get_args(wanted) if get_origin(wanted) is Literal else None
        if choices:
            value = "no" if value is False else value  # YAML reads a bare no as false
            if value not in choices:
                raise ConfigError(f"{where} gives {name} the value {value!r}; it must be one of {choices}.")
        elif wanted is float and isinstance(value, (int, str)) and not isinstance(value, bool):
            try:
                value = float(value)  # YAML reads 2e-4 as a string
            except ValueError as error:
                raise ConfigError(f"{where} gives {name} the value {value!r}; it must be a number.") from error
        elif get_origin(wanted) is tuple and isinstance(value, list):
            value = tuple(value)
        elif wanted in (int, bool, str) and type(value) is not wanted:
            raise ConfigError(f"{where} gives {name} the value {value!r}; it must be of type {wanted.__name__}.")
        typed[name] = value
    return typed


def check_least(config, name, low):
    if getattr(config, name) < low:
        bound = "not be negative" if low == 0 else f"be at least {low}"
        raise ConfigError(f"--{name.replace('_', '-')} is {getattr(config, name)}; it must {bound}.")


def _bf16_is_faster():
    """By the hardware alone, so that all processes and later sessions of a run on like machines agree.

    A CycleGAN step took 0.64 of its time in bf16 on an AMD CPU with AVX512-BF16, and 1.4 times on an Intel one without
    AMX (``benchmarks/bench_training.py``).
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.cpu._is_amx_tile_supported():
        return True
    cpu = Path("/proc/cpuinfo")
    return torch.cpu._is_avx512_bf16_supported() and cpu.exists() and "AuthenticAMD" in cpu.read_text()
