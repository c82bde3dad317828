"""All tasks by name; ``train_scripts/train_<name>.py`` trains each of them."""

from importlib import import_module

__all__ = ["TASKS", "task_class"]

TASKS = {
    "cyclegan": "CycleGAN",
    "simgan": "SimGAN",
    "pix2pix": "Pix2Pix",
    "attentiongan": "AttentionGAN",
    "unmasker": "Unmasker",
    "reimaging": "Reimaging",
    "classifier": "Classifier",
    "mask_detector": "MaskDetection",
}
"""Module of :mod:`maskhub.training` → name of the :class:`~maskhub.training.task.Task` in it."""


def task_class(name):
    """The task called ``name``, as a class."""
    return getattr(import_module(f"maskhub.training.{name}"), TASKS[name])
