"""Rule-made masks on photo files, folders and Hub datasets.

mask_source("photos", "masked", Wearing(style="surgical", wrongly_worn=0.2, seed=1), workers=4)
"""

import csv
import io
import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from tqdm import tqdm

from maskhub.data.batch import BatchReport, result_path, save_photo, write_failures
from maskhub.data.boxes import coco, voc
from maskhub.data.journal import Journal, write_text
from maskhub.data.masked import Wearing, mask_faces, region_image
from maskhub.data.rows import free_name, open_rows
from maskhub.data.workers import run_jobs
from maskhub.errors import ConfigError
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.provenance import RULE, Provenance, mark

__all__ = ["ADDED", "mask_photo", "mask_source", "table_text"]

ADDED = ("mask_style", "mask_colour", "worn", "faces", "masked_faces")
"""Columns that are added to the metadata. The first three hold an entry a masked face, largest first, parted by ";"."""
BOXES = ("none", "coco", "voc")


def mask_photo(source, target, wearing, name, region=None, provenance=True):
    """Mask one photo file.

    Args:
        source: what ``open_photo`` takes.
        target: file to write, in the format of its suffix.
        wearing: :class:`Wearing`.
        name: of the photo; what is drawn depends on it.
        region: PNG to write the region to, or None.
        provenance: write into the file where it comes from.

    Returns:
        record for boxes and metadata: ``width``, ``height`` and ``faces`` of :class:`Masked`.

    Raises:
        PhotoError: can't be read or written. NoFaceError: no face.
    """
    photo = open_photo(source)
    rgb, alpha = split_alpha(photo)
    masked = mask_faces(np.asarray(rgb), wearing, name)
    image = Image.fromarray(masked.image)
    if alpha is not None:
        image.putalpha(alpha)
    image.info["icc_profile"] = photo.info.get("icc_profile")
    if region is not None:
        save_photo(region_image(masked.region), region)
    save_photo(mark(image, Provenance("mask", RULE) if provenance else None), target)
    return {"width": rgb.width, "height": rgb.height, "faces": masked.faces}


def mask_source(
    spec,
    output,
    wearing=None,
    *,
    workers=0,
    regions=None,
    boxes="none",
    overwrite=False,
    progress=True,
    provenance=True,
):
    """Put masks on all photos of a folder or a Hub dataset; the result is an imagefolder.

    Sub-folders, names and formats stay (a GIF becomes PNG), and so do labels, the other columns of ``metadata.csv`` or
    ``metadata.jsonl`` and all other files; :data:`ADDED` columns are added. What is done is noted in
    ``output/.maskhub``, and a run that was broken off goes on there.

    Args:
        spec: a folder, or ``user/dataset[:split][@revision][#column]``, which is streamed.
        output: folder for the results; ``failures.csv`` there lists what could not be done.
        wearing: :class:`Wearing`.
        workers: processes; 0 works in this one. With 1 or more, a photo that crashes its process is listed too.
        regions: folder for 8-bit PNG regions of the same names, or None; must lie outside ``output``.
        boxes: ``"coco"`` (``annotations.json``), ``"voc"`` (``annotations/<name>.xml``) or ``"none"``.
        overwrite: make everything anew.
        progress: show a bar.
        provenance: write into each file where it comes from.

    Returns:
        :class:`~maskhub.data.batch.BatchReport`.

    Raises:
        SourceError: no such source, or no photo in it.
        ConfigError: ``output`` is the input, or holds other files or results of other options.
    """
    wearing, output = wearing or Wearing(), Path(output)
    regions = Path(regions) if regions is not None else None
    if boxes not in BOXES:
        raise ConfigError(f"boxes is {boxes!r}; it must be one of {', '.join(BOXES)}.")
    _check_places(spec, output, regions)
    rows = open_rows(spec, [output, *([regions] if regions else [])])
    targets = _targets(rows.names) if rows.folder else {}
    options = {"source": str(spec) if rows.folder is None else "folder", **wearing.model_dump()}
    options |= {"regions": regions is not None}
    report, kept_rows, order, places = BatchReport(), {}, {}, set(targets.values())
    if not overwrite:
        _check_free(output, targets.values())
    _sweep(output)
    journal = Journal(output, options, anew=overwrite)

    def todo():
        for row in rows:
            target = targets.get(row.name) or result_path(row.name).as_posix()
            order[target], kept_rows[target] = row.index, (row.columns, row.home)
            region = regions / _region_name(target, places) if regions else None
            if target in journal.records and (output / target).exists() and (region is None or region.exists()):
                report.kept += 1
                bar.update()
                continue
            journal.records.pop(target, None)
            yield replace(row, columns={}), target, str(output / target), str(region) if region else None

    total = len(rows) if rows.folder else None
    failures = []
    with tqdm(total=total, unit="photo", mininterval=0.5, disable=not progress) as bar:
        try:
            for (row, target, *_), record, reason in run_jobs(partial(_mask_job, wearing, provenance), todo(), workers):
                if reason is None:
                    journal.add(target, record)
                    report.made += 1
                else:
                    failures.append((row.index, row.name, reason))
                bar.update()
        finally:
            journal.close()
    report.failures = [(name, reason) for _, name, reason in sorted(failures)]
    done = {name: journal.records[name] for name in sorted(order, key=order.get) if name in journal.records}
    _write_metadata(output, done, kept_rows, rows.columns)
    _write_boxes(output, done, boxes)
    _copy_others(rows, output)
    write_failures(output, report.failures)
    return report


def _mask_job(wearing, provenance, job):
    row, target, path, region = job
    return mask_photo(row.open(), path, wearing, target, region, provenance)


def _targets(names):
    """Where each photo's result goes; two that would meet (a GIF becomes PNG) keep both suffixes."""
    targets, taken = {}, set()
    for name in sorted(names, key=lambda name: (result_path(name).as_posix() != name, name)):
        target = result_path(name).as_posix()
        targets[name] = target if target not in taken else f"{name}.png"
        taken.add(targets[name])
    return targets


def _region_name(target, targets):
    """A region's path: the photo's with the suffix .png, put after its own where that is another photo's."""
    name = PurePosixPath(target).with_suffix(".png").as_posix()
    return name if name == target or name not in targets else f"{target}.png"


def _check_places(spec, output, regions):
    source = Path(spec).expanduser()
    if source.is_dir() and output.resolve() == source.resolve():
        raise ConfigError("the output folder is the input folder: choose another, so that no photo is overwritten.")
    if regions is not None:
        inside = {output.resolve(), source.resolve()} & {regions.resolve(), *regions.resolve().parents}
        if inside and (source.is_dir() or output.resolve() in inside):
            raise ConfigError(
                "the regions' folder lies within the photos', where a loader takes regions for photos: put it beside."
            )


def _check_free(output, targets):
    """Refuse to write over files that are not this command's own."""
    if (output / ".maskhub" / "journal.jsonl").exists() or not output.is_dir():
        return
    names = [*targets, "metadata.csv", "metadata.jsonl", "annotations.json"]
    found = next((name for name in names if (output / name).exists()), None)
    if found is not None:
        raise ConfigError(f"{output} holds {found}, not of this command: choose an empty folder, or overwrite it.")


def _sweep(output):
    """Clear away what a killed run left half written."""
    for path in Path(output).rglob(".*.partial"):
        path.unlink(missing_ok=True)


def _write_metadata(output, done, rows, columns):
    """One metadata file where each of the source's was, of the same kind, or ``metadata.csv`` at the top."""
    names = dict(zip(ADDED, (free_name(name, columns) for name in ADDED), strict=True))
    homes = {}
    for target, record in done.items():
        kept, home = rows[target]
        masked = [face for face in record["faces"] if face["worn"] != "unmasked"]
        added = [";".join(face[key] for face in masked) for key in ("style", "colour", "worn")]
        added += [len(record["faces"]), len(masked)]
        file_name = str(PurePosixPath(target).relative_to(PurePosixPath(home).parent))
        homes.setdefault(home, []).append(
            {"file_name": file_name, **kept, **dict(zip(names.values(), added, strict=True))}
        )
    for home, lines in homes.items():
        write_text(output / home, table_text(lines, PurePosixPath(home).suffix))


def table_text(lines, suffix):
    """Rows of one metadata file as text: CSV, its lists and dicts as JSON, or JSON lines."""
    if suffix == ".jsonl":
        return "".join(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in line.items()} for line in lines)
    return text.getvalue()


def _cell(value):
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value


def _write_boxes(output, done, boxes):
    if boxes == "coco":
        write_text(output / "annotations.json", json.dumps(coco(done), ensure_ascii=False) + "\n")
    elif boxes == "voc":
        for name, record in done.items():
            write_text(output / "annotations" / f"{name}.xml", voc(name, record))


def _copy_others(rows, output):
    own = {"failures.csv", "annotations.json"}  # of an earlier result that is masked anew
    for name in rows.others:
        source, target = rows.folder / name, output / name
        if name in own or (target.exists() and target.stat().st_mtime_ns == source.stat().st_mtime_ns):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
        shutil.copy2(source, aside)
        os.replace(aside, target)
