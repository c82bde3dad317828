"""List the files below a folder, with names that every format can store.

Links to folders are followed, each folder once, so that circular links end. Hidden files and folders are skipped.
"""

import hashlib
import os
import re
import warnings
from pathlib import Path, PurePosixPath

from maskhub.faces.photo import OTHER_PICTURES, PHOTO_SUFFIXES

__all__ = [
    "FILE_NAME", "ORIGINAL_NAME", "chosen_few", "free_name", "free_names", "is_held_out", "is_other_picture",
    "is_photo", "list_files", "listed_name", "no_photo", "original_name",
]  # fmt: skip

FILE_NAME = "file_name"
ORIGINAL_NAME = "original_name"
"""The column of a photo's name in its source, where its file has another one."""
_PLACE = re.compile(r"^\d{6}-\d{6}-(?=.)")
"""What ``dataset build`` puts before the names of photos from the Hub."""


def list_files(folder, leave_out=()):
    """The visible files of a folder and its sub-folders, without the folders ``leave_out``: name → ``Path``, sorted by
    path.

    Names are relative to ``folder``, with slashes; bytes that are not UTF-8 become U+FFFD, since tables and parquet
    files can't hold them.
    """
    folder = Path(folder)
    away = {Path(os.path.realpath(path)) for path in leave_out}
    done, paths, waiting = set(), [], [folder]
    while waiting:  # real folders before links to them
        for root, folders, files in os.walk(waiting.pop(0), onerror=_left_out):
            real = Path(os.path.realpath(root))
            if real in done or away & {real, *real.parents}:
                folders.clear()
                continue
            done.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += [path for path in (Path(root, name) for name in folders) if path.is_symlink()]
            paths += [Path(root, name) for name in files if not name.startswith(".")]
    names = {}
    for path in sorted(paths):
        name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "replace").replace("\r", "_")
        names[free_name(name, names)] = path
    return names


def chosen_few(names, count):
    """Places of ``count`` of the names, ascending: those whose SHA-1 comes first, so that the choice does not depend
    on the folder or on other names."""
    digests = [hashlib.sha1(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest() for name in names]
    return sorted(sorted(range(len(names)), key=digests.__getitem__)[:count])


def is_held_out(file_name):
    """Whether a photo belongs to the tenth that is never trained on.

    The rule: the SHA-1 of the file name without its folder, taken as an integer, is divisible by 10.
    """
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return int(hashlib.sha1(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest(), 16) % 10 == 0


def original_name(columns, name=None):
    """The file name, in its source, of the photo that a picture was made from; :func:`is_held_out` decides by it. None
    if it is unknown. ``columns`` is the picture's row, of which ``original_name`` and ``file_name`` count, ``name`` its
    own name or address, for rows without them."""
    name = (name or "").split("::")[0]  # zip://photo.png::hf://datasets/...
    known, listed = columns.get(ORIGINAL_NAME), str(columns.get(FILE_NAME) or "")
    if listed and name.startswith(f"{PurePosixPath(listed).stem}-"):  # only there `dataset build` wrote the column
        listed = _PLACE.sub("", listed)
    found = str(known or listed or name).replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(filter(str.isprintable, found)) or None


def listed_name(name):
    """A file's name for the column ``file_name`` of a build: one that begins like those of photos from the Hub gets
    ``./`` in front, so that :func:`original_name` keeps it."""
    return f"./{name}" if _PLACE.match(name) else name


def is_photo(name):
    """Whether a file name has the suffix of a photo."""
    return PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES


def is_other_picture(name):
    """Whether a file name has the suffix of a photo of a format that is not read."""
    return PurePosixPath(name).suffix.lower() in OTHER_PICTURES


def no_photo(folder, rest=""):
    """The message for a folder without photos."""
    return f"the folder {folder} holds no photo{rest} (looked for {', '.join(sorted(PHOTO_SUFFIXES))})."


def free_name(name, taken):
    """``name``, with underscores before its suffix until it is not taken."""
    path = PurePosixPath(name)
    while name in taken:
        path = path.with_name(f"{path.stem}_{path.suffix}")
        name = path.as_posix()
    return name


def free_names(columns, taken):
    """New names for columns: dict of name → the name with underscores after it until nothing else has it."""
    names, used = {}, {*taken}
    for column in sorted(columns, key=lambda column: column in used):  # those that may stay as they are come first
        name = column
        while name in used:
            name += "_"
        names[column] = name
        used.add(name)
    return {column: names[column] for column in columns}


def _left_out(error):
    warnings.warn(f"left out: {error.filename} ({error.strerror})", stacklevel=3)
