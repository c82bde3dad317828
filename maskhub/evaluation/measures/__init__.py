"""The measures: each is one file here, with its ``Options`` and ``measure(options) -> Report``, and one line below."""

import importlib

__all__ = ["MEASURES", "load"]

MEASURES = {
    "quality": "Are generated pictures, as a set, like real ones? Fréchet and kernel distance.",
    "pairs": "How near does each generated picture come to the true one? PSNR, SSIM, LPIPS, identity.",
    "recognition": "Are people still told apart, masked and with the mask taken off?",
    "detection": "Do face detectors still find a face?",
    "cycle": "What is lost there and back?",
    "masks": "Is there a mask where one should be, and none where none should be?",
    "mask-detector": "How often is the mask detector itself right?",
    "survey": "What do people take for real?",
}
"""Name → the question that it answers."""


def load(name):
    """The module of a measure: its ``Options`` and its function ``measure``."""
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
