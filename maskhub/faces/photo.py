"""Open photos: any input becomes an upright 8-bit RGB picture, or one clear error.

Orientation tags are applied, every mode (CMYK, 16-bit, palette, greyscale) is converted to RGB, and only the first
frame of an animation is used. Transparency is returned separately, so that a pipeline can restore it on its result.
"""

import os
import stat
from contextlib import suppress

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError

from maskhub.errors import PhotoError, first_line
from maskhub.image_file import KINDS, name_of, open_image

__all__ = [
    "JPEG", "MAX_PIXELS", "MIN_SIDE", "OTHER_PICTURES", "PHOTO_SUFFIXES", "kept_info", "open_photo", "orientation",
    "rgb_profile", "split_alpha", "to_rgb",
]  # fmt: skip

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
        *(".heic", ".heif", ".hif", ".avif", ".avifs"),
    }
)
"""The suffixes of photos that can be read: all that Pillow has for :data:`~maskhub.image_file.FORMATS`, and HEIF."""
OTHER_PICTURES = frozenset(
    {
        # Pillow takes 2 to 4 seconds per megapixel for some files of the first two rows, minutes for MAX_PIXELS
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".pbm", ".pgm", ".ppm", ".pnm"),
        *(".jxl", ".psd", ".tga", ".pcx", ".qoi"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    }
)
"""The suffixes of photos that are not read, and so reported."""
JPEG = "jpeg"
"""Key in ``info`` of a photo that was a JPEG: its quantization tables and chroma subsampling, as options of Pillow."""
MAX_PIXELS = 120_000_000
"""The largest photo that is decoded, in pixels: more than any camera's, less than fills a small machine's memory."""
MIN_SIDE = 16
"""The smallest side in pixels; below it no face can be detected."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → the transpose that makes the picture upright."""
_ORIENTED = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
"""Pillow's names of metadata that may hold the orientation, which is wrong once the pixels are turned."""


def open_photo(source):
    """Read a photo.

    Args:
        source: a path, a file object, a ``PIL.Image`` of any mode, or a uint8 array H×W, H×W×3 or H×W×4.

    Returns:
        ``PIL.Image`` of mode RGB, or RGBA if the source has transparency; turned by its EXIF tag.

    Raises:
        PhotoError: not a picture, truncated, too small, or more than :data:`MAX_PIXELS`.
    """
    name = name_of(source)
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
            jpeg = _jpeg_settings(image)
            photo = to_rgb(_upright(image))
            photo.info |= {JPEG: jpeg} if jpeg else {}
            return photo
        except Exception as error:  # decoders raise all kinds of errors on broken files
            reason = first_line(error)
            raise PhotoError(f"{name} is damaged or cut short ({reason}). Copy or export it again.") from error
    finally:
        if opened:
            image.close()


def split_alpha(photo):
    """Split an RGB or RGBA picture into its RGB picture and its alpha band (``None`` if it has none)."""
    if photo.mode == "RGBA":
        return photo.convert("RGB"), photo.getchannel("A")
    return photo, None


def rgb_profile(image):
    """A picture's colour profile (bytes) if it is one for RGB, else None: others do not apply after conversion."""
    profile = image.info.get("icc_profile")
    return profile if profile and profile[16:20] == b"RGB " else None


def kept_info(photo):
    """The entries of a photo's ``info`` that its result takes over: RGB profile, and the settings of a JPEG."""
    kept = {"icc_profile": rgb_profile(photo), JPEG: photo.info.get(JPEG)}
    return {name: value for name, value in kept.items() if value}


def orientation(image):
    """A picture's EXIF orientation; 1, upright, without a readable tag."""
    with suppress(Exception):  # metadata may be malformed in many ways
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1


def _jpeg_settings(image):
    """``qtables`` and ``subsampling`` with which a JPEG can be saved at its own quality, or None for other pictures."""
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    return {"qtables": image.quantization, "subsampling": max(JpegImagePlugin.get_sampling(image), 0)}


def _from_array(array):
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise PhotoError(
            f"an array photo must be uint8 of shape H×W, H×W×3 or H×W×4, not {array.dtype} of shape {array.shape}."
        )
    return Image.fromarray(array)


def _open(source, name):
    if not isinstance(source, (str, os.PathLike)) and not hasattr(source, "read"):
        kind = type(source).__name__
        raise PhotoError(f"a photo must be a path, a file object, a PIL picture or a uint8 array, not {kind}.")
    try:
        if isinstance(source, (str, os.PathLike)) and not stat.S_ISREG(os.stat(source).st_mode):
            what = "a folder" if os.path.isdir(source) else "a device or pipe"  # reading one may never end
            raise PhotoError(f"{name} is {what}, not a photo.")
        return open_image(source)
    except PhotoError:
        raise
    except FileNotFoundError as error:
        raise PhotoError(f"there is no file {name}.") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"{name} is over the limit of {MAX_PIXELS // 1_000_000} megapixels. Scale it down first."
        ) from error
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name} is not a picture that can be read ({KINDS}).") from error
    except Exception as error:  # as above
        raise PhotoError(f"{name} can't be read as a picture ({first_line(error)}).") from error


def _upright(image):
    """The picture turned by its orientation tag, with the tag removed.

    ``ImageOps.exif_transpose`` is not used because it rewrites all tags and fails if any of them is malformed.
    """
    turn = _TURNS.get(orientation(image))
    if turn is None:
        return image
    image = image.transpose(turn)
    image.info = {key: value for key, value in image.info.items() if key not in _ORIENTED}
    return image


def to_rgb(image):
    """A ``PIL.Image`` of any mode in RGB, or RGBA if it has transparency; 16-bit greyscale by its full range."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        # Pillow clips these at 255 when converting
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("some of its pixels are not numbers")
        full = 255.0 if values.max(initial=0) <= 255 else 65535.0
        image = Image.fromarray((values.clip(0, full) * (255.0 / full)).round().astype(np.uint8))
    if image.mode in ("LA", "La", "PA", "RGBa", "RGBA") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")
