"""The plan of a build: which units of the source become which shards. It is the same on every machine."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial

from maskhub.data.column_boxes import open_own_boxes
from maskhub.data.journal import RESULTS_OF, check_same_options
from maskhub.data.pairs import make_pairs, pair_features
from maskhub.data.rows import open_rows
from maskhub.data.shard_file import SourceDigest, read_note
from maskhub.data.targets import FolderTarget
from maskhub.errors import ConfigError

__all__ = ["Plan", "plan_build"]

IN_A_FOLDER = 5000
"""Shards in a folder; the Hub recommends less than 10,000 files."""


@dataclass(frozen=True)
class Plan:
    """Everything that the shards depend on; it can be pickled: ``rows`` of :func:`~maskhub.data.rows.open_rows`, and
    their ``units``, in order; the names of the ``shards``; ``work``, a function of a row that makes its pairs; the
    ``datasets.Features`` of the shards, and the ``options`` that each carries; and the spec of a ``source`` on the Hub,
    or None."""

    rows: object
    units: list
    shards: list
    work: object
    features: object
    options: dict
    source: str | None

    def check(self, target, units):
        """Compare existing shards with the plan, and those of ``units`` with their photos. Returns their names → their
        bytes; ConfigError if some are damaged or of other options or photos."""
        there = target.shards()
        for name in there.keys() - set(self.shards):
            self._refuse(target, name)
        if isinstance(target, FolderTarget):  # elsewhere reading would cost more, and stores have checksums
            for unit in units:
                if self.shards[unit.index] in there:
                    self._check_shard(target.folder / self.shards[unit.index], unit)
        return there

    def _check_shard(self, path, unit):
        note = read_note(path, self.features)
        if self.source is None:
            found = SourceDigest()
            for row in self.rows.read(unit):
                found.add(row)
            if found.hexdigest() != note["source"]:
                raise ConfigError(f"{path} was made from other photos than this source has now: choose another folder.")

    def _refuse(self, target, name):
        """Say why a shard is not one of this build's."""
        options = read_note(f"{target}/{name}", file=target.open(name)).get("options") or {}
        check_same_options(f"{target} holds a data set", options, self.options, "choose another folder.")
        raise ConfigError(
            f"{target} holds a data set made from other photos than this source has now ({name} belongs to none of "
            "them): choose another folder."
        )


def plan_build(spec, wearing, crops, shard_size, leave_out=()):
    """The :class:`Plan` of a build; arguments as for :func:`~maskhub.data.shards.build_dataset`. SourceError if there
    is no such source, or no photo in it."""
    rows = open_rows(spec, leave_out)
    units = rows.units(shard_size)
    features, names = pair_features(rows, crops)
    if rows.folder is None:
        about = {
            "source": "/".join(filter(None, (rows.source.dataset, rows.source.config))),
            "split": rows.source.split,
        }
        about |= {"column": rows.source.column, "shard_size": None}
    else:
        about = {"source": "folder", "split": None, "column": None, "shard_size": shard_size}
    own = open_own_boxes(rows, wearing.own_boxes, wanted=False)
    about |= {"own_boxes": own.digest} if own else {}
    options = json.loads(json.dumps(about | wearing.identity() | {"crops": crops, "results_of": RESULTS_OF}))
    shards = [_shard(unit, units, rows.split_of(unit), options) for unit in units]
    work = partial(make_pairs, wearing, crops, names, own=own)
    return Plan(rows, units, shards, work, features, options, rows.spec if rows.folder is None else None)


def _shard(unit, units, split, options):
    """The path of the shard of one of the ``units`` in the data set."""
    folder = "data" if len(units) <= IN_A_FOLDER else f"data/{unit.index // IN_A_FOLDER:03d}"
    text = json.dumps([unit.name, options], sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
    return f"{folder}/{split}-{unit.index:06d}-{digest}.parquet"
