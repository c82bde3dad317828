"""A contact sheet of a few photos before a long run: each without and with its mask, or why it has none."""

import io
import itertools
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskhub.data.folder import chosen_few
from maskhub.errors import MaskHubError
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.image_file import side_by_side

__all__ = ["masked_pictures", "paired_pictures", "preview"]

HIGH, GAP, LINES = 200, 8, 4
"""Height of a picture, space around it and lines of text below it."""
ACROSS = 4
UNITS, PER_UNIT = 4, 64
"""Of a streamed dataset at most this many units are opened, and this many rows of each are read."""


def preview(rows, pictures, count, seed=0):
    """Process ``count`` photos, drawn at random by ``seed``; returns a sheet of them (``PIL.Image``), the number of
    processed photos, and how many of these failed. ``pictures`` is a function of a row → (before, after, words) for
    each pair of ``PIL.Image`` s to show; ``rows`` are those of :func:`~maskhub.data.rows.open_rows`."""
    tiles, processed, failed = [], 0, 0
    for row in _some(rows, count, seed):
        processed += 1
        try:
            tiles += [_tile(before, after, f"{row.name}\n{words}") for before, after, words in pictures(row)]
        except MaskHubError as error:
            failed += 1
            tiles.append(_tile(*_failed(row), f"{row.name}\n{error}"))
    return _sheet(tiles), processed, failed


def masked_pictures(mask, own, row):
    """For :func:`preview`: the photo and the masked one, by a function (pixels, name, own=None) →
    :class:`~maskhub.data.masked.Masked`, and with ``own`` of :func:`~maskhub.data.column_boxes.open_own_boxes`."""
    from maskhub.data.own_boxes import faces_in

    before = split_alpha(open_photo(row.open()))[0]
    pixels = np.asarray(before)
    faces = faces_in(pixels, own.of(row, before.width, before.height)) if own else None
    masked = mask(pixels, row.name, own=faces)
    worn = [face for face in masked.faces if face["style"]]
    words = [", ".join(filter(None, (face["style"], face["colour"], face["worn"], _rated(face)))) for face in worn]
    return [(before, Image.fromarray(masked.image), "; ".join(words) or "no face masked")]


def paired_pictures(work, row):
    """For :func:`preview`: the pairs of a row; ``work`` is :func:`~maskhub.data.pairs.make_pairs` with its options."""
    out = []
    for pair in work(row)[1]:
        pictures = [open_photo(io.BytesIO(pair[key]["bytes"])) for key in ("unmasked", "masked")]
        words = zip(pair["style"], pair["colour"], pair["worn"], strict=True)
        out.append((*pictures, "; ".join(", ".join(face) for face in words if face[0])))
    return out


def _rated(face):
    return "" if face["quality"] is None else f"quality {face['quality']:.2f}"


def _some(rows, count, seed):
    """``count`` rows, drawn at random; of a streamed source, from a few units."""
    if rows.folder is not None:
        chosen = {rows.names[place] for place in chosen_few([f"{seed} {name}" for name in rows.names], count)}
        return (row for row in rows if row.name in chosen)
    rng = np.random.default_rng(seed)
    units = list(rows.units())
    units = [units[place] for place in rng.permutation(len(units))[:UNITS]]
    read = [list(itertools.islice(rows.read(unit), max(PER_UNIT, count))) for unit in units]
    every = [row for part in read for row in part]
    return [every[place] for place in sorted(rng.permutation(len(every))[:count])]


def _failed(row):
    try:
        before = split_alpha(open_photo(row.open()))[0]
    except MaskHubError:
        before = Image.new("RGB", (HIGH, HIGH), (200, 200, 200))
    return before, None


def _tile(before, after, words):
    pictures = side_by_side([_scaled(picture) for picture in (before, after) if picture is not None], gap=2)
    font, width = ImageFont.load_default(13), max(pictures.width, HIGH)
    tile = Image.new("RGB", (width, HIGH + 18 * LINES), "white")
    tile.paste(pictures)
    draw = ImageDraw.Draw(tile)
    lines = [line for text in words.split("\n") for line in _wrapped(text, width, partial(draw.textlength, font=font))]
    for number, line in enumerate(lines[:LINES]):
        draw.text((0, HIGH + 18 * number), line, "black" if after is not None or number == 0 else (176, 32, 32), font)
    return tile


def _wrapped(text, width, length):
    """The lines of a text that are at most ``width`` pixels wide; a longer word is a line of its own."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines[-1:] = [longer] if length(longer) <= width or not lines[-1] else [lines[-1], word]
    return lines


def _scaled(picture):
    picture = picture.convert("RGB")
    width = max(1, min(round(picture.width * HIGH / picture.height), 2 * HIGH))
    return picture.resize((width, HIGH), Image.Resampling.LANCZOS)


def _sheet(tiles):
    """The tiles in lines of :data:`ACROSS`."""
    lines = [side_by_side(tiles[start : start + ACROSS], GAP) for start in range(0, len(tiles), ACROSS)]
    high = HIGH + 18 * LINES + GAP
    width = max((line.width for line in lines), default=HIGH)
    sheet = Image.new("RGB", (width + 2 * GAP, high * len(lines) + GAP), "white")
    for number, line in enumerate(lines):
        sheet.paste(line, (GAP, GAP + number * high))
    return sheet
