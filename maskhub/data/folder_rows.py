"""The rows of a folder of photos: each photo with its name and its columns in the metadata files."""

import hashlib
import io
import os
import stat
import warnings
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path, PurePosixPath

from maskhub.data.folder import (
    ORIGINAL_NAME,
    is_held_out,
    is_other_picture,
    is_photo,
    list_files,
    no_photo,
    original_name,
)
from maskhub.data.splits import first_split, splits_of, warn_of_labels
from maskhub.data.tables import CASTS, METADATA, narrowest, read_table
from maskhub.data.units import Unit, unit_name
from maskhub.errors import PhotoError, SourceError

__all__ = ["FolderRows", "Row"]


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
        original: the photo's :func:`~maskhub.data.folder.original_name`; None if the source does not store it.
    """

    index: int
    name: str
    photo: str | bytes
    columns: dict = field(default_factory=dict)
    home: str = METADATA[0]
    compared: tuple = ()
    original: str | None = None

    @property
    def held_out(self):
        """Whether its photo is never trained on; by the index if the source has no names."""
        return is_held_out(self.original or self.name)

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


class FolderRows:
    """The photos of a folder and its sub-folders, sorted by path, with the columns of its imagefolder metadata.

    ``columns`` are in the order of the metadata files; ``others`` are files that are neither pictures nor metadata,
    name → path; ``features`` are those of a dataset on the Hub, here none. Pictures of formats that are not read, and
    the second of two tables in a folder, are reported in a warning.
    """

    features = {}  # noqa: RUF012

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
                first = next((other for other in self._tables if _parent(other) == _parent(name)), None)
                if table is not None and first:
                    warnings.warn(f"left out: {name}, since {first} is read", stacklevel=2)
                elif table is not None:
                    self._tables[name] = table
        unread = [name for name in self._paths if is_other_picture(name)]
        if unread:
            kinds = ", ".join(sorted({PurePosixPath(name).suffix.lower() for name in unread}))
            many = f"one of {len(unread)} pictures of formats that are not read ({kinds})"
            which = many if len(unread) > 1 else f"a picture of a format that is not read ({kinds})"
            warnings.warn(f"left out: {unread[0]}, {which}", stacklevel=2)
        others = self._paths.keys() - {*self.names, *unread}
        # loaders refuse a result with a second table beside its own
        others = {name for name in others if PurePosixPath(name).name not in METADATA}
        self.others = {name: path for name, path in self._paths.items() if name in others and path.is_file()}
        self.columns = list(dict.fromkeys(key for table in self._tables.values() for key in table.columns))
        # as imagefolder does: folders are labels where nothing else says what the photos are
        self._kinds = None
        splits = {name: first_split(name) for name in self.names}
        self._splits = {} if None in splits.values() else splits
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
            yield Row(index, name, str(self._paths[name]), columns, home, original=original_name(columns, name))

    def units(self, count):
        """Its :class:`~maskhub.data.units.Unit` of up to ``count`` photos of a split each, named by the photos' names
        and sizes. Folders that may be splits by accident are reported in a warning."""
        warn_of_labels(self.names)
        found, after = [], 0
        for _, group in groupby(self.names, self._split_of):
            first, after = after, after + len(list(group))
            for start in range(first, after, count):
                span = (start, min(start + count, after))
                stored = [(name, _size(self._paths[name])) for name in self.names[slice(*span)]]
                found.append(Unit(len(found), unit_name(len(found), stored), span=span, rows=len(stored)))
        return found

    def split_of(self, unit):
        """The split of the photos of a unit, by its name in datasets."""
        return self._split_of(self.names[unit.span[0]])

    def _split_of(self, name):
        folder = self._splits.get(name)
        return splits_of(folder.name)[-1] if folder else "train"

    def read(self, unit):
        """Yield the rows of one of its units, with typed columns."""
        for row in self._span(*unit.span):
            yield replace(row, columns=self.typed(row.columns))

    def kind_of(self, column):
        """The narrowest of int64, float64 and string for a column."""
        values = [table.rows[key].get(column) for table in self._tables.values() for key in table.rows]
        return "string" if column == ORIGINAL_NAME else narrowest([one for one in values if one not in (None, "")])

    def typed(self, columns):
        """A row's columns converted by :meth:`kind_of`."""
        if self._kinds is None:
            self._kinds = {column: CASTS[self.kind_of(column)] for column in self.columns}
        return {
            column: self._kinds[column](columns[column]) if columns.get(column) not in (None, "") else None
            for column in self.columns
        }

    def _of(self, name):
        """A photo's columns, and the path of their metadata file: their own, but not one above the photo's split."""
        split = self._splits.get(name, PurePosixPath())
        if self.labelled:
            return {"label": PurePosixPath(name).parent.name}, (split / METADATA[0]).as_posix()
        for parent in PurePosixPath(name).parents:
            for kind in METADATA:
                table = self._tables.get((parent / kind).as_posix())
                if table is not None:
                    columns = table.rows.get(str(PurePosixPath(name).relative_to(parent)), table.empty())
                    return columns, ((split if parent in split.parents else parent) / kind).as_posix()
        # loaders refuse a mixture of CSV and JSON lines
        kind = PurePosixPath(next(iter(self._tables), METADATA[0])).name
        return {}, (split / kind).as_posix()


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
