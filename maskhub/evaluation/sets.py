"""Sets of pictures for measures, streamed with names and columns; unreadable pictures are listed."""

import itertools
import re
import zlib
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from maskhub.data.hub_source import nameless
from maskhub.data.rows import open_rows
from maskhub.errors import ConfigError, MaskHubError, SourceError
from maskhub.evaluation.gallery import Failures
from maskhub.evaluation.groups import Bins
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import posed_mean_face
from maskhub.faces.photo import open_photo, split_alpha

__all__ = ["Picture", "PictureSet", "batches", "picture_seed", "translator"]

BATCH = 16
YAW = "yaw"
"""Column of degrees that is measured, by the detector's five points on the largest face, where a photo has no value."""


@dataclass(frozen=True)
class Picture:
    """One picture of a set: uint8 RGB H×W×3, with the other columns, and whether it is in the held-out tenth."""

    name: str
    pixels: np.ndarray
    columns: dict
    held_out: bool


def picture_seed(picture):
    """A seed for a pipeline's random numbers, derived from a ``PIL.Image`` or array: with a common seed, a two-step
    masker would put the same mask on every face of a set."""
    return zlib.crc32(np.ascontiguousarray(picture))


def translator(pipeline, direction):
    """``PIL.Image`` → ``PIL.Image`` with a pipeline on all faces, seeded by the picture."""
    return lambda photo: pipeline(photo, direction, force=True, seed=picture_seed(photo))


def batches(pictures):
    """Lists of :data:`BATCH` pictures, to limit the number in memory; the last one may be shorter."""
    pictures = iter(pictures)
    while part := list(itertools.islice(pictures, BATCH)):
        yield part


class PictureSet:
    """The pictures of a source, streamed; each iteration has the same order. ``failures`` and ``total`` are those of
    the last pass: pictures not read or not translated (:class:`~maskhub.evaluation.gallery.Failures`), and the number
    of all; ``rows`` are those of the source. SourceError if there is no such source, or no picture in it; ConfigError
    for a limit below 1.

    Args:
        spec: a folder, or ``user/dataset[/config][:split][@revision][#column]``.
        held_out: only the held-out tenth (:func:`~maskhub.data.folder.is_held_out`).
        limit: maximum number of pictures; None for all.
        translate: ``PIL.Image`` → ``PIL.Image``, such as a pipeline in one direction; if it raises a
            :class:`MaskHubError`, the picture counts as failed.
        title: title of the progress bar; None for none.
        groups: those that are :class:`~maskhub.evaluation.groups.Bins`, as in ``yaw:15:30``, become columns.
    """

    def __init__(self, spec, *, held_out=False, limit=None, translate=None, title=None, groups=()):
        if limit is not None and limit < 1:
            raise ConfigError(f"the limit of photos is {limit}; it must be at least 1.")
        self.spec, self.held_out, self.limit, self.translate, self.title = str(spec), held_out, limit, translate, title
        self.rows = open_rows(self.spec)
        self._bins = [bins for bins in map(Bins.of, (group for group in groups if ":" in group))
                      if bins.column in (*self.rows.columns, YAW)]  # fmt: skip
        self.columns = [*self.rows.columns, *(bins.spec for bins in self._bins)]
        self.failures, self.total = Failures(), 0

    def __iter__(self):
        self.failures, self.total = Failures(), 0
        streamed = self.rows.folder is None
        for row in tqdm(self.rows, desc=self.title, unit="photo", disable=self.title is None):
            name = re.sub(r"^\d{8}-", "", row.name) if streamed else row.name
            if self.held_out and row.original is None:
                raise nameless(self.spec, "measure a split that was left out of training instead of --held-out")
            if self.held_out and not row.held_out:
                continue
            if self.limit is not None and self.total >= self.limit:
                return
            self.total += 1
            pixels = None
            try:
                photo = split_alpha(open_photo(row.open()))[0]
                pixels = np.asarray(photo)
                columns = self._with_bins(row.columns, pixels)
                if self.translate is not None:
                    pixels = np.asarray(self.translate(photo).convert("RGB"))
            except MaskHubError as error:
                self.failures.add(name, error, pixels)
                continue
            yield Picture(name, pixels, columns, row.held_out)
        if not self.total:
            rest = " of the held-out tenth" if self.held_out else ""
            raise SourceError(f"the source {self.spec} holds no photo{rest}.")

    def _with_bins(self, columns, pixels):
        found = columns
        if any(bins.column == YAW for bins in self._bins) and not columns.get(YAW):
            found = columns | {YAW: next((posed_mean_face(face).yaw for face in detect(pixels)), None)}
        return columns | {bins.spec: bins.value(found) for bins in self._bins}
