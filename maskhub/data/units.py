"""Units: the pieces of a stored source, each of which one reader reads without reading the others.

    source = open_source("user/faces")               # a HubSource or BuiltSource
    for unit in units(source):                       # the same list on every machine
        for row in read_unit(source, unit):          # only the bytes of this unit, in bounded memory
            ...

A unit is a parquet file or, of a large one, a range of its row groups; another file that datasets reads on its own,
such as a tar archive of WebDataset; or a range of the photos of an imagefolder, in or out of zip archives. Units are in
the order of the source, and together they have each of its rows once.

The name of a unit follows from what is stored in it: the hash that the Hub gives of its file, so that other commits,
such as those to the README, do not change it. Machines that agree on the name agree on the rows.
"""

import hashlib
import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from posixpath import commonpath, dirname

from maskhub.data.parquet_footer import row_groups
from maskhub.errors import SourceError, first_line

__all__ = ["READERS", "Unit", "filled_rows", "read_names", "read_unit", "unit_limit", "unit_name", "units"]

SMALLEST, LARGEST, PIECES = 64 << 20, 1 << 30, 128
"""Files are split if they are larger than the source's size divided by ``PIECES``, a limit kept between the first two,
in bytes. The footers of the other files need not be read before the work starts."""
PHOTOS = 1000
"""Photos of an imagefolder in a unit."""
BUFFER = 16 << 20
"""Bytes of a column read at once from large row groups."""
WHOLE = 32 << 20
"""Bytes up to which a row group is read at once, in as few requests as possible."""
FOOTER = 8 << 10
"""Bytes at the end of a parquet file read for its footer; those of long footers are read next."""
BATCH, BATCH_BYTES = 16, 1 << 20
"""Rows decoded at once, and their bytes, unless a single one has more."""
READERS = 16
"""Footers read at once."""


@dataclass(frozen=True)
class Unit:
    """A piece of a source. It can be pickled, to be read by another process.

    Attributes:
        index: its place in the source, from 0.
        name: the index and a hash of what is stored in it, such as ``000012-5f0c9a31d2``.
        size: stored bytes, if known.
        path, length: address and bytes of its file.
        groups: its row groups, if it does not have all those of its file.
        span: the first row and the one after its last, if it is a range of rows.
        rows: number of rows, if known (where row groups were counted, and for ranges).
    """

    index: int
    name: str
    size: int | None = None
    path: str | None = None
    length: int | None = None
    groups: tuple | None = None
    span: tuple | None = None
    rows: int | None = None


def unit_name(index, *stored):
    """The name of a unit by its index and everything that identifies its content."""
    return f"{index:06d}-{hashlib.blake2b(repr(stored).encode(), digest_size=5).hexdigest()}"


def unit_limit(size):
    """The bytes from which files are split in a source of ``size`` bytes."""
    return min(max(size // PIECES, SMALLEST), LARGEST)


def units(source, limit=None):
    """All units of a source, in its order.

    Args:
        source: :class:`~maskhub.data.hub_source.HubSource` or ``BuiltSource``.
        limit: parquet files of more bytes are split at their row groups, into units of at most this size or one row
            group; 0: a unit per row group; by default :func:`unit_limit` of the whole source. Only the footers of
            files that are split are read.

    Raises:
        SourceError: the files can't be listed, or a footer can't be read.
    """
    with source.errors():
        stored = _stored(source.files)
    files = list(zip(source.files, stored, strict=True))
    if source.format == "parquet":
        limit = unit_limit(sum(size for size, _ in stored)) if limit is None else limit
        with ThreadPoolExecutor(READERS) as readers:
            pieces = readers.map(lambda file: _split(source, file[0], file[1][0], limit), files)
            found = [(*file, *piece) for file, some in zip(files, pieces, strict=True) for piece in some]
        return [
            Unit(index, unit_name(index, content, groups), size, path, content[0], groups, None, rows)
            for index, (path, content, groups, size, rows) in enumerate(found)
        ]
    if source.format.endswith("folder"):
        count = _count(source)
        return [
            Unit(index, unit_name(index, stored, start, stop), span=(start, stop), rows=stop - start)
            for index, start in enumerate(range(0, count, PHOTOS))
            for stop in [min(start + PHOTOS, count)]
        ]
    if source.stream.num_shards == len(source.files):
        return [
            Unit(index, unit_name(index, content), content[0], path, content[0])
            for index, (path, content) in enumerate(files)
        ]
    return [Unit(index, unit_name(index, stored)) for index in range(source.stream.num_shards)]


def read_unit(source, unit, columns=None, start=0, most=WHOLE):
    """Yield the rows of a unit in order as dicts, with undecoded pictures (structs of ``bytes`` and ``path``).

    Memory is bounded by ``most``, :data:`BUFFER` and the pages of the file, whatever the size of its row groups.

    Args:
        source, unit: a source and one of its :func:`units`.
        columns: names of the columns to read; by default all.
        start: rows to skip. Whole row groups are skipped without reading them.
        most: bytes up to which a row group is read at once, in as few requests as possible.

    Raises:
        SourceError: a file is damaged, missing, or can't be reached.
    """
    rows = _parquet_rows if source.format == "parquet" else _stream_rows
    with _errors(source):
        yield from rows(source, unit, columns, start, most)


def filled_rows(source, unit):
    """The number of rows of a unit if each has a photo, as far as that is known without reading them; else None."""
    if source.format != "parquet":
        return unit.rows
    with _errors(source), _open(unit.path, unit.length) as file:
        _, groups = _footer(file)
    held = [groups[number] for number in _numbers(unit, groups)]
    if all(_is_filled(group, column) for group in held for column in source.columns):
        return sum(group.rows for group in held)
    return None


def read_names(source, unit, columns):
    """Yield the rows of a unit with these columns and its photos; of those in a parquet file, nothing but the names is
    read."""
    if source.format != "parquet":
        yield from read_unit(source, unit, [source.column, *columns])
        return
    with _errors(source), _open(unit.path, unit.length) as file:
        metadata, groups = _footer(file)
        reader = _reader(source, file, metadata)
        names = [f"{source.column}.path", *columns]
        for batch in reader.iter_batches(row_groups=list(_numbers(unit, groups)), columns=names):
            yield from batch.to_pylist()


@contextmanager
def _errors(source):
    with source.errors():
        try:
            yield
        except ValueError as error:  # pyarrow's error for a broken file
            raise SourceError(f"a file of the dataset {source.spec} is damaged: {first_line(error)}.") from error


def _stored(files):
    """Size in bytes of each file, and what identifies its content: its hash on the Hub, its name elsewhere."""
    import fsspec

    if not files:
        return []
    paths = [fsspec.core.url_to_fs(file) for file in files]
    system, folder = paths[0][0], commonpath([dirname(path) for _, path in paths])
    found = system.find(folder, detail=True) if len(files) > 1 else {}
    about = [found.get(path) or system.info(path) for _, path in paths]
    names = (path.removeprefix(folder) for _, path in paths)
    return [(one["size"], one.get("blob_id") or name) for one, name in zip(about, names, strict=True)]


def _split(source, path, size, limit):
    """Row groups (None: all), bytes and rows (None: unknown) of each unit of a parquet file."""
    if size <= limit:
        return [(None, size, None)]
    with _errors(source), _open(path, size) as file:
        _, groups = _footer(file)
    pieces = []
    for number, group in enumerate(groups):
        if pieces and pieces[-1][1] + group.size <= limit:
            numbers, before, some = pieces.pop()
            pieces.append(((*numbers, number), before + group.size, some + group.rows))
        else:
            pieces.append(((number,), group.size, group.rows))
    return pieces


def _numbers(unit, groups):
    """The numbers of a unit's row groups in its file."""
    return range(len(groups)) if unit.groups is None else unit.groups


def _is_filled(group, column):
    """Whether the statistics of a row group say that each row has the bytes of a photo."""
    return [group.nulls[path] for path in (column, f"{column}.bytes") if path in group.nulls] == [0]


def _open(path, size):
    """A stored file; only the parts that are asked for are read."""
    import fsspec

    system, path = fsspec.core.url_to_fs(path)
    return system.open(path, "rb", cache_type="none", size=size)


def _footer(file):
    """pyarrow's metadata of an open parquet file, and its row groups. Little else is read; pyarrow would read 64 KB."""
    import pyarrow.parquet as pq

    end = _read_end(file, FOOTER)
    length = int.from_bytes(end[-8:-4], "little") + 8
    if len(end) < length <= file.size:
        end = _read_end(file, length)
    metadata = pq.read_metadata(io.BytesIO(b"PAR1" + end[-length:]))  # raises ValueError for other bytes
    return metadata, row_groups(end[-length:-8])


def _read_end(file, length):
    file.seek(max(0, file.size - length))
    return file.read()


def _reader(source, file, metadata, **options):
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, metadata=metadata, page_checksum_verification=source.checked, **options)


def _parquet_rows(source, unit, columns, start, most):
    from datasets import Features
    from datasets.table import table_cast

    features = source.stream.features
    schema = Features({name: features[name] for name in columns or features}).arrow_schema
    with _open(unit.path, unit.length) as file:
        metadata, groups = _footer(file)
        for number in _numbers(unit, groups):
            group = groups[number]
            if start >= group.rows:
                start -= group.rows
                continue
            whole = group.size <= most
            how = {"pre_buffer": True} if whole else {"pre_buffer": False, "buffer_size": min(most, BUFFER)}
            count = max(1, min(BATCH, BATCH_BYTES * group.rows // max(group.decoded, 1)))
            for table in _tables(_reader(source, file, metadata, **how), number, columns, count):
                if start < len(table):
                    yield from table_cast(table.slice(start), schema).to_pylist()
                start = max(0, start - len(table))
            table = None  # else it would be kept while the next row group is read


def _tables(reader, group, columns, count):
    """The rows of a row group, ``count`` at a time; dropping the generator frees the reader and its buffers."""
    import pyarrow as pa

    for batch in reader.iter_batches(count, [group], columns, use_threads=False):
        yield pa.Table.from_batches([batch])


def _stream_rows(source, unit, columns, start, _):
    stream = source.stream
    if unit.span is None:
        stream = stream.shard(stream.num_shards, unit.index)
    if columns is not None:
        stream = stream.select_columns(list(columns))
    first, after = unit.span or (0, None)
    return itertools.islice(_all_rows(stream), first + start, after)


def _all_rows(stream):
    # `iter`, since a plain loop would give each worker of a DataLoader a different share of the rows
    return (row for rows in stream.iter(batch_size=BATCH) for row in _rows_of(rows))


def _rows_of(columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _count(source):
    """The number of photos of an imagefolder, which are not fetched for that."""
    return sum(1 for _ in _all_rows(source.stream.select_columns([source.column])))
