"""Put rule-based masks on photo files, folders and Hub datasets.

mask_source("photos", "masked", Wearing(style="surgical", wrongly_worn=0.2, seed=1), workers=4)
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from maskhub.data.batch import (
    check_free,
    check_not_input,
    run_batch,
    table_names,
    working_folder,
)  # fmt: skip
from maskhub.data.boxes import DATA, box_files, box_places, check_boxes
from maskhub.data.column_boxes import open_own_boxes
from maskhub.data.folder import chosen_few
from maskhub.data.masked import Wearing, mask_faces, region_image
from maskhub.data.own_boxes import faces_in
from maskhub.data.photo_file import encode_photo, result_names, result_path, side_names
from maskhub.data.rows import open_rows
from maskhub.data.scores import SCORES
from maskhub.data.splits import warn_of_loaders
from maskhub.data.summary import SHOWN, SUMMARY, counts_of, sample, summary_page
from maskhub.data.tables import metadata_tables
from maskhub.data.texts import Texts
from maskhub.data.workers import check_main_guard
from maskhub.errors import ConfigError
from maskhub.faces.photo import kept_info, open_photo, split_alpha
from maskhub.files import commit, prepare_copy, prepare_file
from maskhub.provenance import RULE, Provenance, mark

__all__ = ["ADDED", "BY_RULE", "MaskingWay", "mask_photo", "mask_source"]


@dataclass(frozen=True)
class MaskingWay:
    """How the faces of a photo are masked: ``mask(pixels, wearing, name, own=None)`` returns
    :class:`~maskhub.data.masked.Masked`, as :func:`~maskhub.data.masked.mask_faces` does; ``name`` is that of the rule
    or the model, for the provenance."""

    mask: Callable
    name: str


BY_RULE = MaskingWay(mask_faces, RULE)
ADDED = ("mask_style", "mask_colour", "worn", "faces", "masked_faces", *SCORES)
"""Columns added to the metadata; all but the numbers list the masked faces, largest first, separated by ";"."""


def mask_photo(source, target, wearing, name, region=None, provenance=True, way=BY_RULE):
    """Mask one photo file. Returns its record for boxes and metadata: ``width``, ``height`` and ``faces`` of
    :class:`Masked`.

    ConfigError if an output is the source, or both outputs are the same; PhotoError if the photo can't be read or
    encoded, NoFaceError if it has no face; WriteError if its result can't be written.

    Args:
        source, target: what ``open_photo`` takes; file to write, in the format of its suffix.
        wearing, name: :class:`Wearing`; name of the photo, which the masks depend on.
        region: PNG to write the region to, or None.
        provenance: write the provenance into the file.
        way: :class:`MaskingWay`.
    """
    places = [Path(target), *([Path(region)] if region is not None else [])]
    if isinstance(source, (str, Path)):
        check_not_input(source, *places)
    if len({place.resolve() for place in places}) < len(places):
        raise ConfigError(f"the photo and its region would both be {target}: choose another folder for regions.")
    record, contents = _masked(way, None, provenance, wearing, name, source, places)
    commit(prepare_file(path, content) for path, content in contents.items())
    return record


def _masked(way, own, provenance, wearing, name, source, places):
    """The record of a masked photo, and the files of the photo and its region: path → bytes. ``own`` is a function of
    the photo's width and height: its boxes in the data set, or None."""
    photo, more = open_photo(source), {}
    rgb, alpha = split_alpha(photo)
    pixels = np.asarray(rgb)
    if own is None:
        masked = way.mask(pixels, wearing, name)
    else:
        boxes = own(rgb.width, rgb.height)
        masked = way.mask(pixels, wearing, name, own=faces_in(pixels, boxes))
        more = {"own": [asdict(box) for box in boxes]}
    image = Image.fromarray(masked.image)
    if alpha is not None:
        image.putalpha(alpha)
    image.info |= kept_info(photo)
    pictures = [mark(image, Provenance("mask", way.name) if provenance else None), region_image(masked.region)]
    contents = {path: encode_photo(picture, path) for path, picture in zip(places, pictures, strict=False)}
    return {"width": rgb.width, "height": rgb.height, "faces": masked.faces} | more, contents


def mask_source(
    spec, output, wearing=None, *, workers=0, threads=1, regions=None, boxes="none", overwrite=False, progress=True,
    provenance=True, png=False, way=BY_RULE,
):  # fmt: skip
    """Put masks on all photos of a folder or a Hub dataset; the result is an imagefolder.

    Sub-folders, names and formats are kept (HEIC becomes JPEG, GIF and AVIF become PNG), as are labels, the other
    columns of ``metadata.csv`` or ``metadata.jsonl`` and all other files; :data:`ADDED` columns are added. Finished
    photos are recorded in ``output/.maskhub``, so an interrupted run continues where it stopped.

    Args:
        spec: a folder, or ``user/dataset[/config][:split][@revision][#column]``, which is streamed.
        output: folder for the results; ``failures.csv`` there lists failed photos.
        wearing: :class:`Wearing`.
        workers: worker processes; a photo that crashes one is listed. 0: this process, in as many ``threads``.
        regions: folder for 8-bit PNG regions of the same names, or None; outside of ``output``.
        boxes: ``"coco"`` (``annotations.json``), ``"voc"`` (``annotations/<stem>.xml``, or in ``Annotations`` instead
            of ``JPEGImages``), ``"yolo"`` (``<stem>.txt`` next to each photo, or in ``labels`` instead of ``images``,
            and ``data.yaml``) or ``"none"``.
        overwrite: process everything again, and delete old results that this run does not make.
        progress, provenance, png: show a bar; write the provenance into each file; write every photo as PNG.
        way: :class:`MaskingWay`, how faces are masked.

    Returns, Raises:
        as :func:`~maskhub.data.batch.process_folder`; ConfigError also if two photos would share a YOLO file.
    """
    check_main_guard()
    wearing, output, regions = wearing or Wearing(), Path(output), None if regions is None else Path(regions)
    _check_places(spec, output, regions)
    more = [regions] if regions else []
    rows = open_rows(spec, [output, *more])
    targets = _targets(rows, png)
    sides, sheets = side_names(targets.values(), ".png"), box_places(targets.values(), boxes)
    options = {"source": str(spec) if rows.folder is None else "folder", **wearing.identity()}
    options |= {"regions": regions is not None, "provenance": provenance} | ({"png": True} if png else {})
    own = open_own_boxes(rows, wearing.own_boxes, wanted=boxes != "none")
    check_boxes(boxes, targets.values())
    options |= ({"own_boxes": own.digest} if own else {}) | ({"model": way.name} if way is not BY_RULE else {})
    check_free(output, [*targets.values(), "annotations.json"], overwrite)
    texts = Texts(output, {*sheets.values(), *_shared_files(rows, boxes)}, overwrite)

    def target_of(name):
        return targets.get(name) or result_path(name, png).as_posix()

    def places(name):
        covers = [regions / _region_name(target_of(name), sides)] if regions else []
        return [output / target_of(name), *covers]

    with working_folder(output, "maskhub mask", options, overwrite, *more) as journal:
        work = partial(_mask_job, way, own, provenance, wearing, output)
        running = {"workers": workers, "threads": threads, "kept": [own.column] if own and own.column else []}
        report, order = run_batch(rows, journal, work, places, progress=progress, **running)
        known = {target_of(row.name): row for row in order}
        done = {target: record for target, row in known.items() if (record := journal.record(row.name))}
        files = _tables(done, known, rows) | box_files(done, boxes, own, sheets)
        files[SUMMARY] = _summary(rows, done, output, report)
        texts.replace(files, report.failures)
        _copy_others(rows, output, texts.names, {path.resolve() for path in own.files} if own else ())
    return report


def _targets(rows, png):
    """Photo of a folder → the name of its result; warns if loaders will misread these."""
    targets = result_names(rows.names, png) if rows.folder else {}
    warn_of_loaders(targets.values())
    return targets


def _summary(rows, done, output, report):
    """The page about the run's photos, ``done``: target → record."""
    names = sorted(done)
    samples = []
    for name in (names[place] for place in chosen_few(names, min(SHOWN, len(names)))):
        styles = ", ".join(face["style"] for face in done[name]["faces"] if face["style"])
        samples.append(sample(name, styles, output / name))
    counts = counts_of(face for record in done.values() for face in record["faces"])
    failed = [sample(name, why, rows.folder and rows.folder / name) for name, why in report.failures[:SHOWN]]
    what = rows.spec if rows.folder is None else "a folder of photos"
    return summary_page(what, len(done), counts, report.failures, samples, failed)


def _mask_job(way, own, provenance, wearing, output, row, paths):
    name = row.name if own else paths[0].relative_to(output).as_posix()
    record, contents = _masked(way, own and partial(own.of, row), provenance, wearing, name, row.open(), paths)
    number = own and own.image_id(row.name)
    return record | ({} if number is None else {"image_id": number}), contents


def _region_name(target, sides):
    """The path of a region: one of ``sides``, those of a folder's photos. Numbers tell the Hub's photos apart."""
    return sides.get(target) or PurePosixPath(target).with_suffix(".png").as_posix()


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


def _shared_files(rows, boxes):
    """The files of a result that describe several photos."""
    more = {"coco": ["annotations.json"], "yolo": [DATA]}
    return {*table_names(rows), SUMMARY, *more.get(boxes, ())}


def _tables(done, known, rows):
    """The metadata files, with the :data:`ADDED` columns."""
    added = {target: _added(record) for target, record in done.items()}
    return metadata_tables(added, known, rows.columns, bool(rows.folder))


def _added(record):
    masked = [face for face in record["faces"] if face["style"]]
    added = [";".join(face[key] for face in masked) for key in ("style", "colour", "worn")]
    added += [len(record["faces"]), len(masked)]
    added += [";".join("" if face[key] is None else f"{face[key]:g}" for face in masked) for key in SCORES]
    return dict(zip(ADDED, added, strict=True))


def _copy_others(rows, output, written, replaced):
    """Copy all other files, except the annotations that were ``replaced`` and those with the name of a file that the
    run may have ``written``."""
    own = {"annotations.json", *written}  # the former may be of an earlier result that is masked again
    others = rows.others.items() if rows.folder else ()
    commit(
        prepare_copy(source, output / name)
        for name, source in others
        if name not in own and Path(source).resolve() not in replaced and not _same_file(source, output / name)
    )


def _same_file(source, target):
    try:
        here, there = source.stat(), target.stat()
    except OSError:
        return False
    return (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
