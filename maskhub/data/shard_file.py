"""Parquet shards, written atomically, with hashes that detect changed bytes.

They are laid out as the Hub wants them: row groups of bounded size, which its viewer and readers load whole; an index
of pages, so that a reader can load less; and pages cut by content, so that a shard that changed a little uploads only
what changed (https://huggingface.co/blog/parquet-cdc).

Each page has a checksum that readers can verify, as :class:`~maskhub.data.hub_source.BuiltSource` does. The file's
metadata contain a note: number of rows, failures, the hash of the photos, the options of the build, and the hash of all
data in the file.
"""

import hashlib
import io
import json
from contextlib import contextmanager

from maskhub.data.summary import counts_of, merged, sample
from maskhub.errors import ConfigError, PhotoError
from maskhub.files import written_file

__all__ = ["SourceDigest", "open_shard", "read_note"]

GROUP_BYTES = 32 << 20
"""Largest row group, the unit that readers and this writer keep in memory; only a single row may be larger. The Hub's
viewer takes up to 300 MB."""
NOTE = b"maskhub"
"""Key of the note in the parquet file's metadata."""
EACH = 4
"""Samples of made rows, and of failed ones, in a shard that shows some."""
UNKNOWN = "0" * 64
"""Stands for the hash in the note until it is known."""
TAIL = 8
"""Bytes at the end of a parquet file: the footer's length, little-endian in four, and ``PAR1``."""


class SourceDigest:
    """The hash of the names and contents of a shard's source rows, in order."""

    def __init__(self):
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, row, digest=None):
        """Add a row; ``digest`` is its digest if it is already known."""
        if digest is None:
            try:
                digest = row.digest()
            except PhotoError:
                digest = "unreadable"
        self._hash.update(f"{row.name}\0{digest}\n".encode())

    def hexdigest(self):
        return self._hash.hexdigest()


@contextmanager
def open_shard(path, features, options=None):
    """Write a shard: yields a :class:`_Writer`, and gives the file its final name when the block ends without an error.
    ``options`` go into its note. WriteError if it can't be written, PhotoError if a column changes its type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    layout = {"write_page_checksum": True, "write_page_index": True, "use_content_defined_chunking": True}
    schema = features.arrow_schema
    with written_file(path) as temporary:
        try:
            with open(temporary, "wb") as file, pq.ParquetWriter(file, schema, compression="zstd", **layout) as parquet:
                writer = _Writer(parquet, schema)
                yield writer
                writer.flush()
                note = {"rows": writer.rows, "failures": writer.failures, "source": writer.source.hexdigest()}
                note |= {"options": options, "counts": writer.counts}
                note |= {"samples": writer.samples, "failed": writer.failed}
                parquet.add_key_value_metadata({NOTE.decode(): json.dumps(note | {"sha256": UNKNOWN})})
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise PhotoError(f"{path} could not be written: a column changes its type ({error}).") from error
        _write_hash(temporary)


class _Writer:
    """The rows of an open shard: the number of added ``rows``; ``failures``, (name, reason), to store in the file; the
    :class:`SourceDigest` of the photos; and the ``counts`` of their faces, see :func:`~maskhub.data.summary.counts_of`.
    If it ``shows``, it keeps some ``samples`` of its rows and ``failed`` ones, of :func:`~maskhub.data.summary.sample`,
    for the page about the data set."""

    def __init__(self, parquet, schema):
        self._parquet, self._schema, self._group, self._bytes = parquet, schema, [], 0
        self.rows, self.failures, self.source, self.counts = 0, [], SourceDigest(), {}
        self.shows, self.samples, self.failed = False, [], []

    def add(self, rows):
        import pyarrow as pa

        for row in rows:
            table = pa.Table.from_pylist([row], self._schema)
            if self._bytes + table.nbytes > GROUP_BYTES:
                self.flush()
            self._group.append(table)
            self._bytes += table.nbytes
        self.rows += len(rows)
        self.counts = merged([self.counts, *map(counts_of, map(_faces, rows))])
        for row in rows[: EACH - len(self.samples)] if self.shows else ():
            styles = ", ".join(filter(None, row["style"]))
            self.samples.append(sample(row["file_name"], styles, io.BytesIO(row["masked"]["bytes"])))

    def fail(self, row, reason):
        """Add a row that failed."""
        self.source.add(row)
        self.failures.append((row.name, reason))
        if self.shows and len(self.failed) < EACH:
            self.failed.append(sample(row.name, reason, row.open()))

    def flush(self):
        """Write the rows so far as a row group."""
        import pyarrow as pa

        if self._group:
            self._parquet.write_table(pa.concat_tables(self._group).combine_chunks())
            self._group, self._bytes = [], 0


def _faces(row):
    """A row's faces as dicts."""
    names = [name for name in ("style", "worn", "pose", "light", "quality") if name in row]
    return [dict(zip(names, values, strict=True)) for values in zip(*(row[name] for name in names), strict=True)]


def _write_hash(path):
    """Write the hash of the data in place of :data:`UNKNOWN`; pyarrow writes the index of pages after the note."""
    with open(path, "r+b") as file:
        start = _footer(file)
        file.seek(start)
        place = file.read().rindex(UNKNOWN.encode())
        digest = _hash_of_data(path)
        file.seek(start + place)
        file.write(digest.encode())


def read_note(path, features=None, file=None):
    """Verify a shard and return its note; ConfigError if it is another file, or has changed. ``path`` is only its name
    for errors if ``file`` is given, an open file that is closed at the end. Without ``features``, the
    ``datasets.Features`` that it must have, the note is only read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file or open(path, "rb") as shard:
            metadata = pq.ParquetFile(shard)
            note, schema = json.loads(metadata.metadata.metadata[NOTE]), metadata.schema_arrow
        wanted = features and features.arrow_schema
        as_written = features is None or (
            schema.equals(wanted)
            and wanted.metadata.items() <= schema.metadata.items()
            and _hash_of_data(path) == note["sha256"]
        )
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ConfigError(f"{path} is not a shard of `maskhub dataset build` ({error!r}): delete it.") from error
    if not as_written:
        raise ConfigError(f"{path} is damaged: its data is not what was written. Delete it to have it made again.")
    return note


def _footer(file):
    """Where the footer of a parquet file begins."""
    end = file.seek(-TAIL, io.SEEK_END)
    return end - int.from_bytes(file.read(4), "little")


def _hash_of_data(path):
    """The SHA-256 of everything before the footer."""
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        remaining = _footer(file)
        file.seek(0)
        while remaining > 0:
            data = file.read(min(remaining, 2**20))
            if not data:
                break
            sha256.update(data)
            remaining -= len(data)
    return sha256.hexdigest()
