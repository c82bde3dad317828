"""Untrusted zips, read entry by entry and never unpacked: entries can't decide where files are written."""

import io
import re
import stat
import zipfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from maskhub.errors import MaskHubError, PhotoError, first_line
from maskhub.service.limits import MB

__all__ = ["check_entry", "opened_zip", "read_entry"]


@contextmanager
def opened_zip(path, limits):
    """A zip opened for reading, ``zipfile.ZipFile``, and its entries, ``zipfile.ZipInfo``, without folders and without
    files that packing programs add. PhotoError if it can't be read, or exceeds the
    :class:`~maskhub.service.limits.Limits` of a zip."""
    with _Source(path, limits.directory) as file:
        try:
            archive = zipfile.ZipFile(file)
        except MaskHubError:
            raise
        except Exception as error:  # bad fields lead to many kinds of errors
            raise PhotoError(f"{path.name} can't be read as a zip ({first_line(error)[:200]}).") from error
        file.most = None
        with archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _noise(entry.filename)]
            if len(entries) > limits.files:
                raise PhotoError(f"{path.name} holds {len(entries):,} files; at most {limits.files:,} are allowed.")
            total = sum(entry.file_size for entry in entries) / MB
            if total > limits.unpacked / MB:
                most = limits.unpacked // MB
                raise PhotoError(f"{path.name} would unpack to {total:,.0f} MB; at most {most} MB are allowed.")
            yield archive, entries


def check_entry(entry, limits):
    """PhotoError for an entry that points outside the zip, isn't a regular file, is encrypted or too large."""
    name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in entry.orig_filename:
        raise PhotoError("its name points outside the zip.")
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "not a regular file"
        raise PhotoError(f"it is {what}: only pictures are allowed.")
    if entry.flag_bits & 1:
        raise PhotoError("it is encrypted: pack the zip without a password.")
    limits.check_size(entry.file_size)
    ratio = entry.file_size / max(1, entry.compress_size)
    if entry.file_size > MB and ratio > limits.ratio:
        raise PhotoError(f"it would unpack to {ratio:,.0f} times its size: a zip bomb.")


def read_entry(archive, entry, limits):
    """The bytes of an entry. Its header may lie, so never more than the limit is unpacked; PhotoError beyond that."""
    with archive.open(entry) as file:
        data = file.read(limits.file + 1)
    limits.check_size(len(data))
    return data


class _Source(io.FileIO):
    """The file of a zip, which refuses to read more than ``most`` bytes at once while it is set.

    ``zipfile`` reads the whole table of contents and creates an object per entry: 20 MB of it become a gigabyte.
    """

    def __init__(self, path, most):
        super().__init__(path)
        self.most, self.size = most, Path(path).stat().st_size

    def read(self, size=-1):
        left = self.size - self.tell()
        if self.most is not None and (left if size < 0 else min(size, left)) > self.most:
            raise PhotoError("it holds too many files.")
        return super().read(size)


def _noise(name):
    """Whether a packing program has added this file."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or (bool(parts) and parts[-1] in (".DS_Store", "Thumbs.db", "desktop.ini"))
