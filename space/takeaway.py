"""Downloads: the result in a chosen format, before and after side by side, or a short animation."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskhub.faces.photo import open_photo
from maskhub.provenance import mark, read_provenance
from space import photos

__all__ = ["KINDS", "animation", "is_pair", "side_by_side"]

KINDS = [("As uploaded", "same"), ("PNG", "png"), ("Side by side", "pair"), ("GIF", "gif")]
PAIR, GIF = 1600, 480
"""Longer sides in pixels of each picture side by side, and of the animation."""
GAP, BAND = 12, 40
PAIRED = "before-and-after"
FADE = (0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25)
"""Share of the result in each frame of the animation."""
FRAME = 120
"""Milliseconds of a frame."""


def side_by_side(before, after):
    """A JPEG of both pictures with a line of text each; its path."""
    pictures, tag = _both(before, after, PAIR)
    width, height = pictures[0].size
    out = Image.new("RGB", (2 * width + GAP, height + BAND), "white")
    font, draw = ImageFont.load_default(20), ImageDraw.Draw(out)
    for number, (picture, words) in enumerate(zip(pictures, ("Before", "After, made by maskhub"), strict=True)):
        out.paste(picture, (number * (width + GAP), 0))
        draw.text((number * (width + GAP) + 8, height + 8), words, fill=(40, 40, 40), font=font)
    return photos.save_jpeg(mark(out, tag), before, PAIRED)


def is_pair(file):
    """Whether a file is one of :func:`side_by_side`."""
    return PAIRED in file.rpartition("/")[2]


def animation(before, after):
    """A GIF that fades from the photo to the result and back; its path."""
    pictures, tag = _both(before, after, GIF)
    first, second = (np.asarray(picture, np.float32) for picture in pictures)
    frames = [Image.fromarray(np.rint(first + (second - first) * share).astype(np.uint8)) for share in FADE]
    # one palette for all frames, or it would flicker
    palette = frames[6].quantize(255, dither=Image.Dither.NONE)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    return photos.save_gif(frames, before, "change", FRAME, tag)


def _both(before, after, side):
    """Both pictures, scaled down, and the tag of the second one."""
    pictures = [open_photo(path).convert("RGB") for path in (before, after)]
    for picture in pictures:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return pictures, read_provenance(after)
