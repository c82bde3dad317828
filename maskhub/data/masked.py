"""Rule-made masks on whole photos, folders and Hub datasets.

    mask_source("photos", "masked", Wearing(style="surgical", wrongly_worn=0.2, seed=1), workers=4)

What a face wears is drawn from a hash of the seed, the photo's name and the face's number, never from an order: any
number of workers, and a run that was broken off and begun again, give the same bytes.
"""

import csv
import hashlib
import io
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from maskhub.data.batch import BatchReport, result_path, save_photo, write_failures
from maskhub.data.boxes import coco, voc
from maskhub.data.journal import Journal, write_text
from maskhub.data.rows import free_name, open_rows
from maskhub.data.workers import run_jobs
from maskhub.errors import ConfigError, NoFaceError
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.masks.styles import COLOURS, STYLES, WORN
from maskhub.masks.wear import wear

__all__ = [
    "ADDED",
    "Masked",
    "Wearing",
    "mask_faces",
    "mask_photo",
    "mask_source",
    "moved_landmarks",
    "region_image",
    "seed_of",
]

ADDED = ("mask_style", "mask_colour", "worn", "faces", "masked_faces")
"""Columns that are added to the metadata. The first three hold an entry a masked face, largest first, parted by ";"."""
BOXES = ("none", "coco", "voc")
REACH = 1.6
"""How much of the photo about a face the mask may use: this many sizes of the face's box to each side of its middle."""


@dataclass(frozen=True)
class Wearing:
    """Who wears what.

    Args:
        style: a name of :data:`maskhub.masks.STYLES`, or ``random``.
        wrongly_worn: probability, 0 to 1, that a mask is worn wrongly: one of the last three of
            :data:`maskhub.masks.WORN`, each as likely.
        portion: share of a photo's faces that get a mask, above 0 to 1; at least one does.
        seed: whole number from 0.
        colour: a name of :data:`maskhub.masks.COLOURS` for the style, or ``random``.
        worn: a name of :data:`maskhub.masks.WORN` for every mask, or None: by ``wrongly_worn``.

    Raises:
        ConfigError: a value out of its bounds.
    """

    style: str = "random"
    wrongly_worn: float = 0.0
    portion: float = 1.0
    seed: int = 0
    colour: str = "random"
    worn: str | None = None

    def __post_init__(self):
        if self.style != "random" and self.style not in STYLES:
            raise ConfigError(f"there is no style {self.style!r}: choose {', '.join(STYLES)} or random.")
        if self.colour != "random" and self.colour not in COLOURS.get(self.style, ()):
            there = (
                f"{self.style} masks come in {', '.join(COLOURS[self.style])}"
                if self.style in COLOURS
                else "name a style too"
            )
            raise ConfigError(f"there is no colour {self.colour!r}: {there}.")
        if self.worn is not None and self.worn not in WORN:
            raise ConfigError(f"a mask can't be worn {self.worn!r}: choose {', '.join(WORN)}.")
        if not 0 <= self.wrongly_worn <= 1:
            raise ConfigError(f"wrongly-worn is {self.wrongly_worn}; it's a probability from 0 to 1.")
        if not 0 < self.portion <= 1:
            raise ConfigError(f"portion is {self.portion}; it's a share above 0, up to 1.")
        if self.seed < 0:
            raise ConfigError(f"the seed is {self.seed}; it must be 0 or more.")


@dataclass(frozen=True)
class Masked:
    """A photo with masks put on.

    Attributes:
        image: uint8 RGB, H×W×3.
        region: float32 H×W in [0, 1]; where it is 0, every pixel is the photo's own.
        faces: a dict for each face, largest first: ``box`` (left, top, width, height), ``score``, ``worn`` (one of
            :data:`maskhub.masks.WORN`, or ``"unmasked"``), ``style``, ``colour`` (empty for an unmasked face),
            ``mask_box`` (or None), and ``pose`` (yaw, pitch, roll in degrees) and ``presence`` where the face was
            looked at for landmarks, else None. Pixels and degrees are rounded to hundredths.
        landmarks: the :class:`~maskhub.faces.landmarks.Landmarks` of each face, or None, in the same order.
        found: the :class:`~maskhub.faces.detect.Face` of each.
    """

    image: np.ndarray
    region: np.ndarray
    faces: list
    landmarks: list
    found: list


def seed_of(*what):
    """A whole number of 63 bits that depends on nothing but ``what``."""
    text = "\0".join(map(str, what))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def mask_faces(pixels, wearing, name, largest=False):
    """Put masks on the faces of a photo.

    Args:
        pixels: uint8 RGB, H×W×3.
        wearing: :class:`Wearing`.
        name: of the photo; what is drawn depends on it.
        largest: mask the largest face alone.

    Returns:
        :class:`Masked`.

    Raises:
        NoFaceError: no face was found, or none whose landmarks can be trusted.
    """
    found = detect(pixels)
    if not found:
        raise NoFaceError("no face was found: a face must be at least about 30 pixels wide.")
    wanted = 1 if largest else max(1, round(wearing.portion * len(found)))
    turn = (
        range(len(found))
        if largest
        else sorted(range(len(found)), key=lambda number: seed_of(wearing.seed, name, number, "portion"))
    )
    marks = [None] * len(found)
    chosen = []
    for number in turn:
        marks[number] = landmarks(pixels, found[number])
        if marks[number].present:
            chosen.append(number)
        if len(chosen) == wanted:
            break
    if not chosen:
        best = max(mark.presence for mark in marks if mark)
        raise NoFaceError(f"a face was found, but can't be made out well enough for a mask (presence {best:.2f}).")
    image, region = pixels.copy(), np.zeros(pixels.shape[:2], np.float32)
    faces = [_face(face, mark) for face, mark in zip(found, marks, strict=True)]
    for number in sorted(chosen, reverse=True):  # a nearer face, the larger as a rule, may hide part of another
        rng = np.random.default_rng(seed_of(wearing.seed, name, number, "worn"))
        wrong = rng.random() < wearing.wrongly_worn
        worn = wearing.worn or (WORN[rng.integers(1, len(WORN))] if wrong else WORN[0])
        seed = seed_of(wearing.seed, name, number, "mask")
        made, cover, (x0, y0) = _wear(image, found[number], marks[number], wearing, seed, worn)
        part = np.s_[y0 : y0 + cover.shape[0], x0 : x0 + cover.shape[1]]
        image[part], region[part] = made.image, np.maximum(region[part], cover)
        # a shadow is no mask: at half cover and more
        ys, xs = np.nonzero(cover > 0.5)
        box = [int(xs.min()) + x0, int(ys.min()) + y0, int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1] if len(xs) else None
        faces[number] |= {"worn": made.worn, "style": made.style, "colour": made.colour, "mask_box": box}
    return Masked(image, region, faces, marks, found)


def _wear(image, face, mark, wearing, seed, worn):
    """Wear a mask within the part of the photo about the face, so that a crowd costs no more than its faces."""
    left, top, width, height = face.box
    reach = REACH * max(width, height)
    x0, y0 = max(int(left + width / 2 - reach), 0), max(int(top + height / 2 - reach), 0)
    part = image[y0 : int(top + height / 2 + reach) + 1, x0 : int(left + width / 2 + reach) + 1]
    shifted = replace(mark, points=mark.points - np.float32([x0, y0, 0]))
    colour = None if wearing.colour == "random" else wearing.colour
    made = wear(np.ascontiguousarray(part), style=wearing.style, seed=seed, colour=colour, worn=worn, landmarks=shifted)
    return made, made.region, (x0, y0)


def _face(face, mark):
    return {
        "box": [round(float(value), 2) for value in face.box],
        "score": round(face.score, 4),
        "worn": "unmasked",
        "style": "",
        "colour": "",
        "mask_box": None,
        "pose": [round(angle, 2) for angle in (mark.yaw, mark.pitch, mark.roll)] if mark else None,
        "presence": round(mark.presence, 4) if mark else None,
    }


def moved_landmarks(marks, matrix):
    """Landmarks in the pixels of an aligned crop.

    Args:
        marks: :class:`~maskhub.faces.landmarks.Landmarks` in the photo's.
        matrix: the crop's :func:`maskhub.faces.align.alignment`.
    """
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    flat = cv2.transform(marks.points[None, :, :2].astype(np.float64), matrix)[0]
    points = np.column_stack([flat, marks.points[:, 2] * scale]).astype(np.float32)
    turn = np.eye(3)
    turn[:2, :2] = matrix[:, :2] / scale
    roll = (marks.roll + np.degrees(np.arctan2(turn[1, 0], turn[0, 0])) + 180) % 360 - 180
    return replace(marks, points=points, roll=float(roll), rotation=turn @ marks.rotation)


def region_image(region):
    """A region as 8-bit ``PIL.Image``: rounded up, so that 0 still says that the pixel is the photo's own."""
    return Image.fromarray(np.ceil(region * 255).astype(np.uint8))


def mask_photo(source, target, wearing, name, region=None):
    """Mask one photo file.

    Args:
        source: what ``open_photo`` takes.
        target: file to write, in the format of its suffix.
        wearing: :class:`Wearing`.
        name: of the photo; what is drawn depends on it.
        region: PNG to write the region to, or None.

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
    save_photo(image, target)
    return {"width": rgb.width, "height": rgb.height, "faces": masked.faces}


def mask_source(spec, output, wearing=None, *, workers=0, regions=None, boxes="none", overwrite=False, progress=True):
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
    options = {"source": str(spec) if rows.folder is None else "folder", **asdict(wearing)}
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
            for (row, target, *_), record, reason in run_jobs(partial(_mask_job, wearing), todo(), workers):
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


def _mask_job(wearing, job):
    row, target, path, region = job
    return mask_photo(row.open(), path, wearing, target, region)


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
