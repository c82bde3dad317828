"""Select the photos that are suitable for training, with reasons for those that are not.

The CycleGAN study of face masks and the two-step method cleaned their photos by hand with these criteria: one face,
large enough, frontal enough, sharp, masked or unmasked according to the domain, and masks in place, clear, realistic
and light-coloured.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from maskhub.data.batch import (
    BatchReport,
    check_not_input,
    run_batch,
    table_names,
    working_folder,
)
from maskhub.data.criteria import MEASURES, Criteria
from maskhub.data.folder import free_name, list_files
from maskhub.data.journal import Journal
from maskhub.data.mask_measures import measure_mask
from maskhub.data.photo_file import encode_photo
from maskhub.data.rows import open_rows
from maskhub.data.scores import sharpness
from maskhub.data.splits import warn_of_loaders
from maskhub.data.tables import csv_text, metadata_tables
from maskhub.data.texts import Texts
from maskhub.data.work import Work
from maskhub.data.workers import check_main_guard
from maskhub.errors import ConfigError
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.json_file import json_text
from maskhub.masks.detector import detect_mask_on_crop

__all__ = ["MEASURES", "Criteria", "CurateReport", "curate_source", "measure", "sharpness"]

REPORT, TABLE = "report.json", "report.csv"
SIDE = 128
"""Side of the aligned crop for measuring sharpness and detecting the mask."""


@dataclass
class CurateReport(BatchReport):
    """The result of a run: ``made`` photos were measured now, ``kept`` ones in an earlier run; ``kept_photos`` meet the
    criteria, ``dropped`` is first reason → number of the others."""

    kept_photos: int = 0
    dropped: dict = field(default_factory=dict)


def measure(pixels):
    """Measure the largest face of a photo, uint8 RGB H×W×3.

    Returns a dict of :data:`MEASURES` (all but ``faces`` None if there is no face, yaw and pitch None if its landmarks
    are unreliable), and the :class:`~maskhub.faces.face.Face`, or None.
    """
    faces = detect(pixels)
    measured = dict.fromkeys(MEASURES) | {"faces": len(faces)}
    if not faces:
        return measured, None
    face, marks = faces[0], landmarks(pixels, faces[0])
    matrix = align.alignment(face, SIDE)
    crop = align.crop(pixels, matrix, SIDE)
    mask = detect_mask_on_crop(crop)
    measured |= {"size": min(face.box[2:]), "sharpness": sharpness(crop), "presence": marks.presence}
    measured |= {"roll": face.roll, "mask_presence": mask.presence}
    measured |= measure_mask(crop, mask.region, face.points @ matrix[:, :2].T + matrix[:, 2])
    if marks.present:
        measured |= {"yaw": marks.yaw, "pitch": marks.pitch, "roll": marks.roll}
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in measured.items()}, face


def curate_source(spec, output, criteria=None, *, crops=None, workers=0, overwrite=False, progress=True):
    """Copy the photos of a source that meet the criteria, and report why the others don't.

    ``output/report.csv`` has a row for each photo with its measures and all reasons, ``report.json`` the criteria and
    the number of dropped photos by first reason, ``failures.csv`` unreadable photos; ``metadata.csv`` has the other
    columns of the selected photos and their measures. An interrupted run continues where it stopped; errors as for
    :func:`~maskhub.data.batch.process_folder`.

    Args:
        spec, output: a folder or a dataset on the Hub, which is streamed; folder of the results.
        criteria: :class:`Criteria`.
        crops: side in pixels of aligned crops (PNG) to write instead of photos, as training uses them; or None.
        workers: worker processes; 0: work in this process.
        overwrite: process all photos again, and delete photos of an earlier run that are no longer selected.
    """
    check_main_guard()
    criteria, output = criteria or Criteria(), Path(output)
    Work(crops=crops, workers=workers)  # checks their ranges
    check_not_input(Path(spec).expanduser(), output)
    rows = open_rows(spec, [output])
    if output.is_dir() and not overwrite and not Journal.exists(output) and list_files(output):
        raise ConfigError(f"{output} holds other files already: choose an empty folder, or overwrite it.")
    warn_of_loaders(rows.names if rows.folder else ())
    texts = Texts(output, {*table_names(rows), REPORT, TABLE}, overwrite)
    options = {"source": rows.spec if rows.folder is None else "folder", **criteria.model_dump(), "crops": crops}
    targets, taken = {}, set()
    for name in rows.names if rows.folder else ():  # crops of x.jpg and x.png would have the same name
        targets[name] = free_name(_crop_name(name, crops), taken)
        taken.add(targets[name])

    def target_of(name):
        return targets.get(name) or _crop_name(name, crops)

    with working_folder(output, "maskhub dataset curate", options, overwrite) as journal:
        work = partial(_curate_job, criteria, crops)
        places = {"workers": workers, "progress": progress}
        report, order = run_batch(rows, journal, work, lambda name: [output / target_of(name)], **places)
        report = CurateReport(report.made, report.kept, report.failures)
        measured = [(row, target_of(row.name), journal.record(row.name)) for row in order if journal.record(row.name)]
        texts.replace(_reports(criteria, measured, rows, report), report.failures)
    return report


def _crop_name(name, crops):
    return name if crops is None else PurePosixPath(name).with_suffix(".png").as_posix()


def _curate_job(criteria, crops, row, paths):
    pixels = np.asarray(split_alpha(open_photo(row.open()))[0])
    measured, face = measure(pixels)
    reasons, contents = criteria.reasons(measured), {}
    if not reasons and crops is not None:
        crop = align.crop(pixels, align.alignment(face, crops), crops)
        contents = {paths[0]: encode_photo(Image.fromarray(crop), paths[0])}
    elif not reasons:
        contents = {paths[0]: row.read()}
    return {"reasons": reasons, **measured}, contents


def _reports(criteria, measured, rows, report):
    """The reports on measured photos of ``rows``, a list of row, name of the result and record: path → text. Sets the
    numbers of ``report``."""
    kept = [(row, target, record) for row, target, record in measured if not record["reasons"]]
    report.kept_photos = len(kept)
    report.dropped = dict(Counter(record["reasons"][0] for *_, record in measured if record["reasons"]))
    summary = {"criteria": criteria.model_dump(), "photos": len(measured) + len(report.failures), "kept": len(kept)}
    summary |= {"dropped": report.dropped, "failed": len(report.failures)}
    lines = [
        [row.name, int(not record["reasons"]), "; ".join(record["reasons"]), *(record[key] for key in MEASURES)]
        for row, _, record in measured
    ]
    more = [key for key in MEASURES if key not in rows.columns]
    added = {target: {key: record[key] for key in more} for _, target, record in kept}
    known = {target: row for row, target, _ in kept}
    tables = metadata_tables(added, known, rows.columns, bool(rows.folder))
    table = csv_text(["file_name", "kept", "reasons", *MEASURES], lines)
    return tables | {REPORT: json_text(summary), TABLE: table}
