"""Locks that allow one run at a time in an output folder.

with hold("out", "maskhub mask"):
    ...          # a second run fails with one line that names this one
"""

import os
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from maskhub.errors import ConfigError, WriteError
from maskhub.files import HIDDEN, is_running, make_folder, write_errors
from maskhub.json_file import read_json, write_json

__all__ = ["hold", "in_turn"]

ORPHANS = 20.0
"""Seconds to wait for a folder whose holder was killed: its child processes notice within seconds."""


@contextmanager
def hold(folder, by):
    """Lock an output folder, created if missing, against other runs while the block runs. A killed process releases its
    lock. WriteError if another run holds the folder (the message names it, as it gave ``by``), or it can't be written
    to."""
    from filelock import FileLock, Timeout

    lock = Path(folder) / HIDDEN / "lock"
    owner = lock.with_name("lock.json")
    try:
        make_folder(lock.parent)
        held = FileLock(lock)
        try:
            held.acquire(timeout=0)
        except Timeout:
            held.acquire(timeout=ORPHANS if _gone(_owner(owner)) else 0)
    except Timeout:
        who = _named(_owner(owner))
        raise WriteError(f"{folder} is in use by {who}. Wait for it to end, or choose another folder.") from None
    except OSError as error:
        raise WriteError(f"{folder} could not be written to: {error.strerror or error}.") from error
    try:
        facts = {"by": by, "process": os.getpid(), "host": socket.gethostname()}
        write_json(owner, facts | {"since": time.strftime("%Y-%m-%d %H:%M")})
        yield
    finally:
        with suppress(OSError):
            owner.unlink()
        held.release()


@contextmanager
def in_turn(path, wait=-1, busy=""):
    """Let processes run the block one after another; ``path`` is the lock file, whose folder is created. WriteError if
    it can't be written, ConfigError with the text ``busy`` if others take longer than ``wait`` seconds."""
    from filelock import FileLock, Timeout

    path = Path(path)
    lock = FileLock(path)
    with write_errors(path.parent):
        make_folder(path.parent)
        try:
            lock.acquire(timeout=wait)
        except Timeout as error:  # a subclass of OSError
            raise ConfigError(busy) from error
    try:
        yield
    finally:
        lock.release()


def _owner(path):
    facts = read_json(path) or {}
    return facts if isinstance(facts.get("process"), int) else {}


def _named(owner):
    if not owner:
        return "another run"
    return f"`{owner.get('by')}`, process {owner['process']} on {owner.get('host')}, since {owner.get('since')}"


def _gone(owner):
    return bool(owner) and owner.get("host") == socket.gethostname() and not is_running(owner["process"])
