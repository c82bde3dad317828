"""Parquet shards, written atomically, with hashes that detect changed bytes.

Each page has a checksum that readers can verify, as :class:`~maskhub.data.hub_source.BuiltSource` does. The file's
metadata contain a note: number of rows, failures, the hash of the photos, and the hash of all data in the file.
"""

import hashlib
import io
import json
from contextlib import contextmanager
from pathlib import Path

from maskhub.errors import ConfigError, PhotoError
from maskhub.files import written_file

__all__ = ["SourceDigest", "open_shard", "read_note", "shard_path"]

GROUP = 32
"""Rows per row group, the unit that readers and this writer keep in memory."""
NOTE = b"maskhub"
"""Key of the note in the parquet file's metadata."""
TAIL = 8
"""Bytes at the end of a parquet file: the footer's length, little-endian in four, and ``PAR1``."""


def shard_path(output, rank, number):
    """Path of a shard."""
    return Path(output) / "data" / f"train-{rank:04d}-{number:06d}.parquet"


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
def open_shard(path, features):
    """Write a shard: yields a :class:`_Writer`, and gives it its final name when the block ends without an error.

    Raises:
        WriteError: it can't be written. PhotoError: a column changes its type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with written_file(path) as temporary, _HashedFile(temporary) as file:
        schema = features.arrow_schema
        try:
            with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as parquet:
                writer = _Writer(parquet, schema)
                yield writer
                writer.flush()
                note = {"rows": writer.rows, "failures": writer.failures, "source": writer.source.hexdigest()}
                note["sha256"] = file.sha256.hexdigest()
                parquet.add_key_value_metadata({NOTE.decode(): json.dumps(note)})
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise PhotoError(f"{path} could not be written: a column changes its type ({error}).") from error


class _Writer:
    """The rows of an open shard.

    Attributes:
        rows: number of added rows.
        failures: list of ``(name, reason)``, to store in the file.
        source: :class:`SourceDigest` of the photos.
    """

    def __init__(self, parquet, schema):
        self._parquet, self._schema, self._group = parquet, schema, []
        self.rows, self.failures, self.source = 0, [], SourceDigest()

    def add(self, pairs):
        self._group += pairs
        self.rows += len(pairs)
        if len(self._group) >= GROUP:
            self.flush()

    def flush(self):
        import pyarrow as pa

        if self._group:
            self._parquet.write_table(pa.Table.from_pylist(self._group, self._schema))
            self._group = []


class _HashedFile(io.RawIOBase):
    """A file that is written sequentially, and the hash of its content."""

    def __init__(self, path):
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by close)
        self.sha256 = hashlib.sha256()

    def writable(self):
        return True

    def write(self, data):
        remaining = memoryview(data).cast("B")
        self.sha256.update(remaining)
        size = len(remaining)
        while remaining:  # a raw write may be short
            remaining = remaining[self._file.write(remaining) :]
        return size

    def tell(self):
        return self._file.tell()

    def close(self):
        self._file.close()
        super().close()


def read_note(path, features=None):
    """Verify a shard and return its note, or None if there is no such shard.

    ``features`` are the ``datasets.Features`` that it must have; without them the note is only read. ConfigError if it
    is another file, or has changed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    try:
        with pq.ParquetFile(path) as file:
            note, schema = json.loads(file.metadata.metadata[NOTE]), file.schema_arrow
        wanted = features and features.arrow_schema
        as_written = features is None or (
            schema.equals(wanted)
            and wanted.metadata.items() <= schema.metadata.items()
            and _hash_of_data(path) == note["sha256"]
        )
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ConfigError(f"{path} is no shard of `maskhub dataset build` ({error!r}): delete it.") from error
    if not as_written:
        raise ConfigError(f"{path} is damaged, its data are not what was written: delete it, and it is made again.")
    return note


def _hash_of_data(path):
    """The SHA-256 of everything before the footer."""
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        end = file.seek(-TAIL, io.SEEK_END)
        remaining = end - int.from_bytes(file.read(4), "little")
        file.seek(0)
        while remaining > 0:
            data = file.read(min(remaining, 2**20))
            if not data:
                break
            sha256.update(data)
            remaining -= len(data)
    return sha256.hexdigest()
