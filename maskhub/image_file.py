"""The one place where picture files are opened: six formats, none of which starts another program.

Pillow goes by a file's content, not by its name. Left to itself it would hand an EPS named ``photo.png`` to
Ghostscript, an interpreter of programs.
"""

import warnings

from PIL import Image, PngImagePlugin

__all__ = ["FORMATS", "open_image"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow's names of the formats that are read."""

# a PNG's text, XMP and colour profile: Pillow's 1 MB refuses the prompts and edit histories that some programs write
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def open_image(source):
    """``PIL.Image.open`` for :data:`FORMATS`, from a path or file object; nothing is decoded yet.

    Raises:
        PIL.UnidentifiedImageError: another format; other errors as Pillow's.
    """
    with warnings.catch_warnings():
        # callers compare the size with their own limit before they decode; twice this warning's size is an error
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(source, formats=FORMATS)
