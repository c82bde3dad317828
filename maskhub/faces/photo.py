"""Opening photos: whatever a person brings becomes an upright 8-bit RGB picture, or one clear error.

Orientation tags are applied, every mode (CMYK, 16-bit, palette, greyscale) is turned to RGB, the first frame of an
animation is taken, and transparency is returned apart so that a pipeline can put it back on its result.
"""

import os
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from maskhub.errors import PhotoError

__all__ = ["MAX_PIXELS", "MIN_SIDE", "PHOTO_SUFFIXES", "open_photo", "rgb_profile", "split_alpha"]

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
MAX_PIXELS = 120_000_000
"""The largest photo that is decoded, in pixels: above every camera's, below what fills a small machine's memory."""
MIN_SIDE = 16
"""The smallest side in pixels: below it no face can be seen."""


def open_photo(source):
    """Read a photo.

    Args:
        source: a path, a file object, a ``PIL.Image`` of any mode, or a uint8 array H×W, H×W×3 or H×W×4.

    Returns:
        ``PIL.Image`` of mode RGB, or RGBA where the source has transparency; turned by its EXIF tag.

    Raises:
        PhotoError: not a picture, cut short, too small, or more than :data:`MAX_PIXELS`.
    """
    name = _name(source)
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        image, opened = source, False
    else:
        image, opened = _open(source, name), True
    try:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise PhotoError(
                f"{name} is {width}×{height}: over the limit of "
                f"{MAX_PIXELS // 1_000_000} megapixels. Scale it down first."
            )
        if min(width, height) < MIN_SIDE:
            raise PhotoError(
                f"{name} is {width}×{height}: too small to hold a face (at least {MIN_SIDE} pixels a side)."
            )
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise PhotoError(f"{name} is damaged or cut short ({error}). Copy or export it again.") from error
    finally:
        if opened:
            image.close()


def split_alpha(photo):
    """Part an RGB or RGBA picture into its RGB picture and its alpha band (``None`` where it has none)."""
    if photo.mode == "RGBA":
        return photo.convert("RGB"), photo.getchannel("A")
    return photo, None


def rgb_profile(image):
    """A picture's colour profile, where it holds for RGB: one of CMYK or grey says nothing about what was made of them.

    Returns:
        bytes, or None.
    """
    profile = image.info.get("icc_profile")
    return profile if profile and profile[16:20] == b"RGB " else None


def _name(source):
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return getattr(source, "filename", None) or getattr(source, "name", None) or "the photo"


def _from_array(array):
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise PhotoError(
            f"an array photo must be uint8 of shape H×W, H×W×3 or H×W×4, not {array.dtype} of shape {array.shape}."
        )
    return Image.fromarray(array)


def _open(source, name):
    try:
        with warnings.catch_warnings():
            # our own limit speaks below, before any pixel is decoded
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(source)
    except FileNotFoundError as error:
        raise PhotoError(f"there is no file {name}.") from error
    except IsADirectoryError as error:
        raise PhotoError(f"{name} is a folder, not a photo.") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"{name} is over the limit of {MAX_PIXELS // 1_000_000} megapixels. Scale it down first."
        ) from error
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name} is not a picture that can be read (JPEG, PNG, WebP, BMP, TIFF or GIF).") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise PhotoError(f"{name} can't be read as a picture ({error}).") from error


def _to_rgb(image):
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        # Pillow clips these at 255 when it converts: scale 16-bit greyscale by its full range instead
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("some of its pixels are not numbers")
        full = 255.0 if values.max(initial=0) <= 255 else 65535.0
        image = Image.fromarray((values.clip(0, full) * (255.0 / full)).round().astype(np.uint8))
    if image.mode in ("LA", "La", "PA", "RGBa", "RGBA") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")
