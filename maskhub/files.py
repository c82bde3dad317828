"""Writing to disk: whole or not at all, through kills, full disks and power cuts.

A file or folder is written under a temporary name beside its place, flushed to the disk, and renamed; the folder around
it is flushed too. So a final name always belongs to something complete. Temporary names start with ``.partial-``, and
:func:`sweep` deletes those that a killed process left behind::

    write_file("out/metadata.csv", text)
    with written_file("out/film.mp4") as temporary:      # for libraries that write to a path
        encode(temporary)
    with written_folder("run/pipeline") as temporary:    # replaces an older folder
        pipeline.save_pretrained(temporary)
"""

import hashlib
import os
import shutil
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from maskhub.errors import WriteError

__all__ = ["append_line", "copy_file", "settle_folder", "sweep", "sync", "write_file", "written_file", "written_folder"]

PARTIAL = ".partial-"
"""Prefix of temporary names, followed by host, process id, a digest of the final name, and its suffix."""
REPLACED = ".replaced-"
"""Prefix of a folder that is being replaced, followed by the digest of its name."""
FOREIGN_AGE = 24 * 3600.0
"""Seconds after which another machine's temporary files count as abandoned: their process can't be looked up."""


def write_file(path, content):
    """Write a file whole or not at all; its folder is made where it is missing.

    Args:
        path: final place.
        content: bytes, or text that is written as UTF-8.

    Raises:
        WriteError: no room, no permission, or no such place. An older file is untouched.
    """
    with written_file(path) as temporary, open(temporary, "wb", buffering=0) as file:
        remaining = memoryview(content.encode() if isinstance(content, str) else content)
        while remaining:  # a raw write may be short
            remaining = remaining[file.write(remaining) :]


@contextmanager
def written_file(path):
    """A temporary path beside ``path``, with its suffix, that takes its place when the block ends without an error.

    Raises:
        WriteError: for every ``OSError``, those of the block included.
    """
    path = Path(path)
    temporary = _temporary(path)
    with _write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


@contextmanager
def written_folder(path):
    """A temporary folder beside ``path`` that takes its place when the block ends without an error.

    A folder that is there already is replaced. That takes two renames: :func:`settle_folder` puts the old one back
    where a process was killed between them.

    Raises:
        WriteError: for every ``OSError``, those of the block included.
    """
    path = Path(path)
    temporary, replaced = _temporary(path), _replaced(path)
    with _write_errors(path):
        settle_folder(path)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for file in sorted(temporary.rglob("*"), reverse=True):
                sync(file)
            sync(temporary)
            if path.exists():
                os.replace(path, replaced)
            os.replace(temporary, path)
            sync(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            settle_folder(path)
            raise
        shutil.rmtree(replaced, ignore_errors=True)


def settle_folder(path):
    """Finish what a killed :func:`written_folder` left: an older folder returns where the new one never arrived."""
    path, replaced = Path(path), _replaced(path)
    if replaced.exists():
        if path.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.replace(replaced, path)


def copy_file(source, target):
    """Copy a file and its modification time, whole or not at all.

    Raises:
        WriteError: as in :func:`write_file`.
    """
    with written_file(target) as temporary:
        shutil.copy2(source, temporary)


def append_line(file, line):
    """Append bytes and a newline to an open binary file, and flush them to the disk."""
    file.write(line + b"\n")
    file.flush()
    os.fsync(file.fileno())


def sync(path):
    """Flush a file or folder to the disk."""
    if os.name == "nt" and Path(path).is_dir():  # Windows can't open folders, and needs no flush for a rename
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder):
    """Delete the temporary files and folders below ``folder`` whose process is gone."""
    for path in list(Path(folder).rglob(f"{PARTIAL}*")):
        if _abandoned(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def _temporary(path):
    return path.with_name(f"{PARTIAL}{_host()}-{os.getpid()}-{_digest(path)}{path.suffix[:16]}")


def _replaced(path):
    return path.with_name(f"{REPLACED}{_digest(path)}")


def _digest(path):
    return hashlib.sha1(os.fsencode(path.name)).hexdigest()[:12]  # the name itself may already be as long as allowed


def _host():
    return hashlib.sha1(socket.gethostname().encode()).hexdigest()[:8]


def _abandoned(path):
    host, process = path.name.removeprefix(PARTIAL).split("-")[:2]
    try:
        if host != _host():
            return time.time() - path.stat().st_mtime > FOREIGN_AGE
        os.kill(int(process), 0)
    except (ProcessLookupError, FileNotFoundError, ValueError):
        return True
    except PermissionError:  # somebody else's process, but alive
        return False
    return False


@contextmanager
def _write_errors(path):
    try:
        yield
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}.") from error
