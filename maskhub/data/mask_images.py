"""The user's own pictures of masks, in a folder."""

import functools
import hashlib
import multiprocessing
import warnings
from pathlib import Path

from maskhub.data.folder_rows import FolderRows
from maskhub.errors import PhotoError, SourceError
from maskhub.masks.pictures import MaskPicture, MaskPictures

__all__ = ["mask_images_digest", "mask_pictures"]


@functools.lru_cache(4)
def mask_pictures(folder, holdout=False):
    """The :class:`~maskhub.masks.pictures.MaskPictures` of a folder and its sub-folders, read once per process.

    A picture that can't be used is left out with a warning. ``holdout`` leaves out those of
    :func:`~maskhub.data.folder.is_held_out`. SourceError if there is no such folder, or no usable picture in it.
    """
    pictures, faults = [], []
    for path in _pictures(folder, holdout).values():
        try:
            pictures.append(MaskPicture.read(path))
        except PhotoError as error:
            faults.append(f"left out of {folder}: {error}")
    if not pictures:
        raise SourceError(f"{folder} has no picture of a mask that can be used. {faults[0]}")
    if multiprocessing.parent_process() is None:  # workers would repeat the warnings
        for fault in faults:
            warnings.warn(fault, stacklevel=2)
    return MaskPictures(tuple(pictures))


def mask_images_digest(folder):
    """A hash of the pictures' names and contents, which results depend on."""
    found = hashlib.blake2b(digest_size=16)
    for name, path in _pictures(folder).items():
        found.update(name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _pictures(folder, holdout=False):
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise SourceError(f"there is no folder of mask pictures {folder}.")
    found = {row.name: Path(row.photo) for row in FolderRows(folder) if not (holdout and row.held_out)}
    if not found:
        raise SourceError(f"{folder} has no picture of a mask once the held-out tenth is left out.")
    return found
