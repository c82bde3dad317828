"""The app's model: ``MASKHUB_MODEL`` (a folder or a Hub id), or the bundled checkpoint.

``MASKHUB_BACKEND`` sets the backend (see :mod:`maskhub.pipelines.backends`); the default is the fastest one.
"""

import os
from pathlib import Path

import diffusers
import torch

from maskhub.errors import CheckpointError
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.pipelines.load import preferred
from space.zero import is_zero

__all__ = ["load"]


def load():
    """The pipeline, on the GPU if there is one to keep.

    Raises:
        CheckpointError: ``MASKHUB_MODEL`` is not a pipeline, or this copy of maskhub has no bundled checkpoint.
    """
    name = os.environ.get("MASKHUB_MODEL", "").strip()
    diffusers.utils.logging.disable_progress_bar()
    try:
        pipe = _from(name) if name else FaceMaskPipeline.bundled(backend=preferred())
    except CheckpointError as error:
        remedy = "Set MASKHUB_MODEL to a pipeline's folder or Hub id"
        raise CheckpointError(f"{error} {remedy}{', or leave it empty.' if name else '.'}") from error
    return pipe.to("cuda") if torch.cuda.is_available() and not is_zero() else pipe


def _from(name):
    weights = {path.name for path in Path(name).glob("*/*.safetensors")}
    # a folder may only have half-precision weights, like the bundled one
    half = weights and all(weight.endswith(".fp16.safetensors") for weight in weights)
    return FaceMaskPipeline.from_pretrained(
        name, backend=preferred(), **({"variant": "fp16", "dtype": torch.float32} if half else {})
    )
