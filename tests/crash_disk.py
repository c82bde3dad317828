"""A disk that stops at a chosen step, and what is left on it: for tests of commands that must survive it.

    disk, _ = run_with(root, command, None, keep, monkeypatch)     # a run without a fault
    for step in range(len(disk.steps)):
        disk, _ = run_with(root, command, Fault(step, "kill"), keep, monkeypatch)
        disk.restore()                                             # the folder as the fault left it
        command()                                                  # must end with everything in its place

A step is one call of the operating system that changes the disk: a raw write, fsync, rename, new folder, deletion.
What a power cut leaves is computed from the calls of fsync: contents that were not flushed are gone, and (``"names
lost"``) so are new names, renames and deletions in a folder that was not flushed after them. ``"contents lost"`` is
what ext4 and XFS show most often: the rename is there, the bytes are not.
"""

import builtins
import errno
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CUTS", "ERRORS", "Disk", "Fault", "PowerCut", "run_with", "visible"]

CUTS = ("kill", "contents lost", "names lost")
"""What ends a run at a step: a kill leaves all that was written, a power cut not even that."""
ERRORS = {"no room": errno.ENOSPC, "broken disk": errno.EIO}
"""What a step raises."""


DEAD = 4_000_000
"""The id of no process."""


class PowerCut(BaseException):
    """The end of the process; no handler of errors may stop it."""


@dataclass(frozen=True)
class Fault:
    """What happens at a step: one of :data:`CUTS` or :data:`ERRORS`, or ``"short writes"`` at all steps."""

    step: int
    kind: str


class Disk:
    """Watches the steps below a folder, and breaks off at one of them.

    Args:
        root: the folder.
        fault: :class:`Fault`, or None.
        keep: folder outside of ``root``, for links to all files that were flushed: so no inode is used twice.

    Attributes:
        steps: the names of the steps so far.
        left: what the fault left: path within the root → bytes, or None for a folder; None before it.
    """

    def __init__(self, root, fault, keep):
        self.root, self.fault, self.keep = Path(root).resolve(), fault, Path(keep)
        self.steps, self.left = [], None
        self._contents, self._names = {}, {}
        self.keep.mkdir(parents=True, exist_ok=True)
        if self.root.exists():  # what was there before is on the disk
            for folder, _, files in os.walk(self.root):
                for name in files:
                    self._flushed_file(Path(folder, name))
                self._flushed_folder(folder)

    def step(self, name, path=None, write=None):
        """One step is about to happen; ``write(half)`` writes half of what was to be written."""
        if self.left is not None or (path is not None and not self._inside(path)):
            return
        number = len(self.steps)
        self.steps.append(name)
        if self.fault is None or self.fault.step != number:
            return
        if self.fault.kind in ERRORS:
            raise OSError(ERRORS[self.fault.kind], os.strerror(ERRORS[self.fault.kind]))
        if self.fault.kind in CUTS:
            if write is not None:
                write()
            self.left = self.survivors(self.fault.kind)
            raise PowerCut(f"{self.fault.kind} at step {number}, {name}")

    def synced(self, handle):
        """A file or folder was flushed."""
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if self._inside(path) and path.exists():
            if path.is_dir():
                self._flushed_folder(path)
            else:
                self._flushed_file(path)

    def restore(self):
        """Make the folder what the fault left of it."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        for name, content in self.left.items():
            path = self.root / name.replace(f"-{os.getpid()}-", f"-{DEAD}-")  # the process that wrote it has ended
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def _inside(self, path):
        try:
            return Path(os.path.realpath(path)).is_relative_to(self.root)
        except (TypeError, ValueError, OSError):
            return False

    def _flushed_file(self, path):
        inode = os.stat(path).st_ino
        if inode not in self._contents:
            os.link(path, self.keep / str(inode))
        self._contents[inode] = Path(path).read_bytes()

    def _flushed_folder(self, path):
        with os.scandir(path) as entries:
            names = {entry.name: (entry.inode(), entry.is_dir(follow_symlinks=False)) for entry in entries}
        self._names[os.stat(path).st_ino] = names

    def removed_folder(self, path):
        """A folder is about to go, and its inode may be used again: until its parent is flushed it may come back."""
        if not self._inside(path):
            return
        inode = os.stat(path).st_ino
        gone = -len(self.steps)
        self._names[gone] = self._names.pop(inode, {})
        for names in self._names.values():
            for name, entry in names.items():
                if entry == (inode, True):
                    names[name] = (gone, True)

    def survivors(self, kind):
        """What one of :data:`CUTS` would leave now: path within the root → bytes, or None for a folder."""
        left = {}

        def walk(folder, inode, inside):
            if kind == "names lost":
                names = self._names.get(inode, {})
            else:
                with os.scandir(folder) as entries:
                    names = {e.name: (e.inode(), e.is_dir(follow_symlinks=False)) for e in entries}
            for name, (child, is_folder) in sorted(names.items()):
                path = f"{inside}{name}"
                if is_folder:
                    left[path] = None
                    walk(os.path.join(folder, name), child, f"{path}/")
                elif kind == "kill":
                    left[path] = Path(folder, name).read_bytes()
                else:
                    left[path] = self._contents.get(child, b"")

        if self.root.exists():
            walk(self.root, os.stat(self.root).st_ino, "")
        return left


class _File:
    """A file opened for writing, whose raw writes are steps; all else is the file's own."""

    def __init__(self, file, disk, path):
        self._file, self._disk, self._path = file, disk, path

    def write(self, data):
        data = bytes(data)
        self._disk.step("write", self._path, lambda: self._half(data))
        fault, raw = self._disk.fault, not hasattr(self._file, "raw")
        short = fault is not None and fault.kind == "short writes" and raw and len(data) > 1
        return self._file.write(data[: len(data) // 2] if short else data)

    def _half(self, data):
        self._file.write(data[: len(data) // 2])
        self._file.flush()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


@contextmanager
def _watched(disk, monkeypatch):
    """Let every call of the operating system that changes the disk be a step."""
    real = {name: getattr(os, name) for name in ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir", "link")}
    real_open = builtins.open

    def call(name, path, *arguments, **options):
        where = options.get("dir_fd")
        at = path if where is None else os.path.join(os.readlink(f"/proc/self/fd/{where}"), path)
        disk.step(name, at)
        if name == "rmdir":
            disk.removed_folder(at)
        return real[name](path, *arguments, **options)

    def fsync(handle):
        handle = handle if isinstance(handle, int) else handle.fileno()
        disk.step("fsync", os.readlink(f"/proc/self/fd/{handle}"))
        disk.synced(handle)  # that is all: the disk below needs no flush

    def watched_open(file, mode="r", *arguments, **options):
        opened = real_open(file, mode, *arguments, **options)
        if "b" in mode and set(mode) & set("wax+") and not isinstance(file, int) and disk._inside(file):
            return _File(opened, disk, file)
        return opened

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(os, name, fsync if name == "fsync" else lambda *a, _name=name, **o: call(_name, *a, **o))
        patch.setattr(builtins, "open", watched_open)
        yield


class _OneByOne:
    """A ThreadPoolExecutor without threads, so that steps come in one order."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def map(self, function, *iterables):
        return [function(*arguments) for arguments in zip(*iterables, strict=False)]


def run_with(root, command, fault, keep, monkeypatch):
    """Run a command with a fault below a folder.

    Returns:
        :class:`Disk`, and the exception that the command raised, or None.
    """
    from maskhub import files
    from maskhub.data import journal

    shutil.rmtree(keep, ignore_errors=True)
    disk, raised = Disk(root, fault, keep), None
    with monkeypatch.context() as patch:
        patch.setattr(files, "ThreadPoolExecutor", _OneByOne)
        patch.setattr(journal, "INTERVAL", 0)  # a commit for each photo
        with _watched(disk, patch):
            try:
                command()
            except (PowerCut, Exception) as error:
                raised = error
    return disk, raised


def visible(root):
    """The files below a folder that are not hidden: path → bytes."""
    root = Path(root)
    paths = ((path, path.relative_to(root)) for path in sorted(root.rglob("*")))
    return {
        inside.as_posix(): path.read_bytes()
        for path, inside in paths
        if path.is_file() and not any(part.startswith(".") for part in inside.parts)
    }
