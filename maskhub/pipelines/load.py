"""Load pipelines and devices by their option values."""

import os

from maskhub.errors import ConfigError
from maskhub.extras import installed
from maskhub.options import OptionSet

__all__ = ["OnDevice", "best_device", "load_pipeline", "open_pipeline", "preferred"]


class OnDevice(OptionSet):
    """Options of everything that runs networks."""

    device: str = "auto"
    """cpu, cuda, mps, or auto for the best available."""


def preferred():
    """The backend of the app and the command line: ``MASKHUB_BACKEND``, or ``"auto"``."""
    return os.environ.get("MASKHUB_BACKEND", "").strip() or "auto"


def open_pipeline(model, device, single):
    """Load the pipeline named on a command line for one photo (``single``) or for many; arguments and errors as for
    :func:`load_pipeline`.

    For one photo, and where torch is not installed, this is an
    :class:`~maskhub.pipelines.onnx_face_mask.OnnxFaceMaskPipeline`, if the model has ONNX graphs: importing torch takes
    longer than the photo. MissingExtraError if torch is needed.
    """
    backend, has_torch = preferred(), installed("torch")
    if device in ("auto", "cpu") and (not has_torch or (single and backend in ("auto", "onnxruntime"))):
        from maskhub.pipelines.onnx_face_mask import OnnxFaceMaskPipeline

        pipeline = OnnxFaceMaskPipeline.bundled() if model is None else OnnxFaceMaskPipeline.from_pretrained(model)
        if pipeline.complete or not has_torch:
            return pipeline
    # a single photo is not worth measuring the backends
    return load_pipeline(model, device, "torch" if single and backend == "auto" else backend)


def load_pipeline(model, device, backend="torch"):
    """Load the pipeline named on a command line: a folder or Hub id, or None for the bundled one. ``device`` is as in
    :func:`best_device`, ``backend`` as in ``FaceMaskPipeline.use``. CheckpointError if there is no such pipeline."""
    from diffusers.utils import logging

    from maskhub.pipelines.face_mask import FaceMaskPipeline

    logging.disable_progress_bar()
    if model is None:
        pipeline = FaceMaskPipeline.bundled(backend=backend)
    else:
        pipeline = FaceMaskPipeline.from_pretrained(model, backend=backend)
    return pipeline.to(best_device(device))


def best_device(device):
    """The device of a ``--device`` option: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto``: the best one available.
    ConfigError if this machine has no such device."""
    import torch

    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    there = [name for name, count in counts.items() if count]
    kind, colon, number = device.partition(":")
    if device == "auto":
        return there[0]
    if kind not in there or (colon and not (number.isdecimal() and int(number) < counts[kind])):
        raise ConfigError(f"there is no device {device!r} here. Use auto or {' or '.join(there)}.")
    return device
