"""The options of a training run: the dataclass is the command line, the recipe and what a checkpoint remembers."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin

import yaml

from maskhub.errors import ConfigError

__all__ = ["CycleGANConfig", "TrainingConfig", "read_recipe"]

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
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Arithmetic of the networks; losses stay in float32."""
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
        for name in ("unmasked", "masked", "output"):
            if not getattr(self, name):
                raise ConfigError(f"--{name} is missing.")
        for name, low in {
            "batch_size": 1, "gradient_accumulation": 1, "max_steps": 1, "checkpoint_every": 1, "keep_checkpoints": 1,
            "log_every": 1, "sample_every": 0, "workers": 0, "resolution": 32, "seed": 0,
        }.items():  # fmt: skip
            if getattr(self, name) < low:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least {low}.")
        if self.resolution % 4:
            raise ConfigError(f"--resolution is {self.resolution}; it must be a multiple of 4.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"--ema-decay is {self.ema_decay}; it must be at least 0 and below 1.")
        if not self.learning_rate > 0:
            raise ConfigError(f"--learning-rate is {self.learning_rate}; it must be above 0.")

    def resumable(self):
        """The options that a resumed run must share with the one it goes on from, as a dict."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _FREE_ON_RESUME}


@dataclass
class CycleGANConfig(TrainingConfig):
    """Train a CycleGAN between unmasked and masked faces (Zhu et al., ICCV 2017)."""

    generator_width: int = 64
    """Channels after the generators' first convolution."""
    blocks: int = 9
    """Residual blocks: 9 for 256 pixels and up, 6 for 128."""
    norm: Literal["instance", "batch"] = "instance"
    """Norm of generators and discriminators."""
    upsampling: Literal["transposed", "resize"] = "transposed"
    """resize (nearest neighbour, then a convolution) leaves no checkerboard."""
    discriminator_width: int = 64
    """Channels after the discriminators' first convolution."""
    discriminator_layers: int = 3
    """3 judges patches of 70×70 pixels; 0 single pixels."""
    gan_loss: Literal["lsgan", "vanilla"] = "lsgan"
    """Adversarial loss."""
    lambda_cycle: float = 10.0
    """Weight of the cycle loss."""
    lambda_identity: float = 0.5
    """Weight of the identity loss, as a share of lambda_cycle; 0 leaves it out."""
    pool_size: int = 50
    """Older fakes that each discriminator is shown."""

    def check(self):
        super().check()
        if self.norm == "batch" and self.batch_size == 1 and self.resolution < 64:
            raise ConfigError("--norm batch needs a --batch-size above 1 at this resolution.")
        for name in ("lambda_cycle", "lambda_identity", "pool_size", "blocks", "discriminator_layers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must not be negative.")
        if self.resolution < 3 * 2**self.discriminator_layers:
            raise ConfigError(
                f"--discriminator-layers {self.discriminator_layers} needs a --resolution of at least "
                f"{3 * 2**self.discriminator_layers}."
            )
        for name in ("generator_width", "discriminator_width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 1.")


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
    for name, value in named.items():
        choices = get_args(fields[name].type) if get_origin(fields[name].type) is Literal else None
        if choices:
            named[name] = value = "no" if value is False else value  # YAML reads a bare no as false
            if value not in choices:
                raise ConfigError(f"the recipe {path} gives {name} the value {value!r}; it must be one of {choices}.")
        elif fields[name].type is float and isinstance(value, (int, str)) and not isinstance(value, bool):
            try:
                named[name] = float(value)  # YAML reads 2e-4 as a string
            except ValueError as error:
                raise ConfigError(
                    f"the recipe {path} gives {name} the value {value!r}; it must be a number."
                ) from error
        elif fields[name].type in (int, bool, str) and type(value) is not fields[name].type:
            raise ConfigError(
                f"the recipe {path} gives {name} the value {value!r}; it must be of type {fields[name].type.__name__}."
            )
    return config_class(**named)
