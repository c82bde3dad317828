"""Experiment trackers through accelerate: a run's losses, test figures, sample sheets and curves.

    --report-to tensorboard,trackio

TensorBoard's events are in ``OUTPUT/tensorboard``. trackio and wandb get the project ``maskhub`` and one run for each
output folder, which a resumed run continues; their own environment variables (``TRACKIO_SPACE_ID``, ``WANDB_MODE``)
apply.
"""

import hashlib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from accelerate.utils import ProjectConfiguration

from maskhub.errors import ConfigError, first_line
from maskhub.image_file import open_image

__all__ = ["Trackers", "tracker_arguments"]

PROJECT = "maskhub"


def tracker_arguments(options):
    """Arguments of ``Accelerator`` for a run's trackers; ConfigError if a tracker's package is not installed."""
    for name in options.report_to:
        if find_spec(name) is None:
            raise ConfigError(f"--report-to {name} needs the package {name}: pip install {name}")
    if not options.report_to:
        return {}
    logs = str(Path(options.output) / "tensorboard")
    return {"log_with": list(options.report_to), "project_config": ProjectConfiguration(options.output, logs)}


class Trackers:
    """The trackers of a run, if any, used by its main process only; ``first_step`` is the number of completed steps.
    ConfigError if a tracker can't start, such as wandb without a login."""

    def __init__(self, accelerator, options, first_step=0):
        self.accelerator = accelerator
        output = Path(options.output).resolve()
        run = f"{output.name}-{hashlib.sha1(str(output).encode(), usedforsecurity=False).hexdigest()[:6]}"
        settings = {
            "tensorboard": {"purge_step": first_step + 1},  # hides what was logged after the checkpoint
            "trackio": {"name": run, "resume": "allow", "embed": False},
            "wandb": {"name": run, "id": run, "resume": "allow", "dir": str(output)},
        }
        values = options.model_dump(mode="json", exclude_none=True)
        values = {name: value if isinstance(value, (int, float, str)) else str(value) for name, value in values.items()}
        try:
            accelerator.init_trackers(PROJECT, values, {name: settings[name] for name in options.report_to})
        except Exception as error:  # each tracker raises other errors
            accelerator.trackers = []
            raise ConfigError(f"--report-to {','.join(options.report_to)} can't start: {first_line(error)}.") from error

    def log(self, values, step):
        """Log numbers by name."""
        self.accelerator.log(values, step=step)

    def picture(self, name, path, step):
        """Log a picture file."""
        if not self.accelerator.trackers:
            return
        with open_image(path) as file:
            picture = file.convert("RGB")
        for tracker in self.accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({name: np.asarray(picture)[None]}, step, dataformats="NHWC")
            elif tracker.name == "wandb":
                tracker.log_images({name: [picture]}, step)
            else:
                import trackio

                tracker.log({name: trackio.Image(picture)}, step)

    def close(self):
        """Finish the runs."""
        for tracker in self.accelerator.trackers:
            with suppress(OSError):  # on a full disk the run has already failed with an error
                tracker.finish()
        self.accelerator.trackers = []
