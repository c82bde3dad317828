"""The model that the app runs: ``MASKHUB_MODEL`` (a folder or a Hub id), or the checkpoint that comes with maskhub."""

import os
from pathlib import Path

import diffusers
import torch

from maskhub.errors import CheckpointError
from maskhub.pipelines.face_mask import FaceMaskPipeline

__all__ = ["load"]


def load():
    """The pipeline, on the GPU where there is one.

    Raises:
        CheckpointError: ``MASKHUB_MODEL`` names no pipeline, or no checkpoint came with this copy of maskhub.
    """
    name = os.environ.get("MASKHUB_MODEL", "").strip()
    diffusers.utils.logging.disable_progress_bar()
    try:
        pipe = _from(name) if name else FaceMaskPipeline.bundled()
    except CheckpointError as error:
        remedy = "Set MASKHUB_MODEL to a pipeline's folder or Hub id"
        raise CheckpointError(f"{error} {remedy}{', or leave it empty.' if name else '.'}") from error
    return pipe.to("cuda") if torch.cuda.is_available() else pipe


def _from(name):
    if name.count("/") != 1 and not Path(name).is_dir():
        raise CheckpointError(f"there is no folder {name}.")
    try:
        return FaceMaskPipeline.from_pretrained(name)
    except CheckpointError:
        # a folder to download from may hold the half-precision weights alone, as the bundled one does
        if not any(Path(name).glob("*/*.fp16.safetensors")):
            raise
        return FaceMaskPipeline.from_pretrained(name, variant="fp16", torch_dtype=torch.float32)
