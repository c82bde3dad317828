"""The built-in portraits: photos of adults who agreed to their publication, to try everything without a download.

    builtin:portraits[/masked][:train|:test|:all]

161 aligned photos of 256×256 pixels from the Face Research Lab London Set (CC BY 4.0, see ``portraits/README.md``).
``/masked``: the same people, each with a mask that is drawn by rule when the photo is read, the same one each time.
``:test`` is the held-out tenth of :func:`~maskhub.data.folder.is_held_out`, ``:train`` the other photos; default: all.

    for portrait in portraits("builtin:portraits/masked:test"):
        portrait.image, portrait.columns
"""

import csv
import functools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskhub.data.folder import is_held_out
from maskhub.data.masked import seed_of
from maskhub.data.photo_file import encode_photo
from maskhub.data.tables import METADATA, write_imagefolder
from maskhub.errors import SourceError
from maskhub.faces.photo import open_photo
from maskhub.files import prepare_copy, prepare_file
from maskhub.masks.styles import STYLES
from maskhub.masks.wear import wear

__all__ = ["FOLDER", "NAME", "Portrait", "are_portraits", "masked_portrait", "portraits", "write_portraits"]

NAME = "builtin:portraits"
FOLDER = Path(__file__).parent / "portraits"
"""Folder of the photos, an imagefolder with ``metadata.csv``, ``pairs.csv`` and ``README.md`` (attribution)."""
ATTRIBUTION = "README.md"


@dataclass(frozen=True)
class Portrait:
    """One photo: its file ``name``, and its metadata in ``columns``: ``person``, ``yaw`` and ``roll`` (text, degrees),
    and ``mask``, the style or ``none``."""

    name: str
    columns: dict

    @property
    def path(self):
        """The file of the photo without a mask."""
        return FOLDER / self.name

    @property
    def masked(self):
        """Whether a mask is drawn on it."""
        return self.columns["mask"] != "none"

    @property
    def image(self):
        """RGB ``PIL.Image``."""
        return masked_portrait(self.name) if self.masked else open_photo(self.path)


def are_portraits(spec):
    """Whether a spec names the portraits, with correct options or not."""
    return re.match(rf"{NAME}(?![\w-])", str(spec)) is not None


@functools.lru_cache(maxsize=8)
def portraits(spec=NAME):
    """The photos that a spec names, as a tuple of :class:`Portrait` sorted by name; SourceError for an unknown spec."""
    match = re.fullmatch(rf"{NAME}(/masked)?(?::(train|test|all))?", str(spec))
    if match is None:
        raise SourceError(f"there is no source {spec}: the portraits are {NAME}[/masked][:train|:test|:all].")
    split = match[2] or "all"
    with open(FOLDER / METADATA[0], newline="", encoding="utf-8") as lines:
        rows = {row.pop("file_name"): row for row in csv.DictReader(lines)}
    return tuple(
        Portrait(name, columns | {"mask": _style(name) if match[1] else "none"})
        for name, columns in rows.items()
        if split == "all" or is_held_out(name) == (split == "test")
    )


def _style(name):
    return tuple(STYLES)[seed_of("style", name) % len(STYLES)]


def masked_portrait(name):
    """The photo of this file name in its mask, RGB ``PIL.Image``."""
    return Image.fromarray(_masked(name))


@functools.lru_cache(maxsize=256)  # all of them: 32 MB
def _masked(name):
    return wear(np.asarray(open_photo(FOLDER / name)), style=_style(name), seed=seed_of("mask", name)).image


def write_portraits(spec, folder):
    """Write the photos of a spec as an imagefolder with their attribution; returns how many."""
    folder, chosen = Path(folder), portraits(spec)

    def files():
        yield prepare_copy(FOLDER / ATTRIBUTION, folder / ATTRIBUTION)
        for portrait in chosen:
            target = folder / portrait.name
            if portrait.masked:
                yield prepare_file(target, encode_photo(portrait.image, target))
            else:
                yield prepare_copy(portrait.path, target)

    write_imagefolder(folder, [{"file_name": portrait.name, **portrait.columns} for portrait in chosen], files())
    return len(chosen)
