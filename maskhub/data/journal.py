"""The journal of finished photos, with which an interrupted run continues where it stopped.

A photo counts as done if its content is unchanged and all its results exist with their full size. Files and lines are
flushed to disk together, about once a second, a line never before its files.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from maskhub.errors import ConfigError, WriteError
from maskhub.files import HIDDEN, append_line, commit, discard, remove_file, write_errors, write_file

__all__ = ["RESULTS_OF", "Journal", "check_same_options"]

RESULTS_OF = "2026-11-28d"
"""The day of the last change after which the same photo and options gave other pixels or records: another face found,
another mask drawn, another bundled network; a letter tells changes of one day apart. A run by a version with another
value is not continued.
``tests/test_reference.py`` fails until such a change has its day here."""
NAME = f"{HIDDEN}/journal.jsonl"
INTERVAL = 1.0
"""Seconds between two flushes; flushing many files takes little longer than flushing one."""


@dataclass(frozen=True)
class _Entry:
    source: str | None  # digest of the photo; None: result of an earlier run that this one replaces
    files: dict  # path, relative to the folder → size in bytes
    record: dict


class Journal:
    """The finished photos of ``folder/.maskhub/journal.jsonl``; use it as a context manager. ConfigError if the
    folder's results were made with other options or of other photos, or the journal is damaged; WriteError if it can't
    be written.

    Args:
        folder: folder of the results.
        options: options that the results depend on; a journal with other options is refused, to prevent mixed results.
        overwrite: process everything again; old results that this run does not make are deleted at the end.
    """

    def __init__(self, folder, options, overwrite=False):
        self.folder, self.path = Path(folder), Path(folder) / NAME
        options = json.loads(json.dumps({"results_of": RESULTS_OF, **options}))
        found, self._entries, size = _read(self.path, lenient=overwrite)
        if overwrite:
            self._entries = {name: _Entry(None, entry.files, {}) for name, entry in self._entries.items()}
        elif found is not None:
            check_same_options(f"{folder} holds results", found, options, "choose another folder, or overwrite it.")
        if found is None or overwrite:
            lines = [options, *([name, None, entry.files, {}] for name, entry in self._entries.items())]
            write_file(self.path, "".join(json.dumps(line) + "\n" for line in lines))
            size = None
        self._confirmed = not any(entry.source for entry in self._entries.values())
        self._pending, self._flushed = [], time.monotonic()
        with write_errors(self.path):
            self._file = open(self.path, "ab")  # noqa: SIM115 (kept open)
            if size is not None:
                self._file.truncate(size)

    @staticmethod
    def exists(folder):
        """Whether a folder has a journal."""
        return (Path(folder) / NAME).exists()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        try:
            if self._confirmed:
                self._flush()
        finally:
            discard(file for *_, files in self._pending for file in files)
            self._file.close()

    def is_done(self, name, digest, expected):
        """Whether a photo was done by an earlier run, with results at the ``expected`` paths or without results.

        ``digest`` returns the digest of its content; it is only called if all its files exist. ConfigError if it was
        done with different content.
        """
        entry = self._entries.get(name)
        if entry is None or entry.source is None or not self._whole(entry):
            return False
        if entry.files and set(entry.files) != {self._inside(path) for path in expected}:
            return False
        if digest() != entry.source:
            raise self._other_source(name)
        self._confirmed = True  # commit nothing before one photo is known to be the same
        return True

    def check_names(self, names):
        """Raise a ConfigError if there are results of a photo that the source, with these names, does not have; to
        be called after :meth:`is_done` was called for each."""
        for name in sorted(self._entries.keys() - set(names)):
            entry = self._entries[name]
            if entry.source and entry.files and self._whole(entry):
                raise self._other_source(name)
        self._confirmed = True

    def add(self, name, digest, record, files):
        """Record a finished photo with its digest and a dict for :meth:`record`.

        ``files`` are :class:`~maskhub.files.Prepared` files of its result, which are committed together with the line.
        """
        self._pending.append((name, _Entry(digest, {self._inside(f.path): f.size for f in files}, record), files))
        if self._confirmed and time.monotonic() - self._flushed >= INTERVAL:
            self._flush()

    def finish(self, names):
        """Commit everything at the end of a run on these photos, and delete the results it replaces; errors as for
        :meth:`check_names`."""
        self.check_names(names)
        self._flush()
        kept = {path for entry in self._entries.values() if entry.source for path in entry.files}
        for entry in self._entries.values():
            for path in entry.files.keys() - kept if entry.source is None else ():
                remove_file(self.folder / path)

    def _flush(self):
        pending, self._pending = self._pending, []
        self._flushed = time.monotonic()
        if not pending:
            return
        commit([file for *_, files in pending for file in files])
        lines = [json.dumps([name, entry.source, entry.files, entry.record]).encode() for name, entry, _ in pending]
        with write_errors(self.path):
            append_line(self._file, b"\n".join(lines))
        self._entries |= {name: entry for name, entry, _ in pending}

    def record(self, name):
        """The record of a photo that is done, or None."""
        entry = self._entries.get(name)
        return entry.record if entry is not None and entry.source else None

    def _whole(self, entry):
        try:
            return all((self.folder / path).stat().st_size == size for path, size in entry.files.items())
        except OSError:
            return False

    def _inside(self, path):
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def _other_source(self, name):
        return ConfigError(
            f"{self.folder} holds the result of a different {name} than that of this source: "
            "choose another folder, or overwrite it."
        )


def check_same_options(what, then, now, remedy):
    """Raise a ConfigError if ``what``, which was made with the options ``then``, can't be continued with those of
    ``now``; the message ends with ``remedy``. Both have :data:`RESULTS_OF` as ``results_of``."""
    changed = sorted(key for key in now | then if now.get(key) != then.get(key))
    if "results_of" in changed:
        raise ConfigError(
            f"{what} made by another version of maskhub ({then.get('results_of', 'an earlier day')}); this one "
            f"({now['results_of']}) makes different pixels from the same photos: finish with that version, or {remedy}"
        )
    if changed:
        raise ConfigError(f"{what} with a different {', '.join(changed)}: {remedy}")


def _read(path, lenient=False):
    """Options and entries of a journal up to the first truncated line, and the number of bytes read."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return None, {}, 0
    except OSError as error:
        raise WriteError(f"{path} could not be read: {error.strerror or error}.") from error
    options, entries, size = None, {}, 0
    for number, line in enumerate(lines):
        try:
            value = json.loads(line)
            if number == 0:
                options = dict(value)
            else:
                name, source, files, record = value
                entries[name] = _Entry(source, dict(files), dict(record))
        except (ValueError, TypeError):
            if number == 0 and len(lines) > 1 and not lenient:
                raise ConfigError(f"{path} is damaged: delete {path.parent} to start again.") from None
            break
        size += len(line) + 1
    return options, entries, size
