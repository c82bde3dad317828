"""The methods by name, each with its options; ``train_scripts/train_<name>.py`` trains it."""

from importlib import import_module

__all__ = ["METHODS", "method"]

METHODS = {
    "cyclegan": ("CycleGAN", "CycleGANConfig"),
    "simgan": ("SimGAN", "SimGANConfig"),
    "pix2pix": ("Pix2Pix", "Pix2PixConfig"),
    "attentiongan": ("AttentionGAN", "AttentionGANConfig"),
    "unmasker": ("Unmasker", "UnmaskerConfig"),
}
"""Module of :mod:`maskhub.training` → names of the :class:`~maskhub.training.method.Method` and of its config."""


def method(name):
    """The method called ``name`` and its config, as two classes."""
    module = import_module(f"maskhub.training.{name}")
    return tuple(getattr(module, kind) for kind in METHODS[name])
