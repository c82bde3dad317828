"""Build paired datasets at scale: stream a source, put masks on, and write pairs as parquet shards.

    build_dataset("photos", "pairs", Wearing(seed=1), workers=4)
    datasets.load_dataset("pairs", split="train")[0]["masked"]

Row i of the source belongs to rank i mod world. A rank's rows go into shards of a fixed number of source rows, with
rank and number in their names; see :mod:`maskhub.data.shard_file` for the metadata of a shard.
"""

import hashlib
import json
from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from maskhub.data.batch import BatchReport, check_not_input, write_failures
from maskhub.data.card import dataset_card
from maskhub.data.masked import Wearing
from maskhub.data.pairs import make_pairs, pair_features
from maskhub.data.rows import open_rows
from maskhub.data.shard_file import SourceDigest, open_shard, read_note, shard_path
from maskhub.data.workers import check_main_guard, run_jobs
from maskhub.errors import ConfigError
from maskhub.files import HIDDEN, sweep, write_file
from maskhub.hold import hold, in_turn

__all__ = ["BuildReport", "build_dataset"]


@dataclass
class BuildReport(BatchReport):
    """The result of a build; ``made`` and ``kept`` count rows.

    Attributes:
        last: whether this rank completed the dataset and has to push it.
        features: ``datasets.Features`` of the shards.
    """

    last: bool = False
    features: object = field(default=None, repr=False)


def build_dataset(
    spec, output, wearing=None, *, crops=None, shard_size=1000, workers=0, rank=0, world=1, progress=True
):
    """Write pairs of a face dataset as parquet shards ``output/data/train-<rank>-<number>.parquet``.

    Args:
        spec: a folder or a dataset on the Hub, which is streamed.
        output: folder, the same for all ranks. ``failures.csv`` there lists failed photos.
        wearing: :class:`~maskhub.data.masked.Wearing`.
        crops: side in pixels of aligned crops, with a row per masked face; None: whole photos, with a row per photo.
        shard_size: source rows per shard.
        workers: worker processes of this rank; 0: work in this process.
        rank, world: rank and number of processes, as set by ``accelerate launch`` and ``torchrun``.

    Raises:
        SourceError: no such source, or no photo in it.
        ConfigError: an option is out of range, or ``output`` has damaged shards, or shards of other options or photos.
        WriteError: another run holds ``output``, or a shard can't be written.
    """
    check_main_guard()
    wearing, output = wearing or Wearing(), Path(output)
    if crops is not None and not 32 <= crops <= 2048:
        raise ConfigError(f"the crops' side is {crops}; it must lie between 32 and 2048 pixels.")
    if shard_size < 1:
        raise ConfigError(f"the shard size is {shard_size}; it must be 1 or more.")
    if not 0 <= rank < world:
        raise ConfigError(f"the rank is {rank} of {world}; it must lie between 0 and {world - 1}.")
    check_not_input(Path(spec).expanduser(), output)
    rows = open_rows(spec, [output])
    photos = hashlib.sha1("\n".join(rows.names).encode()).hexdigest() if rows.folder else None
    source = rows.spec if rows.folder is None else "folder"
    options = {"source": source, **wearing.identity(), "crops": crops, "shard_size": shard_size, "world": world}
    features, names = pair_features(rows, crops)
    report = BuildReport(features=features)
    with hold(output, "maskhub dataset build", f"rank-{rank}"):
        sweep(output)
        claim(output, options | {"photos": photos})
        was_done = _done_path(output, rank).exists()
        build = _Build(rows, output, features, report, shard_size, rank, world)
        build.write(partial(make_pairs, wearing, crops, names), workers, progress)
        options |= {"source": rows.source.dataset and rows.spec if rows.folder is None else None}
        _finish(output, options, rank, was_done, report)
    return report


@dataclass
class _Build:
    """The share of one rank."""

    rows: object
    output: Path
    features: object
    report: BuildReport
    shard_size: int
    rank: int
    world: int

    def write(self, work, workers, progress):
        """Make missing shards, and verify existing ones."""
        order, numbers = deque(), set()
        total = (len(self.rows) - self.rank + self.world - 1) // self.world if self.rows.folder else None
        with tqdm(total=total, unit="photo", mininterval=0.5, disable=not progress, position=self.rank) as bar:
            answers = _in_order(run_jobs(work, self._todo(order, numbers, bar), workers), order, bar)
            for number, answers_of_shard in groupby(answers, lambda answer: self._shard_of(answer[0])):
                with open_shard(shard_path(self.output, self.rank, number), self.features) as shard:
                    for row, result, reason in answers_of_shard:
                        self._add(shard, row, result, reason)
        for path in (self.output / "data").glob(f"train-{self.rank:04d}-*.parquet"):
            if path not in {shard_path(self.output, self.rank, number) for number in numbers}:
                raise self._other_photos(path)

    def _shard_of(self, row):
        return row.index // self.world // self.shard_size

    def _todo(self, order, numbers, bar):
        """The rows of missing shards; the rows of existing ones are compared with what they were made from."""
        own = (row for row in self.rows if row.index % self.world == self.rank)
        for number, rows in groupby(own, self._shard_of):
            numbers.add(number)
            path = shard_path(self.output, self.rank, number)
            note = read_note(path, self.features)
            if note is None:
                for row in rows:
                    row = row if self.rows.folder is None else replace(row, columns=self.rows.typed(row.columns))
                    order.append(row)
                    yield row
                continue
            found = SourceDigest()
            for row in rows:
                found.add(row)
                bar.update()
            if found.hexdigest() != note["source"]:
                raise self._other_photos(path)
            self.report.kept += note["rows"]
            self.report.failures += map(tuple, note["failures"])

    def _add(self, shard, row, result, reason):
        if reason is not None:
            shard.source.add(row)
            shard.failures.append((row.name, reason))
            self.report.failures.append((row.name, reason))
            return
        digest, pairs = result
        shard.source.add(row, digest)
        shard.add(pairs)
        self.report.made += len(pairs)

    def _other_photos(self, path):
        return ConfigError(f"{path} was made of other photos than this source has now: choose another folder.")


def _in_order(answers, order, bar):
    """Sort results into the order of their rows."""
    waiting = {}
    for row, result, reason in answers:
        waiting[row.index] = result, reason
        bar.update()
        while order and order[0].index in waiting:
            row = order.popleft()
            yield row, *waiting.pop(row.index)


def claim(output, options):
    """Store the options of this dataset, or compare them with those of an earlier run and of other ranks;
    ConfigError if they differ, or the note is damaged."""
    path, options = output / HIDDEN / "build.json", json.loads(json.dumps(options))
    with _lock(output):
        try:
            before = dict(json.loads(path.read_text()))
        except FileNotFoundError:
            before = None
        except (ValueError, TypeError):
            if any((output / "data").glob("*.parquet")):
                raise ConfigError(f"{path} is damaged: delete {output}, and build it again.") from None
            before = None
        if before is None:
            write_file(path, json.dumps(options))
            return
    changed = sorted(key for key in options | before if options.get(key) != before.get(key))
    if changed == ["photos"]:
        raise ConfigError(f"{output} holds a data set of other photos than this folder now has: choose another folder.")
    if changed:
        raise ConfigError(
            f"{output} holds a data set made with a different {', '.join(changed)}: choose another folder."
        )


def _lock(output):
    return in_turn(output / HIDDEN / "build.lock")


def _done_path(output, rank):
    return output / HIDDEN / f"done-{rank:04d}"


def _finish(output, options, rank, was_done, report):
    """Mark this rank as done and collect failures; the last rank to finish completes the dataset."""
    with _lock(output):
        write_file(_done_path(output, rank), f"{report.made + report.kept}\n")
        whole = all(_done_path(output, other).exists() for other in range(options["world"]))
        # if everything was already done and the run is only repeated to push, rank 0 does it
        report.last = whole and (rank == 0 if was_done else True)
        notes = [read_note(path) for path in sorted((output / "data").glob("train-*.parquet"))]
        write_failures(output, sorted((name, reason) for note in notes for name, reason in note["failures"]))
        if whole:
            write_file(output / "README.md", dataset_card(output, options, report.features, notes))
