"""The tables, reports and boxes that a run writes beside its results, without losing a file that it did not write.

texts = Texts("masked", {"metadata.csv", "metadata.jsonl"})     # before the run: refuses if these are not its own
texts.replace({"metadata.csv": table}, failures)                # after it

``.maskhub/texts.json`` has the hashes of all texts that were written, so that a later run knows which are its own: it
replaces or deletes these, and refuses others, also its own ones that were edited since.

A build of a data set leaves such others as they are instead (:func:`replace_own`): its card is made to be edited, and
one of many processes would only meet the edit at the end of its work.
"""

import hashlib
from pathlib import Path

from maskhub.data.tables import FAILURES, failures_text
from maskhub.errors import ConfigError
from maskhub.files import HIDDEN, commit, prepare_file, remove_file
from maskhub.json_file import json_object, json_text, read_json, write_json

__all__ = ["Texts", "replace_own"]

NAME = f"{HIDDEN}/texts.json"


class Texts:
    """The texts of a run.

    Args:
        folder: of the results.
        names: paths of all texts within the folder that the run may write; ``failures.csv`` is always one.
        overwrite: replace and delete texts of these names, whoever wrote them, and all others that a run wrote.

    Raises:
        ConfigError: without ``overwrite``, there is a text of such a name that no run wrote, or that was edited since.
    """

    def __init__(self, folder, names, overwrite=False):
        self.folder, self.names, self.overwrite = Path(folder), {FAILURES, *names}, overwrite
        self._check(self.names)

    def replace(self, texts, failures):
        """Write ``texts``, path in the folder → text, together, and ``failures.csv`` with pairs of file and reason if
        there are any; delete the others of its names, which an earlier run made. Errors as for the class."""
        if failures:
            texts = texts | {FAILURES: failures_text(failures)}
        names, known = self.names | texts.keys(), self._hashes()
        self._check(names)
        hashes = {name: [kept] for name in names | known.keys() if (kept := self._hash(name)) in known.get(name, ())}
        if self.overwrite:
            names |= hashes.keys()  # those of other options, such as other boxes
        for name, text in texts.items():
            hashes[name] = list(dict.fromkeys([*hashes.get(name, ()), _hash(text.encode())]))
        if hashes != known:  # before the texts: a run that is killed in between knows both
            write_json(self.folder / NAME, dict(sorted(hashes.items())))
        for name in names - texts.keys():
            remove_file(self.folder / name)
        commit(prepare_file(self.folder / name, text) for name, text in texts.items())

    def _check(self, names):
        known = {} if self.overwrite else self._hashes()
        for name in () if self.overwrite else sorted(names):
            if (found := self._hash(name)) is not None and found not in known.get(name, ()):
                raise ConfigError(
                    f"{self.folder / name} was not written by this version of maskhub, or was edited since: "
                    "move it away, or overwrite it."
                )

    def _hashes(self):
        return _lists(read_json(self.folder / NAME))

    def _hash(self, name):
        """The hash of a file; None if it doesn't exist, and "", which no text has, if it can't be read."""
        try:
            return _hash((self.folder / name).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return ""


def replace_own(target, texts):
    """Write ``texts``, path → text, or None to delete it, to a target of :mod:`maskhub.data.targets`. Those that no
    run wrote there, or that were edited since, stay as they are, unless they are the same; returns their paths."""
    known = _lists(json_object(target.read(NAME) or b""))
    record, changes, left = dict(known), {}, []
    for name, text in texts.items():
        old, new = target.read(name), None if text is None else target.stored(text)
        if old not in (None, new) and _hash(old) not in known.get(name, ()):
            left.append(name)
            continue
        if old != new:
            changes[name] = text
        if new is not None and (old != new or _hash(new) not in known.get(name, ())):
            record[name] = list(dict.fromkeys(_hash(content) for content in (old, new) if content is not None))
    if record != known:  # before the texts: a run that is killed in between knows both
        changes = {NAME: json_text(dict(sorted(record.items())))} | changes
    if changes:
        target.write(changes)
    return left


def _lists(record):
    """Name → hashes of a record, or None; whatever else a damaged one holds is left out."""
    return {name: hashes for name, hashes in (record or {}).items() if isinstance(hashes, list)}


def _hash(content):
    return hashlib.blake2b(content, digest_size=16).hexdigest()
