"""Small labelled photos in memory, to train on, browse and filter.

faces = LabelledPhotos.open("builtin:pixel-faces")
faces.where({"tone": "light"}).images        # uint8 N×32×32×3
faces.values("hair_style")                   # ["balding", "bob", ...]
"""

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from maskhub.data.folder import chosen_few, is_held_out
from maskhub.data.hub_source import nameless
from maskhub.data.pixel_faces import pixel_faces
from maskhub.data.portraits import are_portraits
from maskhub.data.rows import open_rows
from maskhub.errors import ConfigError, PhotoError, SourceError
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.image_file import middle_square
from maskhub.tensors import to_tensor

__all__ = ["LabelledPhotos", "parse_attributes", "split_attributes"]

MAX_BYTES = 2**31
"""Maximum memory for the pixels of a source."""


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos of one size with their columns: ``images``, uint8 N×R×R×3; their file ``names``; the other ``columns`` of
    each as a dict of strings; and the ``spec`` of their sources."""

    images: np.ndarray
    names: list
    columns: list
    spec: str

    @classmethod
    def open(cls, specs, resolution=32, holdout=False, limit=0):
        """Read all photos of one source or of several. SourceError if there is no such source, no readable photo in it,
        or there are too many photos for the memory.

        Args:
            specs: a folder (with ``metadata.csv``, or sub-folders as labels), a dataset on the Hub, or a built-in one;
                or a list of them.
            resolution: R in pixels; the centre square of each photo is scaled to it.
            holdout: leave out the photos of :func:`~maskhub.data.folder.is_held_out`.
            limit: keep at most this many photos of each source, chosen by their names; 0: all.
        """
        specs = [specs] if isinstance(specs, str) else list(specs)
        images, names, columns = [], [], []
        for spec in specs:
            first = len(names)
            for name, photo, known in _read(spec, holdout):
                if len(images) * 3 * resolution**2 > MAX_BYTES:
                    raise SourceError(f"{spec} has over {len(images):,} photos: too many to keep in memory.")
                images.append(_square(photo, resolution))
                names.append(name)
                columns.append(known)
            if limit:
                few = [first + place for place in chosen_few(names[first:], limit)]
                for values in (images, names, columns):
                    values[first:] = [values[place] for place in few]
        if not images:
            raise SourceError(f"no photo of {' '.join(specs)} can be trained on.")
        return cls(np.stack(images), names, columns, " ".join(specs))

    def __len__(self):
        return len(self.names)

    def where(self, attributes):
        """The photos whose columns have these values. If there are none, a SourceError lists the existing values."""
        places = [n for n, known in enumerate(self.columns) if all(known.get(k) == v for k, v in attributes.items())]
        if not places:
            wanted = ", ".join(f"{key}={value}" for key, value in attributes.items())
            there = "; ".join(f"{key}: {', '.join(self.values(key)) or 'no such column'}" for key in attributes)
            raise SourceError(f"no photo of {self.spec} has {wanted} ({there}).")
        return self.take(places)

    def take(self, places):
        """The photos at these indices, in this order."""
        return LabelledPhotos(
            self.images[places], [self.names[n] for n in places], [self.columns[n] for n in places], self.spec
        )

    def values(self, column):
        """The distinct values of a column, sorted."""
        return sorted({known[column] for known in self.columns if known.get(column) not in (None, "")})

    def fingerprint(self):
        """A hash of all pixels in order, with which a resumed run checks its photos."""
        return hashlib.blake2b(np.ascontiguousarray(self.images), digest_size=16).hexdigest()

    def tensor(self, places=slice(None)):
        """Some of the photos as float32 N×3×R×R in [-1, 1]."""
        return to_tensor(self.images[places])

    def labels(self, column, values):
        """The index in ``values`` of each photo's value, int64 N; SourceError if a photo has another value or none."""
        index = {value: number for number, value in enumerate(values)}
        for name, known in zip(self.names, self.columns, strict=True):
            if known.get(column) not in index:
                has = f"{column}={known[column]}" if known.get(column) else f"no {column}"
                raise SourceError(f"{name} of {self.spec} has {has}; it must be one of {', '.join(values)}.")
        return torch.tensor([index[known[column]] for known in self.columns])


def parse_attributes(texts):
    """``["tone=light", "eyes=round"]`` as a dict; values may contain "=". ConfigError for a text of another form."""
    attributes = {}
    for text in texts:
        column, _, value = (part.strip() for part in text.partition("="))
        if not column or not value:
            raise ConfigError(f"an attribute must be column=value, such as tone=light, not {text!r}.")
        attributes[column] = value
    return attributes


def split_attributes(text):
    """``"tone=light, place=Dayton, OH"`` as a dict; values may contain commas. ConfigError for another form."""
    parts = []
    for part in text.split(","):
        if "=" in part or not parts:
            parts.append(part)
        elif part.strip():
            parts[-1] += f",{part}"
    return parse_attributes([part for part in parts if part.strip()])


def _read(spec, holdout):
    """``(name, RGB photo, columns)`` of each photo that can be read, without the held-out ones if ``holdout``."""
    if spec.startswith("builtin:") and not are_portraits(spec):
        faces = (face for face in pixel_faces(spec) if not (holdout and is_held_out(face.name)))
        yield from ((face.name, face.image, face.columns) for face in faces)
        return
    for row in open_rows(spec):
        if holdout and row.original is None:
            raise nameless(spec, "train without --holdout, or on a split that leaves it out")
        if holdout and row.held_out:
            continue
        try:
            photo = split_alpha(open_photo(row.open()))[0]
        except PhotoError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
            continue
        yield row.name, photo, {key: str(value) for key, value in row.columns.items() if value is not None}


def _square(photo, resolution):
    side = min(photo.size)
    if photo.size != (resolution, resolution):
        # restores the exact pixels of magnified pixel art
        exact = side % resolution == 0 and _magnified(np.asarray(photo), side // resolution)
        how = Image.Resampling.NEAREST if exact else Image.Resampling.BICUBIC
        photo = photo.resize((resolution, resolution), how, box=middle_square(*photo.size))
    return np.asarray(photo)


def _magnified(pixels, factor):
    height, width = pixels.shape[:2]
    if height != width or factor < 2:
        return False
    blocks = pixels.reshape(height // factor, factor, width // factor, factor, -1)
    return bool((blocks == blocks[:, :1, :, :1]).all())
