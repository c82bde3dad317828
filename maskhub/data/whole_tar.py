"""Tar archives of WebDataset, read to their end.

Python's tarfile takes a damaged header or the end of the file for the end of the archive, does not look at what is
behind the end, and reads only the first part of a file that was compressed in parts: photos would be missing without a
word.
"""

import bz2
import gzip
import lzma
import os
import tarfile
from contextlib import contextmanager
from functools import partial

from datasets.utils.file_utils import ArchiveIterable

__all__ = ["whole_archives"]

BLOCK = 1 << 16
"""Bytes read at once behind the end."""
UNPACKERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""From the first two bytes of a compressed file to the function that opens it."""


@contextmanager
def whole_archives(builder):
    """Within the block, a builder of ``datasets`` opens streams whose tar archives are read to their end: reading them
    raises ``tarfile.ReadError`` where one is damaged."""
    split_generators = builder._split_generators

    def whole(manager):
        manager.iter_archive = partial(_WholeArchive.from_urlpath, download_config=manager.download_config)
        return split_generators(manager)

    builder._split_generators = whole
    try:
        yield
    finally:
        del builder._split_generators  # a stream is pickled with its builder


class _WholeArchive(ArchiveIterable):
    @staticmethod
    def _iter_tar(file):
        file, mode = _unpacked(file)
        with tarfile.open(fileobj=file, mode=mode, tarinfo=_Member) as archive:
            for member in archive:
                if member.isreg() and not os.path.basename(member.name).startswith((".", "__")):  # as datasets does
                    yield member.name, archive.extractfile(member)
                archive.members = []  # else it would keep them all
            while block := archive.fileobj.read(BLOCK):
                if block.strip(b"\0"):
                    raise tarfile.ReadError("there is data after its end")


def _unpacked(file):
    """An archive's file, unpacked if it is compressed, and the mode in which tarfile reads it."""
    start = file.read(2)
    file = _Started(file, start)
    return (_Unpacked(UNPACKERS[start](file)), "r|") if start in UNPACKERS else (file, "r|*")


class _Started:
    """A file of which the ``start`` is already read: streams can't go back."""

    def __init__(self, file, start):
        self._file, self._start = file, start

    def read(self, size):
        start, self._start = self._start[:size], self._start[size:]
        return start + self._file.read(size - len(start))


class _Unpacked:
    """A compressed file whose damage is a ``tarfile.ReadError``, not an OSError as of the network."""

    def __init__(self, file):
        self._file = file

    def read(self, size):
        try:
            return self._file.read(size)
        except OSError as error:
            if type(error) is gzip.BadGzipFile or (type(error) is OSError and error.errno is None):  # the latter: bz2's
                raise tarfile.ReadError(f"it can't be unpacked ({error})") from error
            raise


class _Member(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except tarfile.EmptyHeaderError as error:
            if not archive.offset:  # tarfile reports an empty file
                raise
            raise tarfile.ReadError("it ends without its end mark") from error
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:
            raise tarfile.ReadError(f"the header at byte {archive.offset:,} has a {error}") from error
