"""Limits of uploads."""

from dataclasses import dataclass

from maskhub.errors import PhotoError

__all__ = ["MB", "Limits"]

MB = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits of uploads; sizes in bytes."""

    file: int = 20 * MB
    """A picture, packed or not, or a zip file."""
    unpacked: int = 200 * MB
    """Total unpacked size of a zip, as it declares."""
    ratio: int = 200
    """Maximum ratio of unpacked to packed size of an entry above 1 MB; beyond, it is a zip bomb."""
    files: int = 2000
    """Files of an upload, or entries of a zip."""
    pixels: int = 40_000_000
    """Pixels of a picture."""
    side: int = 512
    """Larger pictures are scaled down to this side."""
    dataset: int = 5000
    """Pictures of a dataset."""
    total: int = 2000 * MB
    """All datasets together."""
    name: int = 255
    """Characters of a file name, as most file systems allow."""
    columns: int = 40
    cell: int = 100
    """Columns of the metadata, and characters of a value."""
    line: int = 2**16
    text: int = 4 * MB
    """Characters of a line of metadata, and of all metadata of an upload; in memory they take twenty times as much."""
    directory: int = MB
    """Size of a zip's table of contents."""

    def check_size(self, size):
        """PhotoError if a file of this size is too large."""
        if size > self.file:
            raise PhotoError(f"it is {size / MB:,.0f} MB large; at most {self.file // MB} MB are allowed.")
