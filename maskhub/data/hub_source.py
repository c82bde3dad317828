"""Streamed datasets: from the Hub, or from a folder of parquet shards."""

import atexit
import io
import itertools
import lzma
import tarfile
import traceback
import weakref
import zipfile
import zlib
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from pathlib import Path

from maskhub.data.folder import FILE_NAME, ORIGINAL_NAME, is_held_out, original_name
from maskhub.data.lanes import Lane, Share, deal_units
from maskhub.data.source import PhotoSource
from maskhub.data.units import filled_rows, read_names, read_unit, units
from maskhub.errors import PhotoError, SourceError, first_line
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.hub_errors import hub_errors

__all__ = ["BuiltSource", "HubSource", "has_shards", "holds_pictures", "nameless", "picture_cell"]

AT_ONCE = 4 << 20
"""Bytes of a file read at once: of both sources of a run, each worker has up to ``mixed`` files of each lane open."""
ORDER = "dealt by size, held out by original names"
"""Part of a stream's identity, to change with the order of its photos, so that older checkpoints are refused."""

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
"""Errors of Python's readers for a broken archive."""

_READING = weakref.WeakSet()
"""Partly read shards, to close at exit: pyarrow complains about those that are still open."""


@atexit.register
def _stop_reading():
    for shard in list(_READING):
        shard.close()


class HubSource(PhotoSource):
    """A streamed dataset on the Hub: downloaded on demand, and not stored on disk. SourceError if there is no such
    dataset, split or revision, no right to it, no network, or no single image column.

    Each pass shuffles the files, interleaves the photos of up to ``mixed`` files, and shuffles them within blocks of at
    most ``block`` photos, which are kept undecoded in memory. Images may be in the rows (parquet, webdataset) or in
    separate files (imagefolder), which are fetched one by one. :meth:`shared` deals the files to processes and workers.
    To start later, files and row groups are skipped by their numbers of rows; only WebDataset's archives, and columns
    with empty cells, have to be read to know how many photos to skip.

    Args:
        dataset: ``user/name``.
        split: None for ``train``, or the only split there is.
        column, config: image column and configuration; optional if there is only one.
        holdout: leave out the photos whose :func:`~maskhub.data.folder.original_name` is
            :func:`~maskhub.data.folder.is_held_out`, so that a data set made of photos leaves out the same ones.

    Attributes:
        stream: its rows as a ``datasets.IterableDataset``, undecoded, with all columns.
        files: the addresses of its files, which contain the revision.
        format: how they are stored, by the name of datasets' reader: ``"parquet"``, ``"webdataset"``, ...
    """

    checked = False
    """Whether the checksums of parquet pages are verified."""

    def __init__(self, dataset, split=None, revision=None, column=None, holdout=False, block=128, mixed=4, config=None):
        self.dataset, self.split, self.revision, self.config = dataset, split, revision, config
        self.holdout, self.block, self.mixed, self._path = holdout, block, mixed, str(dataset)
        self._asked_column = column
        self.spec = self._spec(split)
        rows = self._open_stream()
        self.spec = self._spec(self.split)
        self.column = self._image_column(rows, column)
        self.columns = [self.column]
        # only `decode` removes the decoding threads that datasets has set up
        self.stream = rows.decode(False)
        self._naming = [name for name in (ORIGINAL_NAME, FILE_NAME) if holdout and name in self.stream.features]
        self._share, self._deals, self._counted = Share(), {}, {}

    def identity(self):
        return ORDER, self.dataset, self.config, self.split, self.revision, [unit.name for unit in self.whole_files]

    @cached_property
    def whole_files(self):
        """Its units where no file is split; their names follow from what is stored in them."""
        return units(self, limit=2**63)

    def _spec(self, split):
        """The spec of this source with a split, or without one."""
        name = f"{self._path}/{self.config}" if self.config else self._path
        endings = ((":", split), ("@", self.revision), ("#", self._asked_column))
        return name + "".join(f"{sign}{value}" for sign, value in endings if value)

    def _reader_options(self):
        """Further arguments of ``datasets.load_dataset_builder``."""
        return {}

    def _open_stream(self):
        """Its rows as a ``datasets.IterableDataset``, with all columns; errors as for the class."""
        from datasets import load_dataset_builder
        from datasets.data_files import EmptyDatasetError
        from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError

        from maskhub.data.whole_tar import whole_archives

        what = f"the dataset {self.spec}"
        with self.errors():
            try:
                builder = load_dataset_builder(
                    self._path, self.config, revision=self.revision, **self._reader_options()
                )
                self.split = self.split or self._only_split(list(builder.config.data_files or ()))
                with whole_archives(builder):
                    stream = builder.as_streaming_dataset(self.split)
                self.format = type(builder).__module__.rpartition(".")[2]
                self.files = list((builder.config.data_files or {}).get(self.split, ()))
                return stream
            except DatasetNotFoundError as error:
                if "Revision" in str(error):
                    raise SourceError(f"{what} has no such revision (branch, tag or commit).") from error
                raise SourceError(
                    f"no folder and no Hub dataset is called {self.dataset}, or it is private or gated: "
                    "check the name, or log in with `hf auth login`."
                ) from error
            except (EmptyDatasetError, DataFilesNotFoundError) as error:
                raise SourceError(f"{what} holds no photo.") from error
            except ValueError as error:
                if "config" in str(error).lower():  # missing or unknown configuration
                    raise SourceError(self._configs(error)) from error
                raise SourceError(f"{what} can't be streamed: {first_line(error)}") from error
            except (AttributeError, KeyError, TypeError) as error:  # of `datasets`, on a broken description
                raise SourceError(f"{what} can't be streamed: the description of its columns is broken.") from error

    def _only_split(self, names):
        """The split to read where none is named, of those of these ``names``."""
        if "train" in names or not names:
            return "train"
        if len(names) > 1:
            example = self._spec(names[0])
            raise SourceError(f"{self.spec} has the splits {', '.join(names)}: name one, as in {example}.")
        return names[0]

    def _configs(self, error):
        from datasets import get_dataset_config_names

        names = get_dataset_config_names(self._path, revision=self.revision)
        if self.config in names or not names:
            return f"the dataset {self.spec} can't be streamed: {first_line(error)}"
        has = f"has no configuration {self.config!r}" if self.config else f"has {len(names)} configurations"
        return f"the dataset {self.dataset} {has} ({', '.join(names)}): name one, as in {self.dataset}/{names[0]}."

    def _image_column(self, rows, column):
        from datasets import Image

        features = rows.features or {}
        pictures = [name for name, feature in features.items() if holds_pictures(feature)]
        images = [name for name in pictures if isinstance(features[name], Image)] or pictures
        if column is not None and column not in pictures:
            names = ", ".join(map(repr, pictures)) or "none"
            raise SourceError(f"the dataset {self.spec} has no image column {column!r}; it has {names}.")
        if column is None and len(images) != 1:
            what = f"{len(images)} image columns ({', '.join(images)})" if images else "no image column"
            how = f": name one, as in {self.spec}#{images[0]}." if images else "."
            raise SourceError(f"the dataset {self.spec} has {what}{how}")
        return column or images[0]

    @contextmanager
    def errors(self):
        """A context that converts errors of reading to :class:`SourceError`."""
        with hub_errors(f"streaming {self.spec}", SourceError):
            try:
                yield
            except Exception as error:
                if not _is_damage(error):
                    raise
                reason = "an entry has no name" if isinstance(error, IndexError) else first_line(error)
                raise SourceError(f"a file of the dataset {self.spec} is damaged: {reason}.") from error

    @cached_property
    def deal(self):
        """The :class:`~maskhub.data.lanes.Deal` of its units."""
        return deal_units(self, 1, most=1)

    def shared(self, share):
        if share.world not in self._deals:
            self._deals[share.world] = deal_units(self, share.world)
        other = copy(self)
        other._share, other.deal = share, self._deals[share.world]
        return other

    def walk(self, positions, seed):
        """As in the base; the photos before the first position are skipped undecoded."""
        lanes, deal = {}, self.deal
        for position in positions:
            number, place = self._share.find(position, deal.lanes)
            lane = lanes.setdefault(number, Lane(self, deal, number, seed))
            lane.seek(place)
            photos = self._first_good(lane, place - lane.first)
            yield position, photos if len(photos) > 1 else photos[0]

    def paired(self, other):
        both = super().paired(other)
        both.columns, both._deals, both._counted = [self.column, other.column], {}, {}
        return both

    def photos(self, unit, start=0):
        """The undecoded photos of a :class:`~maskhub.data.units.Unit` from the ``start``-th on, in its order: for each
        a list of a cell, or two in :meth:`paired` columns."""
        number = 0 if self.holdout or not start or filled_rows(self, unit) is None else start
        rows = read_unit(self, unit, [*self.columns, *self._naming], number, AT_ONCE)
        _READING.add(rows)
        for row in rows:
            cells = [picture_cell(row[column]) for column in self.columns]
            if all(cells) and self._is_used(row):
                number += 1
                if number > start:
                    yield cells
        self._counted[unit.name] = number

    def count(self, unit):
        """The number of photos of a unit, or None if only reading the whole unit would tell."""
        if self._counted.get(unit.name) is None:
            rows = filled_rows(self, unit)
            if self.holdout and rows is not None:
                rows = sum(map(self._is_used, read_names(self, unit, self._naming)))
            self._counted[unit.name] = rows
        return self._counted[unit.name]

    def _is_used(self, row):
        if not self.holdout:
            return True
        name = original_name(row, (picture_cell(row.get(self.column)) or {}).get("path"))
        if name is None:
            raise nameless(self.spec, "train without --holdout, or on a split that leaves it out")
        return not is_held_out(name)

    def _first_good(self, lane, place):
        """The photos at a place of the lane's block, or the next one that can be read, independent of the start."""
        block, order = lane.block, lane.order
        turns = (block[order[(place + step) % len(block)]] for step in range(len(block)))
        later = itertools.takewhile(lambda found: found[0] < lane.turn + 2, lane.blocks(lane.first + len(block)))
        rest = (
            face for _, start, faces in later if start > lane.first for face in faces
        )  # if all of a block is broken
        for cells in itertools.chain(turns, rest):
            files = [self.photo_bytes(cell) for cell in cells]
            try:
                return [split_alpha(open_photo(io.BytesIO(data)))[0] for data in files]
            except PhotoError as error:
                name = cells[0].get("path") or f"a photo of {self.spec}"
                self.warn(f"left out of training: {name}: {error}")
        raise SourceError(f"no photo of {self.spec} can be read.")

    def photo_bytes(self, cell):
        """The file of a :func:`picture_cell`, fetched if it is not in the row; SourceError if it can't be fetched. Of a
        photo that is damaged within a zip archive nothing is returned: it is a broken photo, as an empty file is."""
        if cell.get("bytes") is not None:
            return cell["bytes"]
        import fsspec

        with self.errors():
            try:
                with fsspec.open(cell["path"], "rb") as file:
                    return file.read()
            except Exception as error:
                if not _is_damage(error):
                    raise
                return b""


def _is_damage(error):
    """Whether Python's readers raised an error for a broken archive. zipfile's IndexError is that of an empty name, its
    RuntimeError that of an encrypted entry; elsewhere these are faults of a program."""
    if isinstance(error, (IndexError, RuntimeError)) and not isinstance(error, DAMAGED):
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        return frame.f_globals.get("__name__", "").partition(".")[0] == "zipfile"
    return isinstance(error, DAMAGED)


def nameless(spec, instead):
    """A :class:`SourceError` for a data set whose held-out tenth is unknown, and what to do instead."""
    return SourceError(
        f"the dataset {spec} does not store the file names of its photos, so the held-out tenth is unknown: {instead}."
    )


def holds_pictures(feature):
    """Whether a column may hold pictures: an Image feature, files as bytes, or structs of bytes and a path."""
    from datasets import Image, Value

    if isinstance(feature, dict):
        return "bytes" in feature and holds_pictures(feature["bytes"])
    return isinstance(feature, Image) or (isinstance(feature, Value) and feature.dtype in ("binary", "large_binary"))


def picture_cell(value):
    """A cell of an image column as a dict with ``bytes`` or ``path``, or None where it is empty."""
    if isinstance(value, bytes):
        return {"bytes": value}
    return value if value and (value.get("bytes") is not None or value.get("path")) else None


def has_shards(folder):
    """Whether a folder holds parquet files that are not hidden."""
    folder = Path(folder)
    found = (path.relative_to(folder).parts for path in folder.glob("**/*.parquet"))
    return any(not any(part.startswith(".") for part in parts) for parts in found)


class BuiltSource(HubSource):
    """A column of a split of a folder of parquet shards, such as those of ``maskhub dataset build``; read like a Hub
    dataset.

    Checksums of pages, which ``maskhub dataset build`` writes, are verified. SourceError if there is no shard in the
    folder, or no single image column.
    """

    checked = True

    def __init__(self, folder, column=None, holdout=False, split=None):
        if not has_shards(folder):
            asked = f"column {column!r}" if column else f"split {split!r}" if split else "splits and no columns"
            raise SourceError(f"{folder} holds no parquet shard, so it has no {asked}: give the folder alone.")
        super().__init__(str(folder), split, column=column, holdout=holdout)
        self.folder, self.dataset = Path(folder), None
        self.spec = self._spec(None if self.split == "train" else self.split)

    def identity(self):
        return ORDER, str(self.folder.resolve()), [unit.name for unit in self.whole_files]

    def _reader_options(self):
        from pyarrow.dataset import ParquetFragmentScanOptions

        return {"fragment_scan_options": ParquetFragmentScanOptions(page_checksum_verification=True)}
