"""The rows of a source in their own order: each photo with its name and all its other columns.

Training draws photos at random (:mod:`maskhub.data.sources`), while building a dataset takes each row once.
"""

import hashlib
import io
import json
import os
import re
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from maskhub.data.folder import is_photo, list_files, no_photo
from maskhub.data.hub_source import holds_pictures, picture_cell
from maskhub.data.photo_file import encode_photo
from maskhub.data.pixel_faces import PixelSource
from maskhub.data.portraits import FOLDER, are_portraits, masked_portrait, portraits
from maskhub.data.sources import HubSource, open_source
from maskhub.data.tables import METADATA, plain_text, read_table
from maskhub.data.units import Unit, read_unit, unit_name, units
from maskhub.errors import PhotoError, SourceError

__all__ = ["FolderRows", "HubRows", "PortraitRows", "Row", "open_rows"]

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
OWN_NAME = 150
"""Bytes of a photo's name that are kept in the name of a Hub row; file systems allow 255 in total."""


@dataclass(frozen=True)
class Row:
    """One row of a source.

    Attributes:
        index: index of the row in its source or unit, from 0.
        name: name of its photo: the path within the folder; on the Hub, the index and the photo's name.
        photo: the photo, which :func:`Row.open` prepares for ``open_photo``.
        columns: the other columns by name.
        home: path of the row's metadata file within the folder.
        compared: paths of other files whose content belongs to the photo's digest.
    """

    index: int
    name: str
    photo: str | bytes
    columns: dict = field(default_factory=dict)
    home: str = METADATA[0]
    compared: tuple = ()

    def open(self):
        """The photo as a path or a file object, named for errors."""
        if isinstance(self.photo, str):
            return self.photo
        file = io.BytesIO(self.photo)
        file.name = self.name
        return file

    def read(self):
        """The photo's bytes; PhotoError if it can't be read."""
        if not isinstance(self.photo, str):
            return self.photo
        with _regular(self.photo) as file:
            return file.read()

    def digest(self):
        """A hash of the photo's bytes, with which a later run detects changes; PhotoError if it can't be read."""
        if not isinstance(self.photo, str):
            return _hash(self.photo).hexdigest()
        digests = []
        for path in (self.photo, *self.compared):
            with _regular(path) as file:
                digests.append(hashlib.file_digest(file, _hash).hexdigest())
        return "-".join(digests)


def open_rows(spec, leave_out=()):
    """The rows of a source, a folder or a dataset on the Hub; they can be iterated repeatedly, in the same order.

    ``leave_out`` are folders within it to skip, such as the output folder.

    Raises:
        SourceError: no such folder or dataset, or no photo in it.
    """
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


class FolderRows:
    """The photos of a folder and its sub-folders, sorted by path, with the columns of its imagefolder metadata.

    ``columns`` are in the order of the metadata files; ``others`` are files that are neither photos nor metadata, name
    → path.
    """

    def __init__(self, folder, leave_out=()):
        self.folder = Path(folder)
        self._paths = list_files(self.folder, leave_out)
        self.names = [name for name in self._paths if is_photo(name)]
        if not self.names:
            raise SourceError(no_photo(folder))
        self._tables = {}
        for name, path in self._paths.items():
            if PurePosixPath(name).name in METADATA:
                table = _read_metadata(path)
                if table is not None and _parent(name) not in {_parent(other) for other in self._tables}:
                    self._tables[name] = table
        others = self._paths.keys() - self._tables.keys() - set(self.names)
        self.others = {name: path for name, path in self._paths.items() if name in others and path.is_file()}
        self.columns = list(dict.fromkeys(key for table in self._tables.values() for key in table.columns))
        # as imagefolder does: folders are labels where nothing else says what the photos are
        self._kinds = None
        self.labelled = not self._tables and all("/" in name for name in self.names)
        if self.labelled:
            self.columns = ["label"]

    def __len__(self):
        return len(self.names)

    def __iter__(self):
        return self._span(0, len(self.names))

    def _span(self, start, stop):
        for index in range(start, min(stop, len(self.names))):
            name = self.names[index]
            columns, home = self._of(name)
            yield Row(index, name, str(self._paths[name]), columns, home)

    def units(self, count):
        """Its :class:`~maskhub.data.units.Unit` of ``count`` photos each, named by the photos' names and sizes."""
        found = []
        for index, start in enumerate(range(0, len(self.names), count)):
            names = self.names[start : start + count]
            stored = [(name, _size(self._paths[name])) for name in names]
            span = (start, start + len(names))
            found.append(Unit(index, unit_name(index, stored), span=span, rows=len(names)))
        return found

    def read(self, unit):
        """Yield the rows of one of its units, with typed columns."""
        for row in self._span(*unit.span):
            yield replace(row, columns=self.typed(row.columns))

    def kind_of(self, column):
        """The narrowest of int64, float64 and string for a column, since CSV only has text."""
        values = [table.rows[key].get(column) for table in self._tables.values() for key in table.rows]
        values = [value for value in values if value not in (None, "")]
        if not values or any(isinstance(value, (dict, list, bool)) for value in values):
            return "string"
        # values that don't survive the conversion, such as 007, are text
        if all(_INTEGER.fullmatch(str(value)) for value in values):
            return "int64"
        if all(_NUMBER.fullmatch(str(value)) for value in values):
            return "float64"
        return "string"

    def typed(self, columns):
        """A row's columns converted by :meth:`kind_of`."""
        casts = {"int64": int, "float64": float, "string": _text}
        if self._kinds is None:
            self._kinds = {column: casts[self.kind_of(column)] for column in self.columns}
        return {
            column: self._kinds[column](columns[column]) if columns.get(column) not in (None, "") else None
            for column in self.columns
        }

    def _of(self, name):
        if self.labelled:
            return {"label": PurePosixPath(name).parent.name}, METADATA[0]
        for parent in PurePosixPath(name).parents:
            for kind in METADATA:
                home = (parent / kind).as_posix()
                if home in self._tables:
                    table = self._tables[home]
                    return table.rows.get(str(PurePosixPath(name).relative_to(parent)), table.empty()), home
        return {}, METADATA[0]


class PortraitRows(FolderRows):
    """The built-in portraits of a spec, as :class:`FolderRows`."""

    def __init__(self, spec):
        super().__init__(FOLDER)
        self._portraits = {portrait.name: portrait for portrait in portraits(spec)}
        self.names = [name for name in self.names if name in self._portraits]
        self.columns = [*self.columns, "mask"]
        self.others.pop("pairs.csv")

    def _span(self, start, stop):
        for index in range(start, min(stop, len(self.names))):
            portrait = self._portraits[self.names[index]]
            kind = _MaskedRow if portrait.masked else Row
            yield kind(index, portrait.name, str(portrait.path), portrait.columns)


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
    """The rows of a streamed dataset in their stored order; iterating raises ``SourceError`` if there is none.

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

    def read(self, unit):
        """Yield the rows of one of its units. They are named by the unit's index and their place in it."""
        for place, cells in enumerate(self._cells(unit)):
            yield self._row(place, f"{unit.index:06d}-{place:06d}", cells)

    def _cells(self, unit):
        return read_unit(self.source, unit, [self.source.column, *self.columns])

    def _row(self, index, start, cells):
        cell = picture_cell(cells[self.source.column])
        photo = self.source.photo_bytes(cell) if cell else b""
        columns = {key: self._plain(key, cells[key]) for key in self.columns}
        return Row(index, start + _own_name(cell or {}, photo), photo, columns)

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


@dataclass
class _Table:
    columns: list
    rows: dict

    def empty(self):
        return dict.fromkeys(self.columns)


def _read_metadata(path):
    """The table of an imagefolder's metadata file, or None if it has no file names."""
    rows = read_table(path)
    if not rows or "file_name" not in rows[0]:
        return None
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "file_name"))
    by_name = {}
    for row in rows:
        name = str(PurePosixPath(str(row.get("file_name")).replace("\\", "/")))
        by_name[name] = {key: row.get(key) for key in columns}
    return _Table(columns, by_name)


def _text(value):
    return plain_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _hash(data=b""):
    return hashlib.blake2b(data, digest_size=16)


def _regular(path):
    """Open a regular file; devices and pipes may never end."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise PhotoError(f"{path} is not a photo: it is not a regular file.")
        return open(path, "rb")
    except FileNotFoundError as error:
        raise PhotoError(f"there is no file {path}.") from error
    except OSError as error:
        raise PhotoError(f"{path} can't be read ({error.strerror or error}).") from error


def _size(path):
    try:
        return path.stat().st_size
    except OSError:  # reading it reports that
        return None


def _parent(name):
    return PurePosixPath(name).parent
