"""Tar archives of WebDataset, read to their end.

Python's tarfile takes a damaged header for the end of the archive, and does not look at what is behind the end: photos
there would be missing without a word.
"""

import os
import tarfile
from contextlib import contextmanager
from functools import partial

from datasets.utils.file_utils import ArchiveIterable

__all__ = ["whole_archives"]

BLOCK = 1 << 16
"""Bytes read at once behind the end."""


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
        with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as archive:
            for member in archive:
                if member.isreg() and not os.path.basename(member.name).startswith((".", "__")):  # as datasets does
                    yield member.name, archive.extractfile(member)
                archive.members = []  # else it would keep them all
            while block := archive.fileobj.read(BLOCK):
                if block.strip(b"\0"):
                    raise tarfile.ReadError("there are data behind its end")


class _Member(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:
            raise tarfile.ReadError(f"the header at byte {archive.offset:,} has a {error}") from error
