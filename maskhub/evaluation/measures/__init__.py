"""The measures. Each is a file here with its ``Options`` and ``measure(options) -> Report``, and a line below.

``measure`` raises a ConfigError for options that contradict each other or a set that can't be measured, a SourceError
if photos can't be read, and a CheckpointError if a pipeline or weights are missing.
"""

import importlib

__all__ = ["MEASURES", "load"]

MEASURES = {
    "quality": "Are generated pictures, as a set, like real ones? Fréchet and kernel distance.",
    "pairs": "How close is each generated picture to the true one? PSNR, SSIM, LPIPS, identity.",
    "recognition": "Can people still be recognised, masked and with the mask taken off?",
    "detection": "Do face detectors still find a face?",
    "cycle": "How well does a face survive the round trip?",
    "masks": "Do results have a mask where they should, and none where they shouldn't?",
    "mask-detector": "How accurate is the mask detector itself?",
    "classifier": "Does the classifier choose the right generator, and what misleads it?",
    "survey": "Which pictures do people take for real?",
}
"""Name → the question that it answers."""


def load(name):
    """The module of a measure: its ``Options`` and its function ``measure``."""
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
