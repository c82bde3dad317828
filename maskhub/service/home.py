"""The folder that all of it lies in, and what keeps several processes and visitors out of each other's way.

    MASKHUB_HOME/
        datasets/<name>/{train,test}/      ordinary imagefolders, each with metadata.csv
        models/<name>/                     ordinary pipeline folders
        jobs/<id>/                         job.json, log.txt and the run's own folder

Whoever brings or trains something holds a key, which a browser keeps; on disk is only its hash. Only the holder of that
key may change or delete it through the app.
"""

import hashlib
import json
import os
import re
import secrets
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from maskhub.errors import ConfigError
from maskhub.home import home_folder

__all__ = ["Home", "OwnerError", "check_dataset_name", "held", "owner_of", "read_json", "write_json"]

WAIT = 30
"""Seconds that one writer waits for another."""


class OwnerError(ConfigError):
    """Something that belongs to somebody else."""


class Home:
    """The folder and its rooms.

    Args:
        root: made where it is missing; :func:`~maskhub.home.home_folder` by default.

    Raises:
        ConfigError: it can't be written.
    """

    def __init__(self, root=None):
        self.root = Path(root or home_folder()).expanduser().resolve()
        try:
            for room in (self.datasets, self.models, self.jobs):
                room.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"{self.root} can't be written ({error.strerror}): set MASKHUB_HOME to a folder for data and models."
            ) from error

    @property
    def datasets(self):
        return self.root / "datasets"

    @property
    def models(self):
        return self.root / "models"

    @property
    def jobs(self):
        return self.root / "jobs"

    @contextmanager
    def lock(self):
        """Be the only one who writes, of all threads and processes that use this folder.

        Raises:
            ConfigError: another writer takes too long.
        """
        try:
            with FileLock(self.root / ".lock", timeout=WAIT):
                yield
        except Timeout as error:
            raise ConfigError("too much is being written just now: try again in a minute.") from error


def check_dataset_name(name):
    """``name``, without blanks around it, if a dataset may be called so.

    Raises:
        ConfigError: it may not.
    """
    name = (name or "").strip()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name.endswith("."):
        raise ConfigError(
            f"a dataset can't be called {name!r}: use up to 64 letters, digits, '-', '_' and '.', "
            "and begin with a letter or digit."
        )
    return name


def owner_of(key):
    """What is kept of a visitor's key, or "" where there is none."""
    return hashlib.sha256(f"maskhub {key}".encode()).hexdigest()[:32] if key else ""


def read_json(path):
    """A JSON object, or None where there is none that can be read."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path, record):
    """Write aside, then rename: a reader sees the old object or the new one."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def write_text(path, text):
    """As :func:`write_json`, for any text; several may do so at once."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(aside, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


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
