"""Options shared by all training tasks. Options of a single method are declared in its file."""

import math
from typing import Annotated, ClassVar, Literal

import tyro
from pydantic import BeforeValidator, Field, model_validator

from maskhub.errors import ConfigError, first_line
from maskhub.options import COMMAS, FREE, STAGED, Count, OptionSet, Positive, Rate, Share, flag, named

__all__ = ["SEEDS", "DomainOptions", "LearningRate", "Precision", "Schedule", "TrainingOptions"]

LearningRate = Annotated[float, Field(gt=0), STAGED]
Schedule = Annotated[Literal["linear", "cosine", "constant"], STAGED]
Precision = Annotated[
    Literal["auto", "no", "bf16", "fp16"],
    BeforeValidator(lambda value: "no" if value is False else value),  # YAML reads a plain no as false
]
ReportTo = Annotated[tuple[Literal["tensorboard", "trackio", "wandb"], ...], *COMMAS, FREE]
Stages = Annotated[tuple[dict, ...], tyro.conf.Suppress]

SEEDS = 2**32
"""Number of seeds that NumPy's global random numbers have."""
ALL_STEPS = 10**9
"""max_steps of stages in epochs, unless it is given: all of them."""


class TrainingOptions(OptionSet):
    """Options shared by all training tasks."""

    resets: ClassVar[dict] = {"max_steps": {"epochs": 0.0}}

    output: Annotated[str, FREE] = ""
    """Folder for the result, checkpoints/, samples/, metrics.jsonl and status.json."""
    recipe: Annotated[str | None, FREE] = None
    """YAML file with values for any of these options; command-line options override it."""
    init_from: str | None = None
    """Take the initial weights from a checkpoint or a finished model (its folder, Hub id, or name in `maskhub models
    list`); optimizers and steps start afresh."""
    resolution: Annotated[int, Field(ge=16)] = 256
    """Side of the training pictures in pixels."""
    batch_size: Positive = 1
    """Samples per process and micro-batch."""
    gradient_accumulation: Positive = 1
    """Micro-batches per step."""
    max_steps: Annotated[Positive, FREE] = 200_000
    """Steps of the whole run."""
    epochs: Annotated[float, Field(ge=0), FREE] = 0.0
    """Length of the run in passes over the largest source, instead of max_steps; 0: use max_steps."""
    max_minutes: Annotated[float, Field(ge=0), FREE] = 0.0
    """End the run after this many minutes of training if max_steps take longer; the learning-rate schedule then ends
    there, too. Such a run can't be repeated bit for bit. 0: no limit."""
    limit_photos: Annotated[Count, STAGED] = 0
    """Use at most this many photos of each source, chosen by their names; 0: all."""
    learning_rate: LearningRate = 2e-4
    """Initial learning rate."""
    beta1: Rate = 0.5
    """Adam's β₁; β₂ is 0.999."""
    lr_schedule: Schedule = "linear"
    """linear: constant for the first half, then linear decay to 0."""
    warmup: Share = 0.0
    """Fraction of max_steps during which the learning rate rises from 0, also with max_minutes."""
    ema_decay: Rate = 0.999
    """Decay of the moving average of the weights, which the result uses; 0 turns it off."""
    mixed_precision: Precision = "auto"
    """Precision of the networks; losses stay in float32. auto: bf16 if it is faster on this hardware."""
    compile: bool = False
    """Compile each network with torch.compile: takes minutes at the start, then steps are faster."""
    cuda_graph: bool = False
    """Record a step once as a CUDA graph and replay it: several times as fast for networks whose many small kernels
    take longer to launch than to run. For one process on an NVIDIA GPU."""
    channels_last: bool = False
    """Use the channels-last memory format; may be faster, most of all with compile."""
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    """Seed of the initial weights, the data order and all other random numbers."""
    holdout: bool = False
    """Leave out the tenth of the photos whose file name's SHA-1 is divisible by 10, to test on them."""
    checkpoint_every: Annotated[Positive, FREE] = 1000
    """Steps between checkpoints."""
    keep_checkpoints: Annotated[Positive, FREE] = 2
    """Number of checkpoints to keep, the most recent ones."""
    sample_every: Annotated[Count, FREE] = 500
    """Steps between sample sheets and tests; 0: no samples, no tests."""
    sample_at: Annotated[tuple[Positive, ...], FREE] = ()
    """Additional steps after which to draw a sample sheet."""
    sample_shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], FREE] = ()
    """Additional sample sheets after these shares of the run, such as 0.05 0.5 1."""
    log_every: Annotated[Positive, FREE] = 10
    """Steps between lines of metrics.jsonl."""
    resume: Annotated[str | None, FREE] = None
    """'latest' or a checkpoint folder to resume from."""
    workers: Annotated[Count, FREE] = 1
    """Background processes that read photos, per training process; 0: read in the training process."""
    report_to: ReportTo = ()
    """Also report to experiment trackers: tensorboard (events in output/tensorboard), trackio, wandb."""
    push_to_hub: Annotated[str | None, FREE] = None
    """Hub repository (user/name) to upload the finished result to. It is created, and the access checked, before
    the first step."""
    dry_run: Annotated[bool, FREE] = False
    """Print the resolved options, networks and sources, then exit."""
    stages: Stages = ()
    """In a recipe: a list of stages, each with its ``steps`` (or ``epochs``) and the options that it changes. A run
    goes through all stages with the same networks, optimizers and pools; the learning-rate schedule restarts in
    each."""

    @model_validator(mode="before")
    @classmethod
    def _read_stages(cls, values):
        stages = values.get("stages") or ()
        if not isinstance(stages, (list, tuple)) or not all(isinstance(stage, dict) for stage in stages):
            raise ConfigError("stages must be a list of mappings.")
        if not stages:
            return values
        stages = tuple(named(stage) for stage in stages)
        steps = [stage.get("steps") for stage in stages]
        whole = sum(steps) if all(type(count) is int and count > 0 for count in steps) else ALL_STEPS
        return {"max_steps": whole, **values, "stages": stages}

    @property
    def sheets(self):
        """The steps of the additional sample sheets."""
        return {*self.sample_at, *(max(1, round(share * self.max_steps)) for share in self.sample_shares)}

    def needs(self):
        """Names of the options that hold the required sources."""
        return ()

    @property
    def rounds(self):
        """Micro-batches that one step takes before accumulation."""
        return 1

    def check(self):
        """Raise a ConfigError if a source or the output is missing, or options contradict each other."""
        for name in (*self.needs(), "output"):
            if not getattr(self, name):
                raise ConfigError(f"{flag(name)} is missing.")
        if self.max_minutes and self.stages:
            raise ConfigError("--max-minutes can't be used with the stages of a recipe.")
        if self.epochs and self.stages:
            raise ConfigError("--epochs can't be used with the stages of a recipe; --max-steps can end them earlier.")
        if self.cuda_graph and self.mixed_precision == "fp16":
            raise ConfigError("--cuda-graph can't be used with --mixed-precision fp16: use bf16 or no.")
        total = 0
        for number, stage in enumerate(self.stages, 1):
            total += self._check_stage(number, stage)
        if self.stages and self.max_steps > total and not self._in_epochs():
            raise ConfigError(f"--max-steps is {self.max_steps}, but the stages of the recipe have only {total} steps.")

    def _check_stage(self, number, stage):
        stage = dict(stage)
        steps, epochs = stage.pop("steps", None), stage.pop("epochs", None)
        length = epochs if steps is None else steps
        if (steps is None) == (epochs is None) or isinstance(length, bool) or not isinstance(length, (int, float)):
            raise ConfigError(f"stage {number} needs either steps or epochs; it has {length!r}.")
        if (steps is not None and (type(steps) is not int or steps < 1)) or not 0 < length < math.inf:
            raise ConfigError(f"stage {number} needs at least 1 step; it has {length!r}.")
        known = sorted(self.marked(STAGED))
        unknown = sorted(stage.keys() - set(known))
        if unknown:
            raise ConfigError(f"stage {number} changes {', '.join(unknown)}; a stage may change {', '.join(known)}.")
        try:
            self.replaced(stages=(), **stage).check()
        except ConfigError as error:
            raise ConfigError(f"stage {number}: {first_line(error)}.") from error
        return steps or 0

    def _in_epochs(self):
        return any("epochs" in stage for stage in self.stages)

    def in_steps(self, photos, samples):
        """The same options with epochs converted to steps of ``samples``, those of one micro-batch over all processes;
        ``photos`` is a function from options to the number of photos in their largest source. ConfigError if the length
        is given in epochs, but that number is unknown (None)."""
        if not self.epochs and not self._in_epochs():
            return self

        def steps(epochs, options):
            count = photos(options)
            if count is None:
                raise ConfigError(
                    "--epochs needs the number of photos, which is unknown for streamed sources: use --max-steps."
                )
            per_epoch = math.ceil(count / (samples * options.rounds * options.gradient_accumulation))
            return max(1, math.ceil(epochs * per_epoch))

        stages = []
        for stage in self.stages:
            changes = {name: value for name, value in stage.items() if name not in ("steps", "epochs")}
            length = stage.get("steps") or steps(stage["epochs"], self.replaced(stages=(), **changes))
            stages.append({"steps": length, **changes})
        total = min(sum(stage["steps"] for stage in stages), self.max_steps) or steps(self.epochs, self)
        return self.replaced(stages=tuple(stages), max_steps=total, epochs=0.0)

    def timeline(self):
        """The stages as dicts with their ``steps``; without stages, a single one of ``max_steps``."""
        return [dict(stage) for stage in self.stages] or [{"steps": self.max_steps}]

    def resumable(self):
        """The options that may not change when a run is resumed, as JSON values."""
        return self.model_dump(mode="json", exclude=set(self.marked(FREE)))


class DomainOptions(TrainingOptions):
    """Options shared by the tasks that learn from unmasked and masked faces."""

    unmasked: Annotated[str, STAGED] = ""
    """Source of unmasked faces: a folder, or user/dataset[/config][:split][@revision][#column] on the Hub."""
    masked: Annotated[str, STAGED] = ""
    """Source of masked faces, in the same form."""

    def needs(self):
        return ("unmasked", "masked")
