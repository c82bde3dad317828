"""Learning-rate schedules as functions of the step alone: nothing to save, nothing that drifts on resume."""

import math

from maskhub.models.network import choose

__all__ = ["learning_rate_factor"]


def learning_rate_factor(schedule, step, max_steps):
    """The factor on the learning rate for the step that comes after ``step`` completed ones.

    Args:
        schedule: ``"linear"``: 1 for the first half, then in a line to 0 (CycleGAN's 100 + 100 epochs);
            ``"cosine"``: (1 + cos(π t)) / 2 from the first step; ``"constant"``: 1.
        step: completed optimizer steps of the run, or of its stage.
        max_steps: steps of the whole run, or of the stage.

    Returns:
        float in (0, 1].
    """
    done = step / max_steps
    return choose(
        "the learning-rate schedule",
        schedule,
        {
            "linear": min(1.0, 2 * (1 - done)),
            "cosine": 0.5 * (1 + math.cos(math.pi * done)),
            "constant": 1.0,
        },
    )
