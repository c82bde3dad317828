"""The only place where picture files are opened: six formats, none of which starts another program.

Pillow detects the format from a file's content, not its name. By default it would pass an EPS named ``photo.png`` to
Ghostscript, which interprets programs.
"""

import warnings

from PIL import Image, PngImagePlugin

__all__ = ["FORMATS", "open_image"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow's names of the accepted formats."""

# limit for a PNG's text, XMP and colour profile: Pillow's 1 MB rejects the prompts and edit histories of some programs
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def open_image(source):
    """``PIL.Image.open`` for :data:`FORMATS`, from a path or file object; nothing is decoded yet.

    Raises:
        PIL.UnidentifiedImageError: another format; other errors as Pillow's.
    """
    with warnings.catch_warnings():
        # callers check the size against their own limit before decoding; at twice this limit Pillow raises an error
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(source, formats=FORMATS)
