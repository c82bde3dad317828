"""What is done already: one line a photo, so that a broken-off run goes on where it stopped."""

import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from maskhub.errors import ConfigError, PhotoError

__all__ = ["HIDDEN", "Journal", "write_bytes", "write_text"]

HIDDEN = ".maskhub"
"""The folder within a result that holds what a later run needs; loaders of data pass over hidden names."""


class Journal:
    """Records of finished photos in ``folder/.maskhub/journal.jsonl``, written by one process.

    Args:
        folder: of the results.
        options: what the results depend on; a journal with others is refused, so that no folder holds a mixture.
        anew: forget an earlier journal.

    Attributes:
        records: name → record (a dict that JSON can hold).
        found: whether there was a journal.

    Raises:
        ConfigError: the folder's results were made with other options.
        PhotoError: the journal can't be written.
    """

    def __init__(self, folder, options, anew=False):
        self.path = Path(folder) / HIDDEN / "journal.jsonl"
        options = json.loads(json.dumps(options))
        with _written(self.path):
            if anew:
                self.path.unlink(missing_ok=True)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole, size = _read(self.path)
        self.found = bool(whole)
        if whole and whole[0] != options:
            changed = sorted(key for key in options | whole[0] if options.get(key) != whole[0].get(key))
            raise ConfigError(
                f"{folder} holds results of another {', '.join(changed)}: choose another folder, or overwrite it."
            )
        self.records = dict(whole[1:])
        with _written(self.path):
            self._file = open(self.path, "ab")  # noqa: SIM115 (kept open)
            self._file.truncate(size)
            if not whole:
                self._add(options)

    def add(self, name, record):
        """Note that a photo is done; its files must lie in their places already."""
        self.records[name] = record
        self._add([name, record])

    def _add(self, value):
        with _written(self.path):
            self._file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
            self._file.flush()

    def close(self):
        self._file.close()


def _read(path):
    """The lines of a journal up to the first that the end of a process or of the machine has spoilt, and their size."""
    values, size = [], 0
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                values.append(json.loads(line))
            except ValueError:
                break
            size += len(line) + 1
    return values, size


def write_bytes(path, data):
    """Write a file whole or not at all.

    Raises:
        PhotoError: no room, or no right to.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with _written(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(data)
            os.replace(aside, path)
        except OSError:
            with suppress(OSError):
                aside.unlink()
            raise


def write_text(path, text):
    """As :func:`write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


@contextmanager
def _written(path):
    try:
        yield
    except OSError as error:
        raise PhotoError(f"{path} could not be written: {error.strerror or error}.") from error
