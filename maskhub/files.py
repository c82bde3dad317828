"""Atomic writes: a file or folder appears whole or not at all, through kills, full disks and power cuts.

A file or folder is written under a temporary name next to its destination, flushed to the disk, and renamed; the parent
folder is flushed too. So a final name always belongs to something complete. Temporary names start with ``.partial-``,
and :func:`sweep` deletes those that a killed process left behind::

    write_file("out/metadata.csv", text)
    with written_file("out/film.mp4") as temporary:      # for libraries that write to a path
        encode(temporary)
    with written_folder("run/pipeline") as temporary:    # replaces an older folder
        pipeline.save_pretrained(temporary)

Flushing costs milliseconds per file. To write thousands of files, prepare them and commit many at once::

    pending = [prepare_file(f"out/{name}", data) for name, data in photos]
    commit(pending)
"""

import errno
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from maskhub.errors import WriteError

__all__ = [
    "HIDDEN", "PARTIAL", "Prepared", "append_line", "commit", "discard", "is_running", "make_folder", "prepare_copy",
    "prepare_file", "remove_file", "remove_folder", "scratch_folder", "settle_folder", "sweep", "sync", "write_errors",
    "write_file", "written_file", "written_folder",
]  # fmt: skip

HIDDEN = ".maskhub"
"""Folder within a result for what a later run needs; dataset loaders ignore hidden names."""

PARTIAL = ".partial-"
"""Prefix of temporary names, followed by host, process id, a hash of the final name, and its suffix."""
REPLACED = ".replaced-"
"""Prefix of a folder that is being replaced, followed by a hash of its name."""
FOREIGN_AGE = 24 * 3600.0
"""Seconds after which temporary files of another machine count as abandoned: its processes can't be checked."""
FLUSHES = 16
"""Files flushed concurrently: the disk completes many flushes in little more time than one."""


@dataclass(frozen=True)
class Prepared:
    """A complete file under a temporary name, the destination for :func:`commit`, and its size in bytes."""

    temporary: Path
    path: Path
    size: int


def write_file(path, content):
    """Write bytes or (as UTF-8) text to a file atomically; its folder is created if missing. WriteError if the disk is
    full, the path is invalid or may not be written to; an existing file is then untouched."""
    commit([prepare_file(path, content)])


def prepare_file(path, content):
    """Write a :class:`Prepared` file next to ``path``, for :func:`commit`; otherwise as :func:`write_file`."""
    content = content.encode() if isinstance(content, str) else content
    with _prepared(path) as temporary, open(temporary, "wb", buffering=0) as file:
        remaining = memoryview(content)
        while remaining:  # a raw write may be partial
            remaining = remaining[file.write(remaining) :]
    return Prepared(temporary, Path(path), len(content))


def prepare_copy(source, target):
    """As :func:`prepare_file`, with the content and modification time of another file."""
    with _prepared(target) as temporary:
        shutil.copy2(source, temporary)
    return Prepared(temporary, Path(target), temporary.stat().st_size)


def commit(files):
    """Flush prepared files to the disk and rename them; on return all of them are durable.

    ``files`` may be a generator that prepares them: if it fails, those already prepared are deleted. WriteError if a
    file can't be flushed or renamed; those not yet renamed are deleted.
    """
    prepared = []
    try:
        for file in files:
            prepared.append(file)
        _sync_all([file.temporary for file in prepared], prepared)
        for file in prepared:
            with write_errors(file.path):
                os.replace(file.temporary, file.path)
        folders = {file.path.parent: file for file in prepared}
        _sync_all(list(folders), folders.values())
    except BaseException:
        discard(prepared)
        raise


def discard(files):
    """Delete prepared files instead of committing them."""
    for file in files:
        with suppress(OSError):
            file.temporary.unlink()


@contextmanager
def _prepared(path):
    path = Path(path)
    temporary = _temporary(path)
    with write_errors(path):
        try:
            make_folder(path.parent)
            yield temporary
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _sync_all(paths, files):
    def sync_one(path, file):
        with write_errors(file.path):
            sync(path)

    if len(paths) == 1:
        sync_one(paths[0], next(iter(files)))
    elif paths:
        with ThreadPoolExecutor(min(FLUSHES, len(paths))) as threads:
            for _ in threads.map(sync_one, paths, files):
                pass


@contextmanager
def written_file(path):
    """A temporary path next to ``path``, with its suffix, that replaces it when the block ends without an error. Any
    ``OSError``, including one raised in the block, becomes a WriteError."""
    with _prepared(path) as temporary:
        yield temporary
    commit([Prepared(temporary, Path(path), temporary.stat().st_size)])


@contextmanager
def written_folder(path):
    """A temporary folder next to ``path`` that replaces it when the block ends without an error; errors as for
    :func:`written_file`.

    Replacing an existing folder takes two renames: if a process is killed between them, :func:`settle_folder` restores
    the old one.
    """
    path = Path(path)
    temporary, replaced = _temporary(path), _replaced(path)
    with write_errors(path):
        settle_folder(path)
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            make_folder(path.parent)
            temporary.mkdir()
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


@contextmanager
def scratch_folder():
    """A temporary folder, deleted after the block, or by the next call if the process is killed in it."""
    home = Path(tempfile.gettempdir()) / "maskhub"
    folder = _temporary(home / secrets.token_hex(4))
    with write_errors(folder):
        home.mkdir(exist_ok=True)
        _delete_abandoned(home.glob(f"{PARTIAL}*"))
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settle_folder(path):
    """Clean up after a killed :func:`written_folder` or :func:`remove_folder` of this path.

    The old folder is restored if the new one was not renamed yet; temporary folders of dead processes are deleted.
    """
    path, replaced = Path(path), _replaced(path)
    _delete_abandoned(path.parent.glob(f"{PARTIAL}*-{_digest(path)}*"))
    if replaced.exists():
        if path.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.replace(replaced, path)


def remove_file(path):
    """Delete a file durably, if it exists; WriteError without permission."""
    path = Path(path)
    with write_errors(path):
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        sync(path.parent)


def remove_folder(path):
    """Delete a folder: it disappears at once, and whatever a kill leaves behind has a temporary name. WriteError
    without permission, or if the folder does not exist."""
    path = Path(path)
    temporary = _temporary(path)
    with write_errors(path):
        settle_folder(path)
        shutil.rmtree(temporary, ignore_errors=True)
        os.replace(path, temporary)
        sync(path.parent)
    shutil.rmtree(temporary, ignore_errors=True)


def make_folder(path):
    """Create a folder and its missing parents durably."""
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def append_line(file, line):
    """Append bytes and a newline to an open binary file, and flush them to the disk."""
    file.write(line + b"\n")
    file.flush()
    os.fsync(file.fileno())


def sync(path):
    """Flush a file or folder to the disk."""
    folder = Path(path).is_dir()
    if os.name == "nt" and folder:  # Windows can't open folders, and need not flush a rename
        return
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        # folders without read permission, and file systems that can't flush folders
        if not folder or error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise


def sweep(folder):
    """Delete the temporary files and folders below ``folder`` whose process has ended."""
    _delete_abandoned(Path(folder).rglob(f"{PARTIAL}*"))


def _delete_abandoned(paths):
    for path in list(paths):
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
    return hashlib.sha1(os.fsencode(path.name)).hexdigest()[:12]  # the name itself may already have the maximum length


def _host():
    return hashlib.sha1(socket.gethostname().encode()).hexdigest()[:8]


def _abandoned(path):
    try:
        host, process = path.name.removeprefix(PARTIAL).split("-")[:2]
        written = path.stat().st_mtime
        if host != _host():
            return time.time() - written > FOREIGN_AGE
        return not is_running(int(process), written)
    except (FileNotFoundError, ValueError):
        return True


def is_running(process, since=None):
    """Whether a process exists on this machine and, if ``since`` (Unix time) is given, was running then."""
    import psutil

    try:
        found = psutil.Process(process)
        # process ids are reused
        return found.status() != psutil.STATUS_ZOMBIE and (since is None or found.create_time() < since + 1)
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
    except psutil.AccessDenied:
        return True


@contextmanager
def write_errors(path):
    """Convert any ``OSError`` in the block to a :class:`WriteError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}.") from error
