"""Process folders photo by photo; a bad file never ends a run."""

import hashlib
import json
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from maskhub.data.journal import Journal
from maskhub.data.photo_file import encode_photo, result_names, result_path, save_photo
from maskhub.data.portraits import are_portraits
from maskhub.data.rows import open_rows
from maskhub.data.tables import METADATA, metadata_tables, named_otherwise
from maskhub.data.texts import Texts
from maskhub.data.workers import run_jobs
from maskhub.errors import ConfigError, PhotoError, SourceError
from maskhub.files import discard, prepare_file, sweep
from maskhub.hold import hold

__all__ = [
    "BatchReport", "check_free", "check_not_input", "process_folder", "result_path", "run_batch", "save_photo",
    "table_names", "working_folder",
]  # fmt: skip


@dataclass
class BatchReport:
    """The result of a folder run: numbers of files made and kept from earlier runs, and failures, (file, reason)."""

    made: int = 0
    kept: int = 0
    failures: list = field(default_factory=list)


def process_folder(
    source, output, work, *, options=None, compared=None, overwrite=False, progress=True, png=False, columns=(),
    threads=1,
):  # fmt: skip
    """Run ``work`` on every photo of a folder and its sub-folders, keeping their names and paths. Finished photos are
    recorded in ``output/.maskhub``, so an interrupted run continues where it stopped; ``failures.csv`` in ``output``
    lists failed ones, if there are any.

    SourceError if there is no such folder, or no photo in it; ConfigError if ``output`` is ``source``, or holds results
    of other options or photos, or files of their names that no run wrote; WriteError if another run holds ``output``,
    or it can't be written to.

    Args:
        source, output: folders of photos and of results.
        work: path → ``PIL.Image``, or with ``columns`` also a dict of their values; errors are listed, and the other
            photos are processed.
        options: dict of everything else that the results depend on, such as the model.
        compared: path → paths of other files that its result depends on, or None.
        overwrite, progress: process all photos again; show a bar.
        png: write every result as PNG instead of in the photo's format.
        columns: new columns of ``metadata.csv``, which is then written, with the source's own columns. It is also
            written if results get other names than their photos, for ``original_name``.
        threads: the number of photos to work on at a time.
    """
    output = Path(output)
    if not are_portraits(source) and not Path(source).is_dir():
        raise SourceError(f"there is no folder {source}.")
    check_not_input(source, output)
    rows = open_rows(source, [output])
    targets, options = result_names(rows.names, png), (options or {}) | ({"png": True} if png else {})

    tabled = columns or any(named_otherwise(row, targets[row.name]) for row in rows)

    def made(row, paths):
        done = work(Path(row.photo))
        image, values = done if columns else (done, {})
        return values, {paths[0]: encode_photo(image, paths[0])}

    names, tables = table_names(rows) if tabled else set(), {}
    check_free(output, targets.values(), overwrite)
    texts = Texts(output, names, overwrite)
    with working_folder(output, "maskhub", options, overwrite) as journal:
        report, order = run_batch(
            rows, journal, made, lambda name: [output / targets[name]], threads=threads, compared=compared,
            progress=progress,
        )  # fmt: skip
        if tabled:
            known = {targets[row.name]: row for row in order}
            done = {target: record for target, row in known.items() if (record := journal.record(row.name)) is not None}
            added = {target: {name: record.get(name, "") for name in columns} for target, record in done.items()}
            tables = metadata_tables(added, known, rows.columns, from_folder=True)
        texts.replace(tables, report.failures)
    return report


@contextmanager
def working_folder(output, by, options, overwrite, *more):
    """Lock an output folder for a run (see :func:`~maskhub.hold.hold`), clean up after killed runs there and in
    ``more`` folders that only this run writes to, and yield its journal."""
    with hold(output, by):
        for folder in (output, *more):
            sweep(folder)
        with Journal(output, options, overwrite) as journal:
            yield journal
        for folder in (output, *more):  # workers of a killed run may have finished a photo meanwhile
            sweep(folder)


def run_batch(rows, journal, work, places, *, workers=0, threads=1, compared=None, progress=True, kept=()):
    """Process the photos of a source that are not yet in a journal. Returns :class:`BatchReport`, and the rows (without
    their photos) in order. ConfigError if the journal is of other photos.

    Args:
        rows, journal: of :func:`~maskhub.data.rows.open_rows`; :class:`~maskhub.data.journal.Journal`.
        work: ``work(row, paths)`` → record, and a dict of path → bytes for those of ``paths`` to write.
        places: name → paths of all files that the result of a photo may have.
        workers, threads: worker processes; 0: work in this process, in as many threads.
        compared, progress: as in :func:`process_folder`.
        kept: columns that ``work`` needs.
    """
    report, order, failures, done = BatchReport(), [], [], None

    def is_done(row):
        try:
            return journal.is_done(row.name, partial(_digest, only(row)), places(row.name))
        except PhotoError:  # it can no longer be read: its job reports that
            return False

    def only(row):
        return replace(row, columns={key: row.columns.get(key) for key in kept})

    def with_others(row):
        return replace(row, compared=tuple(map(str, compared(Path(row.photo))))) if compared else row

    if rows.folder is not None:  # refuse mixed results before anything is written
        done = {row.name for row in map(with_others, rows) if is_done(row)}
        journal.check_names(rows.names)

    def todo():
        for row in map(with_others, rows):
            order.append(replace(row, photo=""))
            if row.name in done if done is not None else is_done(row):
                report.kept += 1
                bar.update()
            else:
                yield only(row), places(row.name)

    total = len(rows) if rows.folder else None
    answers = run_jobs(partial(_prepared, work), todo(), workers, threads, drop=lambda made: discard(made[2]))
    with tqdm(total=total, unit="photo", mininterval=0.5, disable=not progress) as bar, closing(answers):
        for (row, _), result, reason in answers:
            if reason is None:
                journal.add(row.name, *result)
                report.made += 1
            else:
                failures.append((row.index, row.name, reason))
            bar.update()
    journal.finish(row.name for row in order)
    report.failures = [(name, reason) for _, name, reason in sorted(failures)]
    return report, order


def _digest(row):
    """The digest of a row's photo, and of the columns that its result depends on."""
    if not row.columns:
        return row.digest()
    columns = json.dumps(row.columns, sort_keys=True, default=str)
    return f"{row.digest()}-{hashlib.blake2b(columns.encode(), digest_size=8).hexdigest()}"


def _prepared(work, job):
    """Digest and record of one photo, and its files, which are written but not yet renamed."""
    row, paths = job
    digest = _digest(row)
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
    """Raise a :class:`ConfigError` if an output is a file or folder of the input, which would be overwritten."""
    source = Path(source)
    for output in map(Path, outputs):
        if output.exists() and source.exists() and output.samefile(source):
            what = "folder" if source.is_dir() else "file"
            raise ConfigError(
                f"the output {what} is the input {what}: choose another, so that no photo is overwritten."
            )


def check_free(output, names, overwrite=False):
    """Raise a :class:`ConfigError` if ``output`` has some of these files, but no journal."""
    if overwrite or Journal.exists(output) or not Path(output).is_dir():
        return
    found = next((name for name in names if (Path(output) / name).exists()), None)
    if found is not None:
        raise ConfigError(
            f"{output} holds {found}, which this command did not write: choose an empty folder, or overwrite it."
        )


def table_names(rows):
    """The metadata files that the result of these rows may have; those that it does not have are left from earlier."""
    folders = {PurePosixPath(row.home).parent for row in rows} if rows.folder else set()
    return {(folder / name).as_posix() for folder in {PurePosixPath(), *folders} for name in METADATA}
