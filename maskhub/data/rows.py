"""The rows of a source in their own order: each photo with its name and all its other columns.

Training draws photos at random (:mod:`maskhub.data.sources`), while building a dataset takes each row once.
"""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from maskhub.data.folder import is_photo, original_name
from maskhub.data.folder_rows import FolderRows, Row
from maskhub.data.hub_source import holds_pictures, picture_cell
from maskhub.data.photo_file import encode_photo
from maskhub.data.pixel_faces import PixelSource
from maskhub.data.portraits import FOLDER, are_portraits, masked_portrait, portraits
from maskhub.data.sources import HubSource, open_source
from maskhub.data.tables import plain_text
from maskhub.data.units import read_unit, units
from maskhub.errors import SourceError

__all__ = ["FolderRows", "HubRows", "PortraitRows", "Row", "open_rows"]

OWN_NAME = 150
"""Bytes of a photo's name that are kept in the name of a Hub row; file systems allow 255 in total."""


def open_rows(spec, leave_out=()):
    """The rows of a source, a folder or a dataset on the Hub, which can be iterated repeatedly in the same order.
    ``leave_out`` are folders within it to skip, such as the output folder. SourceError if there is no such source, or
    no photo in it."""
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return FolderRows(folder, leave_out)
    if are_portraits(spec):
        return PortraitRows(spec)
    source = open_source(str(spec))
    if isinstance(source, PixelSource):
        raise SourceError(
            f"{spec} is drawn at 32 pixels, too small for face detectors, so it can't be masked, curated or paired. "
            "`maskhub dataset draw` writes it as a folder; training can use it directly."
        )
    if not isinstance(source, HubSource):
        raise SourceError(f"{spec} is neither a folder of photos nor a dataset on the Hub.")
    return HubRows(source)


class PortraitRows(FolderRows):
    """The built-in portraits of a spec, as :class:`FolderRows`."""

    def __init__(self, spec):
        super().__init__(FOLDER)
        self._portraits = {portrait.name: portrait for portrait in portraits(spec)}
        self.names = [name for name in self.names if name in self._portraits]
        self.columns = [*self.columns, "mask"]
        self.others.pop("pairs.csv")
        self._part = "test" if str(spec).endswith(":test") else "train"

    def _split_of(self, name):
        return self._part

    def _span(self, start, stop):
        for index in range(start, min(stop, len(self.names))):
            portrait = self._portraits[self.names[index]]
            kind = _MaskedRow if portrait.masked else Row
            yield kind(index, portrait.name, str(portrait.path), portrait.columns, original=portrait.name)


@dataclass(frozen=True)
class _MaskedRow(Row):
    """A portrait whose mask is drawn when it is opened."""

    def open(self):
        return masked_portrait(self.name)

    def read(self):
        return encode_photo(self.open(), self.name)

    def digest(self):
        return f"{super().digest()}-masked"


class HubRows:
    """The rows of a streamed dataset in their stored order; iterating raises ``SourceError`` if it is empty.

    Photos are named by index and name, since names in a dataset may repeat.
    """

    folder = None
    others = ()

    def __init__(self, source):
        from datasets import Audio, Image, Video

        self.source, self.spec = source, source.spec
        self.features = dict(source.stream.features)
        media = {name for name, kind in self.features.items() if isinstance(kind, (Audio, Image, Video))}
        media |= {name for name, kind in self.features.items() if holds_pictures(kind)}
        self.left_out = sorted(media - {source.column})
        self.columns = [name for name in self.features if name not in media]

    def __iter__(self):
        index = -1
        for index, cells in enumerate(cells for unit in self.units() for cells in self._cells(unit)):
            yield self._row(index, f"{index:08d}", cells)
        if index < 0:
            raise SourceError(f"the dataset {self.spec} holds no photo.")

    def units(self, count=None):
        """Its :func:`~maskhub.data.units.units`; ``count`` is only for folders."""
        return units(self.source)

    def split_of(self, unit):
        """The split of the photos of a unit: that of the source."""
        return self.source.split

    def read(self, unit):
        """Yield the rows of one of its units. They are named by the unit's index, their place in it and the photo's own
        name, by which :func:`~maskhub.data.folder.original_name` finds it again."""
        for place, cells in enumerate(self._cells(unit)):
            start = f"{unit.index:06d}-{place:06d}"
            row = self._row(place, start, cells)
            yield replace(row, name=f"{start}-{row.original}") if row.original else row

    def _cells(self, unit):
        return read_unit(self.source, unit, [self.source.column, *self.columns])

    def _row(self, index, start, cells):
        cell = picture_cell(cells[self.source.column])
        photo = self.source.photo_bytes(cell) if cell else b""
        columns = {key: self._plain(key, cells[key]) for key in self.columns}
        original = original_name(cells, (cell or {}).get("path"))
        return Row(index, start + _own_name(cell or {}, photo), photo, columns, original=original)

    def _plain(self, key, value):
        """Convert class labels to their names, since the numbers are meaningless without the list of names."""
        names = getattr(self.features[key], "names", None)
        return names[value] if names and isinstance(value, int) and value >= 0 else plain_text(value)


def _own_name(cell, photo):
    """The part of a row's name after its index: the photo's name, or a suffix by its content."""
    own = PurePosixPath((cell.get("path") or "").split("::")[0].replace("\\", "/")).name
    suffix = PurePosixPath(own).suffix
    if not is_photo(own):
        starts = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"BM", ".bmp"))
        return next((suffix for start, suffix in starts if photo.startswith(start)), ".png")
    stem = "".join(letter for letter in own.removesuffix(suffix) if letter.isprintable())
    return f"-{stem.encode()[:OWN_NAME].decode(errors='ignore')}{suffix}"
