"""Stages and learning rate of a run as functions of the step, so that checkpoints need not save them."""

import math
from dataclasses import dataclass

from maskhub.models.network import choose

__all__ = ["Stage", "Timeline", "learning_rate_factor"]


@dataclass(frozen=True)
class Stage:
    """A stage of ``steps`` steps that starts at step ``first``, with its options."""

    first: int
    steps: int
    options: object

    def learning_rate(self, step, share=0.0):
        """Learning rate of the step after ``step`` completed ones; the schedule is at least at ``share``."""
        done = step - self.first
        warm = min(1.0, (done + 1) / max(1, int(self.options.warmup * self.steps)))
        done = max(done / self.steps, min(share, 1.0))
        return warm * self.options.learning_rate * learning_rate_factor(self.options.lr_schedule, done)


class Timeline:
    """The stages of a run with these :class:`~maskhub.training.options.TrainingOptions`."""

    def __init__(self, options):
        self.stages, first = [], 0
        for entry in options.timeline():
            changes = {name: value for name, value in entry.items() if name != "steps"}
            staged = options.replaced(stages=(), **changes) if changes else options
            self.stages.append(Stage(first, entry["steps"], staged))
            first += entry["steps"]

    @property
    def options(self):
        """Those of each stage."""
        return [stage.options for stage in self.stages]

    def at(self, step):
        """The stage of the step after ``step`` completed ones; the last stage once all are over."""
        return next((stage for stage in self.stages if step < stage.first + stage.steps), self.stages[-1])

    def batches_before(self, step):
        """Number of micro-batches per process in the first ``step`` steps."""
        taken = 0
        for stage in self.stages:
            steps = min(max(step - stage.first, 0), stage.steps)
            taken += steps * stage.options.rounds * stage.options.gradient_accumulation
        return taken


def learning_rate_factor(schedule, done):
    """The learning-rate factor, in [0, 1], once a share ``done`` of a run or stage is over.

    ``"linear"``: 1 for the first half, then linear decay to 0 (CycleGAN's 100 + 100 epochs); ``"cosine"``: (1 + cos(π
    t)) / 2 from the first step; ``"constant"``: 1.
    """
    factors = {"linear": min(1.0, 2 * (1 - done)), "cosine": 0.5 * (1 + math.cos(math.pi * done)), "constant": 1.0}
    return choose("the learning-rate schedule", schedule, factors)
