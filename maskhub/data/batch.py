"""Many photos, one result each: a folder is worked through file by file, and one bad file never ends it."""

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from maskhub.data.journal import Journal
from maskhub.data.photo_file import encode_photo, result_names, result_path, save_photo
from maskhub.data.rows import FolderRows
from maskhub.data.tables import csv_text
from maskhub.data.workers import run_jobs
from maskhub.errors import ConfigError, PhotoError, SourceError
from maskhub.files import discard, prepare_file, remove_file, sweep, write_file
from maskhub.hold import hold

__all__ = [
    "BatchReport",
    "check_free",
    "check_not_input",
    "process_folder",
    "result_path",
    "run_batch",
    "save_photo",
    "working_folder",
    "write_failures",
]


@dataclass
class BatchReport:
    """What became of a folder: files made now, found already made, and failed (``(file, reason)``)."""

    made: int = 0
    kept: int = 0
    failures: list = field(default_factory=list)


def process_folder(source, output, work, *, options=None, compared=None, overwrite=False, progress=True):
    """Run ``work`` over every photo of a folder and its sub-folders, keeping their names and places.

    What is done is noted in ``output/.maskhub``, and a run that was broken off goes on there.

    Args:
        source: folder of photos.
        output: folder for the results; ``failures.csv`` there lists what could not be done (and is absent if nothing).
        work: path → ``PIL.Image``; whatever it raises is listed, and the other photos are done.
        options: dict of all that the results depend on besides the photos, such as the model.
        compared: path → paths of other files that its result depends on, or None.
        overwrite: make everything again.
        progress: show a bar.

    Returns:
        :class:`BatchReport`.

    Raises:
        SourceError: no such folder, or no photo in it.
        ConfigError: ``output`` is ``source``, or holds other files, or results of other options or photos.
        WriteError: another run holds ``output``, or it can't be written to.
    """
    source, output = Path(source), Path(output)
    if not source.is_dir():
        raise SourceError(f"there is no folder {source}.")
    check_not_input(source, output)
    rows = FolderRows(source, [output])
    targets = result_names(rows.names)

    def made(row, paths):
        return {}, {paths[0]: encode_photo(work(Path(row.photo)), paths[0])}

    if not overwrite:
        check_free(output, targets.values())
    with working_folder(output, "maskhub", options or {}, overwrite) as journal:
        report, _ = run_batch(
            rows, journal, made, lambda name: [output / targets[name]], compared=compared, progress=progress
        )
        write_failures(output, report.failures)
    return report


@contextmanager
def working_folder(output, by, options, overwrite, *more):
    """Hold an output folder for a run, without what killed runs left, and yield its journal.

    Args:
        output: the folder.
        by: what holds it, for :func:`~maskhub.hold.hold`.
        options, overwrite: for :class:`~maskhub.data.journal.Journal`.
        more: other folders that this run alone writes to.
    """
    with hold(output, by):
        for folder in (output, *more):
            sweep(folder)
        with Journal(output, options, overwrite) as journal:
            yield journal
        for folder in (output, *more):  # a killed run's workers may have finished a photo meanwhile
            sweep(folder)


def run_batch(rows, journal, work, places, *, workers=0, compared=None, progress=True):
    """Do what a journal does not have yet of a source's photos.

    Args:
        rows: :class:`~maskhub.data.rows.FolderRows` or :class:`~maskhub.data.rows.HubRows`.
        journal: :class:`~maskhub.data.journal.Journal`.
        work: ``work(row, paths)`` → record, and a dict of path → bytes for those of ``paths`` that are to be written.
        places: name → paths of all files that a photo's result may have.
        workers: processes; 0 works in this one.
        compared: path → paths of other files that a photo's result depends on, or None.
        progress: show a bar.

    Returns:
        :class:`BatchReport`, and the rows (without their photos) in their order.

    Raises:
        ConfigError: the journal is of other photos.
    """
    report, order, failures, done = BatchReport(), [], [], None

    def is_done(row):
        try:
            return journal.is_done(row.name, row.digest, places(row.name))
        except PhotoError:  # it can't be read any more: its job says so
            return False

    def with_others(row):
        return replace(row, compared=tuple(map(str, compared(Path(row.photo))))) if compared else row

    if rows.folder is not None:  # before anything is made: a mixture is refused, not begun
        done = {row.name for row in map(with_others, rows) if is_done(row)}
        journal.check_names(rows.names)

    def todo():
        for row in map(with_others, rows):
            order.append(replace(row, photo=""))
            if row.name in done if done is not None else is_done(row):
                report.kept += 1
                bar.update()
            else:
                yield replace(row, columns={}), places(row.name)

    total = len(rows) if rows.folder else None
    with tqdm(total=total, unit="photo", mininterval=0.5, disable=not progress) as bar:
        for (row, _), result, reason in run_jobs(partial(_prepared, work), todo(), workers):
            if reason is None:
                journal.add(row.name, *result)
                report.made += 1
            else:
                failures.append((row.index, row.name, reason))
            bar.update()
    journal.finish(row.name for row in order)
    report.failures = [(name, reason) for _, name, reason in sorted(failures)]
    return report, order


def _prepared(work, job):
    """Digest and record of one photo, and its files, written but not yet in their places."""
    row, paths = job
    digest = row.digest()
    record, contents = work(row, paths)
    files = []
    try:
        for path, content in contents.items():
            files.append(prepare_file(path, content))
    except BaseException:
        discard(files)
        raise
    return digest, record, files


def check_not_input(source, *outputs):
    """Refuse to write over the input.

    Raises:
        ConfigError: an output is the very file or folder of the input.
    """
    source = Path(source)
    for output in map(Path, outputs):
        if output.exists() and source.exists() and output.samefile(source):
            what = "folder" if source.is_dir() else "file"
            raise ConfigError(
                f"the output {what} is the input {what}: choose another, so that no photo is overwritten."
            )


def check_free(output, names):
    """Refuse to write over files that no journal in ``output`` speaks of.

    Raises:
        ConfigError: names one of them.
    """
    if Journal.exists(output) or not Path(output).is_dir():
        return
    found = next((name for name in names if (Path(output) / name).exists()), None)
    if found is not None:
        raise ConfigError(f"{output} holds {found}, not of this command: choose an empty folder, or overwrite it.")


def write_failures(output, failures):
    """Write ``failures.csv`` into a folder, or delete an earlier one if nothing failed."""
    path = Path(output) / "failures.csv"
    if failures:
        write_file(path, csv_text(["file_name", "reason"], failures))
    else:
        remove_file(path)
