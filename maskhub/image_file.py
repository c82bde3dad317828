"""The only place where pictures are opened and encoded: a few formats, none of which starts another program.

Pillow detects the format from a file's content, not its name. By default it would pass an EPS named ``photo.png`` to
Ghostscript, which interprets programs. HEIC and HEIF, the photos of phones, need the package pillow-heif; Pillow's
wheels read AVIF, builds from source may not.
"""

import base64
import io
import os
import warnings

from PIL import Image, PngImagePlugin, UnidentifiedImageError, features

from maskhub.errors import PhotoError
from maskhub.extras import installed

__all__ = ["FORMATS", "KINDS", "data_url", "encoded", "middle_square", "name_of", "open_image", "side_by_side"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP", *(["AVIF"] if features.check("avif") else []))
"""Pillow's names of the accepted formats, without HEIF."""
KINDS = "JPEG, PNG, WebP, HEIC, AVIF, BMP, TIFF or GIF"
"""The accepted formats in words."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# limit for a PNG's text, XMP and colour profile: Pillow's 1 MB rejects the prompts and edit histories of some programs
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def open_image(source):
    """``PIL.Image.open`` for :data:`FORMATS` and HEIF, from a path or file object; nothing is decoded yet. Errors are
    Pillow's, or PhotoError for a HEIC or AVIF photo whose codec is not installed."""
    with warnings.catch_warnings():
        # callers check the size against their own limit before decoding; at twice this limit Pillow raises an error
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return Image.open(source, formats=FORMATS)
        except UnidentifiedImageError:
            brand = _brand(source)
            if brand == b"avif" and "AVIF" not in FORMATS:
                raise PhotoError(
                    f"{name_of(source)} is an AVIF photo, which this build of Pillow can't read: "
                    "pip install --force-reinstall --only-binary pillow 'pillow>=12,<13'."
                ) from None
            if brand not in _HEIF_BRANDS:
                raise
            if not installed("pillow_heif"):
                raise PhotoError(
                    f"{name_of(source)} is a HEIC photo: pip install 'maskhub[heif]' to read it, or save it as JPEG."
                ) from None
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
        return Image.open(source, formats=("HEIF",))


def encoded(image, kind="PNG", **options):
    """A ``PIL.Image`` as the bytes of a file; ``options`` are Pillow's for this format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def data_url(data, kind="jpeg"):
    """A ``data:`` URL with the bytes of a picture's file; its MIME type is image/``kind``."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def name_of(source):
    """The name of a path, file object or ``PIL.Image`` in error messages."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return getattr(source, "filename", None) or getattr(source, "name", None) or "the photo"


def middle_square(width, height):
    """Left, top, right and bottom of the largest square in the middle of a picture of this size in pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def side_by_side(pictures, gap=0):
    """RGB pictures next to each other, as one ``PIL.Image``; white between them, and below those that are smaller."""
    width, height = sum(picture.width + gap for picture in pictures) - gap, max(one.height for one in pictures)
    strip, left = Image.new("RGB", (width, height), "white"), 0
    for picture in pictures:
        strip.paste(picture, (left, 0))
        left += picture.width + gap
    return strip


def _brand(source):
    """The brand of a file in the family of HEIF and MP4, or None."""
    if hasattr(source, "read"):
        source.seek(0)
        start = source.read(12)
        source.seek(0)
    else:
        with open(source, "rb") as file:
            start = file.read(12)
    return start[8:12] if start[4:8] == b"ftyp" else None
