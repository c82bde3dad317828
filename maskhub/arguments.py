"""Check the arguments of public functions: a one-line error, before anything is computed from a bad one."""

import numpy as np

from maskhub.errors import ConfigError, PhotoError

__all__ = ["check_crops", "check_pixels", "check_whole"]


def check_whole(what, value, low, high=None):
    """Raise :class:`ConfigError` unless a value is a whole number, of Python or NumPy, within two bounds; by default
    the upper one is that of a seed."""
    whole, limit = isinstance(value, (int, np.integer)), 2**64 - 1 if high is None else high
    if not whole or not low <= value <= limit:
        end = f" to {limit}" if high is not None or (whole and value > limit) else ""
        raise ConfigError(f"{what} is {value!r}; it must be a whole number from {low}{end}.")


def check_pixels(photo):
    """Raise :class:`PhotoError` unless a photo is a uint8 RGB array H×W×3."""
    if not isinstance(photo, np.ndarray):
        found = type(photo).__name__
    elif photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        found = f"{photo.dtype} of shape {photo.shape}"
    else:
        return
    raise PhotoError(f"the photo must be a uint8 array of shape H×W×3 (RGB), not {found}.")


def check_crops(crops):
    """Raise :class:`PhotoError` unless all crops are uint8 arrays R×R×3, each of its own R."""
    for crop in crops:
        if not isinstance(crop, np.ndarray) or crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3:
            raise PhotoError("a crop must be a uint8 array of shape R×R×3 (RGB).")
        if crop.shape[0] != crop.shape[1]:
            raise PhotoError(f"a crop must be square, not {crop.shape[1]}×{crop.shape[0]}.")
