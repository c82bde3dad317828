"""Build paired datasets at scale: read the units of a source, put masks on, and write pairs as parquet shards.

    build_dataset("photos", "pairs", Wearing(seed=1), workers=4)
    datasets.load_dataset("pairs", split="train")[0]["masked"]

Each unit of the source (:mod:`maskhub.data.units`) becomes one shard, whose name follows from what is stored in the
unit and from the options. A shard appears whole or not at all, so one that exists is finished, and any number of
processes on any machines can work on the same data set; see :mod:`maskhub.data.schedule`.
"""

import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tqdm import tqdm

from maskhub.data.batch import BatchReport, check_not_input
from maskhub.data.card import dataset_card
from maskhub.data.masked import Wearing
from maskhub.data.plan import plan_build
from maskhub.data.schedule import Schedule
from maskhub.data.shard_file import open_shard, read_note
from maskhub.data.summary import SHOWN, SUMMARY, merged, summary_page
from maskhub.data.tables import FAILURES, failures_text
from maskhub.data.targets import FolderTarget, HubTarget, MirroredTarget, open_target
from maskhub.data.work import Shards
from maskhub.data.workers import check_main_guard, run_jobs
from maskhub.errors import ConfigError, MaskHubError, SourceError

__all__ = ["BuildReport", "build_dataset", "make_shards"]

READERS = 16
"""Notes of shards read at once."""


@dataclass
class BuildReport(BatchReport):
    """The result of a build. ``made`` counts the rows of this process, ``kept`` those that were there before it, and
    ``shared`` those that other processes made meanwhile; ``failures`` are those of the whole data set, in which
    ``missing`` shards are not there yet. Until it is complete, and where another process reports on it, ``whole`` is
    false: ``kept`` and ``shared`` are 0, and ``failures`` those of this process. ``features`` are the
    ``datasets.Features`` of the shards, ``url`` is the address of the data set on the Hub, if it is there."""

    shared: int = 0
    whole: bool = False
    missing: int = 0
    features: object = field(default=None, repr=False)
    url: str | None = None

    def describe(self):
        """What this process made and what the whole data set has, in words."""
        failed = f"{len(self.failures)} failed"
        if not self.whole:
            return f"{self.made} made by this process, {failed}"
        made = f"{self.made} made, {self.kept} already there"
        if not self.shared:
            return f"{made}, {failed}"
        total = self.made + self.kept + self.shared
        return f"{made}, {self.shared} made by other processes meanwhile: {total} in all, {failed}"


def build_dataset(
    spec, output, wearing=None, *, crops=None, shard_size=1000, workers=0, rank=None, world=1, engine="local",
    push_to_hub=None, private=None, progress=True,
):  # fmt: skip
    """Write pairs of a face dataset as parquet shards ``data/<split>-<unit>-<hash>.parquet``; photos keep their split.
    SourceError if there is no such source, or no photo in it; ConfigError if an option is out of range, or ``output``
    has damaged shards, or shards of other options or photos; WriteError if a shard can't be written, HubError if it
    can't be uploaded.

    Args:
        spec: a folder or a dataset on the Hub, which is streamed.
        output: a folder, ``hf://datasets/user/name``, or an address of fsspec. ``failures.csv`` there lists failed
            photos once the data set is complete. A card, summary or list there that is not of a build, or was edited
            since, stays as it is, with a warning.
        wearing: :class:`~maskhub.data.masked.Wearing`.
        crops: side in pixels of aligned crops, with a row per masked face; None: whole photos, with a row per photo.
        shard_size: photos of a folder per shard.
        workers: worker processes of this process, or of each Ray task; 0: work in this process.
        rank, world: rank and number of processes, as set by ``accelerate launch``, ``torchrun`` and Slurm. They only
            say where a process begins; any other processes may help.
        engine: ``"local"``, or ``"ray"`` to run a task per unit on a Ray cluster.
        push_to_hub: upload the shards of a folder to this dataset, ``user/name``, as they are made.
        private: whether a new dataset on the Hub is private.
    """
    check_main_guard()
    wearing = wearing or Wearing()
    Shards(crops=crops, workers=workers, shard_size=shard_size, engine=engine)  # checks their ranges
    if not 0 <= (rank or 0) < world:
        raise ConfigError(f"the rank is {rank} of {world}; it must lie between 0 and {world - 1}.")
    if "://" not in str(output):
        check_not_input(Path(spec).expanduser(), output)
    plan = plan_build(spec, wearing, crops, shard_size, [output])
    target = open_target(output, world, private)
    if push_to_hub:
        target = _mirrored(target, HubTarget(push_to_hub, world, private))
    schedule = Schedule(plan, target, rank, world)
    report = BuildReport(features=plan.features, url=target.hub and target.hub.url)
    target.prepare()
    before = plan.check(target, schedule.own_units())
    try:
        _work(plan, target, schedule, engine, workers, report, progress)
        target.flush()
    except BaseException:
        with suppress(MaskHubError):
            target.flush()  # what is finished is not lost
        raise
    _finish(plan, target, report, before, everything=rank in (None, 0) or not schedule.waited)
    return report


def _mirrored(target, hub):
    if type(target) is not FolderTarget:
        raise ConfigError(f"{target} is not a folder: leave out push_to_hub, or build hf://datasets/{hub.repo_id}.")
    return MirroredTarget(target.folder, hub)


def _work(plan, target, schedule, engine, workers, report, progress):
    total = sum(unit.rows for unit in plan.units) if all(unit.rows for unit in plan.units) else None
    position = schedule.rank or 0
    with tqdm(total=total, unit="photo", mininterval=0.5, disable=not progress, position=position) as bar:
        if engine == "ray":
            from maskhub.data.engine import make_on_ray

            make_on_ray(plan, target, schedule.free(), workers, report, bar)
            return
        while True:
            make_shards(plan, target, schedule.free(), workers, report, bar)
            target.flush()
            if not schedule.wait():
                return


def make_shards(plan, target, units, workers, report, bar):
    """Make the shards of ``units``, an iterable that is read as the work goes on, for a
    :class:`~maskhub.data.plan.Plan` at a target of :mod:`maskhub.data.targets`, with ``workers`` processes (0: in this
    one); counts in a :class:`BuildReport` and a ``tqdm`` bar."""
    order = deque()

    def rows():
        for unit in units:
            for row in plan.rows.read(unit):
                order.append((unit, row))
                yield row
            order.append((unit, None))  # so that a unit without rows has a shard, too

    answers = _in_order(run_jobs(plan.work, rows(), workers), order, bar)
    for unit, of_unit in groupby(answers, itemgetter(0)):
        with (
            target.place(plan.shards[unit.index]) as path,
            open_shard(path, plan.features, plan.options) as shard,
        ):
            shard.shows = unit.index < SHOWN
            for _, row, answer in of_unit:
                if row is not None:
                    _add(shard, row, *answer, report)


def _in_order(answers, order, bar):
    """Yield ``(unit, row, (result, reason))`` in the order of the rows, and ``(unit, None, None)`` after each unit."""
    waiting = {}
    for row, *answer in answers:
        waiting[id(row)] = answer
        bar.update()
        while order and (order[0][1] is None or id(order[0][1]) in waiting):
            unit, row = order.popleft()
            yield unit, row, waiting.pop(id(row), None)
    while order:
        yield *order.popleft(), None


def _add(shard, row, result, reason, report):
    if reason is not None:
        shard.fail(row, reason)
        report.failures.append((row.name, reason))
        return
    digest, pairs = result
    shard.source.add(row, digest)
    shard.add(pairs)
    report.made += len(pairs)


def _finish(plan, target, report, before, everything):
    """Write the card and the failures if all shards are there; they are the same, whoever writes them, and those that
    were edited are kept. Without ``everything``, the notes are left for another process to read. ``before`` are the
    shards that were there first."""
    there = target.shards()
    report.missing = sum(name not in there for name in plan.shards)
    if report.missing or not everything:
        return
    with ThreadPoolExecutor(READERS) as readers:
        notes = list(readers.map(lambda name: read_note(f"{target}/{name}", file=target.open(name)), plan.shards))
    report.whole, rows = True, sum(note["rows"] for note in notes)
    report.kept = sum(note["rows"] for name, note in zip(plan.shards, notes, strict=True) if name in before)
    report.shared = rows - report.kept - report.made
    report.failures = sorted((name, reason) for note in notes for name, reason in note["failures"])
    if not rows + len(report.failures):
        raise SourceError(f"the dataset {plan.source} holds no photo.")
    shards = {name: there[name] for name in plan.shards}
    card = dataset_card(shards, plan.options | {"source": plan.source}, plan.features, notes)
    summary = _summary(plan, rows, report, notes)
    for place in target.replace({FAILURES: failures_text(report.failures), "README.md": card, SUMMARY: summary}):
        warnings.warn(
            f"{place} was not written by this version of maskhub, or was edited since: it stays as it is. Delete it "
            "and run the same command again for a new one.",
            stacklevel=3,
        )


def _summary(plan, rows, report, notes):
    """The page about the whole data set."""
    samples, failed = ([one for note in notes for one in note.get(key, ())] for key in ("samples", "failed"))
    counts = merged(note.get("counts", {}) for note in notes)
    what = plan.source or "a folder of photos"
    return summary_page(what, rows, counts, report.failures, samples, failed)
