"""The folder for all data of the service, with locks between processes and keys of owners.

    MASKHUB_HOME/
        datasets/<name>/{train,test}/      ordinary imagefolders, each with metadata.csv
        models/<name>/                     ordinary pipeline folders
        jobs/<id>/                         job.json, log.txt and the run's own folder

Whoever uploads or trains something has a key, stored by the browser; only its hash is stored on disk. In the app, only
the holder of the key can change or delete it.
"""

import hashlib
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from maskhub.errors import ConfigError
from maskhub.files import make_folder, write_errors
from maskhub.hold import in_turn
from maskhub.home import home_folder

__all__ = ["JOB", "Home", "OwnerError", "check_dataset_name", "held", "owner_of", "owns", "process_folder"]

JOB = "job.json"
"""The record of a job, in its folder."""
WAIT = 30
"""Seconds that a writer waits for another one."""
BUSY = "other uploads are being written: try again in a minute."


class OwnerError(ConfigError):
    """It belongs to somebody else."""


class Home:
    """The folder and its subfolders, created if missing; :func:`~maskhub.home.home_folder` by default. ConfigError if
    it can't be written to."""

    def __init__(self, root=None):
        self.root = Path(root or home_folder()).expanduser().resolve()
        self.datasets, self.models, self.jobs = (self.root / name for name in ("datasets", "models", "jobs"))
        try:
            for room in (self.datasets, self.models, self.jobs):
                make_folder(room)
            probe = self.root / f".probe-{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"{self.root} can't be written ({error.strerror}): set MASKHUB_HOME to a folder for data and models."
            ) from error

    @contextmanager
    def lock(self):
        """Lock the folder for writing, against all other threads and processes. ConfigError if another writer takes too
        long, WriteError if the folder can't be written to."""
        with in_turn(self.root / ".lock", WAIT, BUSY):
            yield


def check_dataset_name(name):
    """The name of a dataset without surrounding blanks; ConfigError if it is not allowed."""
    name = (name or "").strip()
    if not name:
        raise ConfigError("give the dataset a name first.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name.endswith("."):
        raise ConfigError(
            f"a dataset can't be called {name!r}: use up to 64 letters, digits, '-', '_' and '.', "
            "and begin with a letter or digit."
        )
    return name


def owner_of(key):
    """The stored hash of a visitor's key, or "" without a key."""
    return hashlib.sha256(f"maskhub {key}".encode()).hexdigest()[:32] if key else ""


def owns(key, facts):
    """Whether something with these facts belongs to the holder of ``key``."""
    return bool(key) and facts.get("owner") == owner_of(key)


def held(path):
    """Whether a living process holds the lock file ``path``."""
    if not Path(path).exists():
        return False
    lock = FileLock(path, timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True


@contextmanager
def process_folder(parent, prefix):
    """A new folder in ``parent`` that is deleted at the end of the block, or by the next call if its process was
    killed: a lock file next to the folder shows whether that is alive. WriteError if it can't be created."""
    parent = Path(parent)
    _sweep_dead(parent, prefix)
    folder = parent / f"{prefix}{secrets.token_hex(8)}"
    lock = _lock_of(folder)
    with in_turn(lock, WAIT, BUSY):
        try:
            with write_errors(folder):
                folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                lock.unlink()


def _sweep_dead(parent, prefix):
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):  # of another user, or already deleted
            if folder.is_dir() and not folder.is_symlink() and not held(_lock_of(folder)):
                shutil.rmtree(folder, ignore_errors=True)
                _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder):
    return folder.with_name(f"{folder.name}.lock")
