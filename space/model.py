"""The app's model: ``MASKHUB_MODEL`` (a folder or a Hub id), or the bundled checkpoint.

``MASKHUB_BACKEND`` sets the backend (see :mod:`maskhub.pipelines.backends`); the default is the fastest one.
"""

import os

import torch

from maskhub.errors import CheckpointError
from maskhub.pipelines.load import load_pipeline, preferred
from space.zero import is_zero

__all__ = ["load", "name"]


def name():
    """``MASKHUB_MODEL``; None for the bundled checkpoint."""
    return os.environ.get("MASKHUB_MODEL", "").strip() or None


def load():
    """Load the pipeline, onto the GPU if the app has one of its own. CheckpointError if ``MASKHUB_MODEL`` is not a
    pipeline, or this copy of maskhub has no bundled checkpoint."""
    try:
        pipe = load_pipeline(name(), "cpu", preferred())
    except CheckpointError as error:
        remedy = "Set MASKHUB_MODEL to a pipeline's folder or Hub id"
        raise CheckpointError(f"{error} {remedy}{', or leave it empty.' if name() else '.'}") from error
    return pipe.to("cuda") if torch.cuda.is_available() and not is_zero() else pipe
