"""Put rule-based masks on photo files, folders and Hub datasets.

mask_source("photos", "masked", Wearing(style="surgical", wrongly_worn=0.2, seed=1), workers=4)
"""

import json
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from maskhub.data.batch import check_free, check_not_input, run_batch, working_folder, write_failures
from maskhub.data.boxes import coco, voc
from maskhub.data.folder import free_names
from maskhub.data.masked import Wearing, mask_faces, region_image
from maskhub.data.photo_file import encode_photo, result_names, result_path
from maskhub.data.rows import open_rows
from maskhub.data.tables import metadata_names, table_text
from maskhub.data.workers import check_main_guard
from maskhub.errors import ConfigError
from maskhub.faces.photo import kept_info, open_photo, split_alpha
from maskhub.files import commit, prepare_copy, prepare_file
from maskhub.provenance import RULE, Provenance, mark

__all__ = ["ADDED", "mask_photo", "mask_source"]

ADDED = ("mask_style", "mask_colour", "worn", "faces", "masked_faces")
"""Columns added to the metadata. The first three have an entry for each masked face, largest first, separated by
";"."""
BOXES = ("none", "coco", "voc")


def mask_photo(source, target, wearing, name, region=None, provenance=True):
    """Mask one photo file.

    Args:
        source: what ``open_photo`` takes.
        target: file to write, in the format of its suffix.
        wearing: :class:`Wearing`.
        name: name of the photo, which the masks depend on.
        region: PNG to write the region to, or None.
        provenance: write the provenance into the file.

    Returns:
        record for boxes and metadata: ``width``, ``height`` and ``faces`` of :class:`Masked`.

    Raises:
        ConfigError: an output is the source, or both outputs are the same. PhotoError: it can't be read or encoded.
            NoFaceError: no face. WriteError: it can't be written.
    """
    places = [Path(target), *([Path(region)] if region is not None else [])]
    if isinstance(source, (str, Path)):
        check_not_input(source, *places)
    if len({place.resolve() for place in places}) < len(places):
        raise ConfigError(f"the photo and its region would both be {target}: choose another folder for regions.")
    record, contents = _masked(source, places, wearing, name, provenance)
    commit([prepare_file(path, content) for path, content in contents.items()])
    return record


def _masked(source, places, wearing, name, provenance):
    """The record of a masked photo, and the files of the photo and its region: path → bytes."""
    photo = open_photo(source)
    rgb, alpha = split_alpha(photo)
    masked = mask_faces(np.asarray(rgb), wearing, name)
    image = Image.fromarray(masked.image)
    if alpha is not None:
        image.putalpha(alpha)
    image.info |= kept_info(photo)
    pictures = [mark(image, Provenance("mask", RULE) if provenance else None), region_image(masked.region)]
    contents = {path: encode_photo(picture, path) for path, picture in zip(places, pictures, strict=False)}
    return {"width": rgb.width, "height": rgb.height, "faces": masked.faces}, contents


def mask_source(
    spec, output, wearing=None, *, workers=0, regions=None, boxes="none", overwrite=False, progress=True,
    provenance=True, png=False,
):  # fmt: skip
    """Put masks on all photos of a folder or a Hub dataset; the result is an imagefolder.

    Sub-folders, names and formats are kept (HEIC becomes JPEG, GIF and AVIF become PNG), as are labels, the other
    columns of ``metadata.csv`` or ``metadata.jsonl`` and all other files; :data:`ADDED` columns are added. Finished
    photos are recorded in ``output/.maskhub``, so an interrupted run continues where it stopped.

    Args:
        spec: a folder, or ``user/dataset[/config][:split][@revision][#column]``, which is streamed.
        output: folder for the results; ``failures.csv`` there lists failed photos.
        wearing: :class:`Wearing`.
        workers: worker processes; 0: work in this process. With 1 or more, photos that crash their process are listed
            too.
        regions: folder for 8-bit PNG regions of the same names, or None; must lie outside ``output``.
        boxes: ``"coco"`` (``annotations.json``), ``"voc"`` (``annotations/<name>.xml``) or ``"none"``.
        overwrite: process everything again, and delete old results that this run does not make.
        progress, provenance: show a bar; write the provenance into each file.
        png: write every photo as PNG.

    Returns, Raises:
        as :func:`~maskhub.data.batch.process_folder`.
    """
    check_main_guard()
    wearing, output = wearing or Wearing(), Path(output)
    regions = Path(regions) if regions is not None else None
    if boxes not in BOXES:
        raise ConfigError(f"boxes is {boxes!r}; it must be one of {', '.join(BOXES)}.")
    _check_places(spec, output, regions)
    more = [regions] if regions else []
    rows = open_rows(spec, [output, *more])
    targets = result_names(rows.names, png) if rows.folder else {}
    taken = set(targets.values())
    options = {"source": str(spec) if rows.folder is None else "folder", **wearing.model_dump()}
    options |= {"regions": regions is not None, "provenance": provenance} | ({"png": True} if png else {})
    if not overwrite:
        check_free(output, [*targets.values(), "metadata.csv", "metadata.jsonl", "annotations.json"])

    def target_of(name):
        return targets.get(name) or result_path(name, png).as_posix()

    def places(name):
        target = target_of(name)
        return [output / target, *([regions / _region_name(target, taken)] if regions else [])]

    with working_folder(output, "maskhub mask", options, overwrite, *more) as journal:
        work = partial(_mask_job, output, wearing, provenance)
        report, order = run_batch(rows, journal, work, places, workers=workers, progress=progress)
        done = {target_of(row.name): journal.record(row.name) for row in order if journal.record(row.name)}
        files = _metadata(done, {target_of(row.name): row for row in order}, rows.columns, bool(rows.folder))
        files |= _boxes(done, boxes)
        commit([prepare_file(output / name, text) for name, text in files.items()])
        _copy_others(rows, output)
        write_failures(output, report.failures)
    return report


def _mask_job(output, wearing, provenance, row, paths):
    return _masked(row.open(), paths, wearing, paths[0].relative_to(output).as_posix(), provenance)


def _region_name(target, targets):
    """The path of a region: the photo's with the suffix .png, appended to its own suffix if another photo has that
    name."""
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
                "the folder for regions is within the folder of photos, where loaders would read regions as photos: "
                "choose one outside."
            )


def _metadata(done, rows, columns, from_folder):
    """Write a metadata file of the same kind for each one of the source, or ``metadata.csv`` at the top."""
    names = metadata_names(columns, from_folder)
    added_names = list(free_names(ADDED, names.values()).values())
    homes = {}
    for target, record in done.items():
        row = rows[target]
        masked = [face for face in record["faces"] if face["style"]]
        added = [";".join(face[key] for face in masked) for key in ("style", "colour", "worn")]
        added += [len(record["faces"]), len(masked)]
        file_name = str(PurePosixPath(target).relative_to(PurePosixPath(row.home).parent))
        kept = {names[key]: value for key, value in row.columns.items()}
        line = {"file_name": file_name, **kept, **dict(zip(added_names, added, strict=True))}
        homes.setdefault(row.home, []).append(line)
    return {home: table_text(lines, PurePosixPath(home).suffix) for home, lines in homes.items()}


def _boxes(done, boxes):
    if boxes == "coco":
        return {"annotations.json": json.dumps(coco(done), ensure_ascii=False) + "\n"}
    if boxes == "voc":
        return {f"annotations/{name}.xml": voc(name, record) for name, record in done.items()}
    return {}


def _copy_others(rows, output):
    own = {"failures.csv", "annotations.json"}  # files of an earlier result that is masked again
    copies = []
    for name, source in rows.others.items() if rows.folder else ():
        target = output / name
        if name not in own and not _same_file(source, target):
            copies.append(prepare_copy(source, target))
    commit(copies)


def _same_file(source, target):
    try:
        here, there = source.stat(), target.stat()
    except OSError:
        return False
    return (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
