"""Load pipelines and devices by their option values."""

from maskhub.errors import ConfigError

__all__ = ["best_device", "load_pipeline"]


def load_pipeline(model, device, backend="torch"):
    """Load the pipeline named on a command line; None is the bundled one.

    Args:
        model: folder or Hub id.
        device: as in :func:`best_device`.
        backend: as in :meth:`FaceMaskPipeline.from_pretrained <maskhub.pipelines.face_mask.FaceMaskPipeline>`.

    Raises:
        CheckpointError: no such pipeline. ConfigError: no such device.
    """
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

    Raises:
        ConfigError: this machine has no such device.
    """
    import torch

    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    there = [name for name, count in counts.items() if count]
    kind, _, number = device.partition(":")
    if device == "auto":
        return there[0]
    if kind not in there or (number and not (number.isdecimal() and int(number) < counts[kind])):
        raise ConfigError(f"there is no device {device!r} here. Use auto or {' or '.join(there)}.")
    return device
