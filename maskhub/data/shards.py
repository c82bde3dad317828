"""Paired datasets at scale: a source is streamed, masks are put on, and pairs are written as parquet shards.

    build_dataset("photos", "pairs", Wearing(seed=1), workers=4)
    datasets.load_dataset("pairs", split="train")[0]["masked"]

Row i of the source belongs to rank i mod world. A rank's rows go into shards of a fixed number of source rows, whose
names hold rank and number; a shard is written aside and renamed, so that one that is there is whole. What failed in it
is noted in the file itself.
"""

import io
import json
import os
from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from maskhub.data.batch import BatchReport, write_failures
from maskhub.data.card import dataset_card
from maskhub.data.journal import HIDDEN, write_text
from maskhub.data.masked import Wearing, mask_faces, region_image
from maskhub.data.rows import free_name, open_rows
from maskhub.data.workers import run_jobs
from maskhub.errors import ConfigError, PhotoError
from maskhub.faces import align
from maskhub.faces.landmarks import moved_landmarks
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.image_file import open_image
from maskhub.provenance import RULE, Provenance, mark

__all__ = ["BuildReport", "build_dataset", "pair_features"]

GROUP = 32
"""Rows of a row group: what a reader holds in memory at once, and this writer too."""
NOTE = b"maskhub"
"""Key of the parquet file's own metadata that holds what failed."""


@dataclass
class BuildReport(BatchReport):
    """What became of a dataset; ``made`` and ``kept`` count its rows.

    Attributes:
        last: whether this rank found the dataset whole and is the one to push it.
        features: ``datasets.Features`` of the shards.
    """

    last: bool = False
    features: object = field(default=None, repr=False)


def build_dataset(
    spec, output, wearing=None, *, crops=None, shard_size=1000, workers=0, rank=0, world=1, progress=True
):
    """Write pairs of a face dataset as parquet shards ``output/data/train-<rank>-<number>.parquet``.

    Args:
        spec: a folder, or ``user/dataset[:split][@revision][#column]``, which is streamed.
        output: folder; one for all ranks. ``failures.csv`` there lists what could not be done.
        wearing: :class:`~maskhub.data.masked.Wearing`.
        crops: side in pixels of aligned crops, a row for each masked face; None keeps photos whole, a row for each.
        shard_size: source rows a shard.
        workers: processes of this rank; 0 works in this one.
        rank, world: this process's share, as ``accelerate launch`` and ``torchrun`` set them.
        progress: show a bar.

    Returns:
        :class:`BuildReport`.

    Raises:
        SourceError: no such source, or no photo in it.
        ConfigError: an option out of its bounds, or ``output`` holds shards of other options.
        PhotoError: a shard can't be written.
    """
    wearing, output = wearing or Wearing(), Path(output)
    if crops is not None and not 32 <= crops <= 2048:
        raise ConfigError(f"the crops' side is {crops}; it must lie between 32 and 2048 pixels.")
    if shard_size < 1:
        raise ConfigError(f"the shard size is {shard_size}; it must be 1 or more.")
    if not 0 <= rank < world:
        raise ConfigError(f"the rank is {rank} of {world}; it must lie between 0 and {world - 1}.")
    rows = open_rows(spec, [output])
    source = rows.spec if rows.folder is None else "folder"
    options = {"source": source, **wearing.model_dump(), "crops": crops, "shard_size": shard_size, "world": world}
    _claim(output, options)
    features, names = pair_features(rows, crops)
    report = BuildReport(features=features)
    was_done = _done_path(output, rank).exists()
    work = partial(_pair_job, wearing, crops, names)
    _write_shards(rows, output, features, work, report, shard_size, workers, rank, world, progress)
    options |= {"source": rows.spec if rows.folder is None else None}
    _finish(output, options, rank, was_done, report)
    return report


def pair_features(rows, crops=None):
    """The columns of a paired dataset.

    Returns:
        ``datasets.Features``, and a dict from the source's column names to those that they get: a name that is taken
        gets an underscore.
    """
    from datasets import Features, Image, List, Value

    numbers = List(Value("float32"))
    pairs = {"file_name": Value("string")}
    pairs |= {"face": Value("int32")} if crops else {}
    pairs |= {name: Image() for name in ("unmasked", "masked", "region")}
    pairs |= {"boxes": List(numbers), "landmarks": List(List(numbers))}
    pairs |= {name: List(Value("string")) for name in ("style", "colour", "worn")}
    pairs |= {"pose": List(numbers)}
    names = {name: free_name(name, pairs) for name in rows.columns}
    return Features(pairs | {names[name]: _feature(rows, name) for name in rows.columns}), names


def _feature(rows, name):
    from datasets import ClassLabel, Value

    if rows.folder is None:
        kind = rows.features[name]
        return Value("string") if isinstance(kind, ClassLabel) else kind
    return Value(rows.kind_of(name))


def _write_shards(rows, output, features, work, report, shard_size, workers, rank, world, progress):
    """Work through this rank's rows; results are put back into the rows' order, whatever order they come in."""
    order, waiting, finished = deque(), {}, {}

    def shard_of(row):
        return row.index // world // shard_size

    def todo():
        for row in rows:
            if row.index % world != rank:
                continue
            number = shard_of(row)
            if number not in finished:
                finished[number] = _note_of(_shard_path(output, rank, number))
                if finished[number]:
                    report.kept += finished[number]["rows"]
                    report.failures += map(tuple, finished[number]["failures"])
            if finished[number]:
                bar.update()
                continue
            if rows.folder is not None:
                row = replace(row, columns=rows.typed(row.columns))
            order.append(row)
            yield row

    total = (len(rows) - rank + world - 1) // world if rows.folder else None
    writer = None
    with tqdm(total=total, unit="photo", mininterval=0.5, disable=not progress, position=rank) as bar:
        try:
            for row, pairs, reason in run_jobs(work, todo(), workers):
                waiting[row.index] = pairs, reason
                bar.update()
                while order and order[0].index in waiting:
                    row = order.popleft()
                    pairs, reason = waiting.pop(row.index)
                    number = shard_of(row)
                    if writer is None or writer.number != number:
                        if writer is not None:
                            writer.finish()
                        writer = _ShardWriter(_shard_path(output, rank, number), number, features)
                    if reason is None:
                        report.made += writer.add(pairs)
                    else:
                        writer.failures.append((row.name, reason))
                        report.failures.append((row.name, reason))
            if writer is not None:
                writer.finish()
                writer = None
        finally:
            if writer is not None:
                writer.drop()


class _ShardWriter:
    """One shard, written aside a row group at a time."""

    def __init__(self, path, number, features):
        import pyarrow.parquet as pq

        self.path, self.number, self.features = path, number, features
        self.aside = path.with_name(f".{path.name}.partial")
        self.rows, self.group, self.failures = 0, [], []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # a PNG can't be pressed further
            self.file = pq.ParquetWriter(self.aside, features.arrow_schema, compression="zstd")
        except OSError as error:
            raise PhotoError(f"{path} could not be written: {error.strerror or error}.") from error

    def add(self, pairs):
        self.group += pairs
        self.rows += len(pairs)
        if len(self.group) >= GROUP:
            self._flush()
        return len(pairs)

    def _flush(self):
        import pyarrow as pa

        if self.group:
            self._written(lambda: self.file.write_table(pa.Table.from_pylist(self.group, self.features.arrow_schema)))
            self.group = []

    def finish(self):
        self._flush()
        note = json.dumps({"rows": self.rows, "failures": self.failures})
        self.file.add_key_value_metadata({NOTE.decode(): note})
        self._written(self.file.close)
        os.replace(self.aside, self.path)

    def drop(self):
        self.file.close()
        self.aside.unlink(missing_ok=True)

    def _written(self, write):
        import pyarrow as pa

        try:
            write()
        except OSError as error:
            raise PhotoError(f"{self.path} could not be written: {error.strerror or error}.") from error
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise PhotoError(f"{self.path} could not be written: a column changes its type ({error}).") from error


def _pair_job(wearing, crops, names, row):
    """The pairs of one photo, as rows of :func:`pair_features`."""
    photo = open_photo(row.open())
    pixels = np.asarray(split_alpha(photo)[0])
    masked = mask_faces(pixels, wearing, row.name)
    kept = {names[key]: value for key, value in row.columns.items()}
    if crops is None:
        about = _about(masked.faces, masked.landmarks)
        pictures = {
            "unmasked": _original(row, photo) or _png(Image.fromarray(pixels)),
            "masked": _png(mark(Image.fromarray(masked.image), Provenance("mask", RULE))),
            "region": _png(region_image(masked.region)),
        }
        return [{"file_name": row.name, **_images(pictures, row.name), **about, **kept}]
    pairs = []
    for number, (face, marks) in enumerate(zip(masked.faces, masked.landmarks, strict=True)):
        if face["worn"] != "unmasked":
            matrix = align.alignment(masked.found[number], crops)
            before, after = (align.crop(image, matrix, crops) for image in (pixels, masked.image))
            region = align.crop(masked.region, matrix, crops)
            # another rounding must not let a changed pixel lie at region 0
            region = np.maximum(region, (before != after).any(2) / np.float32(255)).clip(0, 1)
            pictures = {
                "unmasked": _png(Image.fromarray(before)),
                "masked": _png(mark(Image.fromarray(after), Provenance("mask", RULE))),
                "region": _png(region_image(region)),
            }
            about = _about([_moved_face(face, masked.found[number], matrix)], [moved_landmarks(marks, matrix)])
            pairs.append({"file_name": row.name, "face": number, **_images(pictures, row.name), **about, **kept})
    return pairs


def _about(faces, marks):
    return {
        "boxes": [face["box"] for face in faces],
        "landmarks": [mark.points.round(2).tolist() if mark is not None else [] for mark in marks],
        "style": [face["style"] for face in faces],
        "colour": [face["colour"] for face in faces],
        "worn": [face["worn"] for face in faces],
        "pose": [face["pose"] or [] for face in faces],
    }


def _images(pictures, name):
    stem = name.replace("/", "_").rpartition(".")[0]
    return {key: {"bytes": data, "path": f"{stem}-{key}.png"} for key, data in pictures.items()}


def _original(row, photo):
    """The photo's own bytes where they show just these pixels and tell nothing about its place and camera."""
    with open_image(row.open()) as image:
        plain = image.format in ("JPEG", "PNG") and image.mode == "RGB" and photo.mode == "RGB"
        if not plain or image.info.get("exif") or getattr(image, "is_animated", False):
            return None
    return Path(row.photo).read_bytes() if isinstance(row.photo, str) else row.photo


def _png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _moved_face(face, found, matrix):
    """The face's record with its box and the roll that is left in the crop."""
    left, top, width, height = found.box
    corners = np.array([[[left, top], [left + width, top], [left + width, top + height], [left, top + height]]])
    moved = cv2.transform(corners.astype(np.float64), matrix)[0]
    low, high = moved.min(0), moved.max(0)
    yaw, pitch, roll = face["pose"]
    turned = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    box = [round(float(value), 2) for value in (*low, *(high - low))]
    return face | {"box": box, "pose": [yaw, pitch, round((roll + turned + 180) % 360 - 180, 2)]}


def _shard_path(output, rank, number):
    return output / "data" / f"train-{rank:04d}-{number:06d}.parquet"


def _note_of(path):
    """What a finished shard's file says of itself, or None where there is no such shard."""
    if not path.exists():
        return None
    import pyarrow.parquet as pq

    try:
        return json.loads(pq.ParquetFile(path).metadata.metadata[NOTE])
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{path} is no shard of `maskhub dataset build` ({error!r}): take it away.") from error


def _claim(output, options):
    """Note the options of this dataset, or compare them with those of an earlier run and of the other ranks."""
    path = output / HIDDEN / "build.json"
    options = json.loads(json.dumps(options))
    aside = path.with_name(f".build.json.{os.getpid()}.{options['world']}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(options))
        try:
            os.link(aside, path)  # unlike a rename, this fails where another rank was first
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        before = json.loads(path.read_text())
    except OSError as error:
        raise PhotoError(f"{path} could not be written: {error.strerror or error}.") from error
    if before != options:
        changed = sorted(key for key in options | before if options.get(key) != before.get(key))
        raise ConfigError(f"{output} holds a dataset made with another {', '.join(changed)}: choose another folder.")


def _done_path(output, rank):
    return output / HIDDEN / f"done-{rank:04d}"


def _finish(output, options, rank, was_done, report):
    """Mark this rank as done and gather what failed; the last rank to come here finds the dataset whole."""
    from filelock import FileLock

    with FileLock(output / HIDDEN / "finish.lock"):
        write_text(_done_path(output, rank), f"{report.made + report.kept}\n")
        whole = all(_done_path(output, other).exists() for other in range(options["world"]))
        # where all is done already, and the run is only repeated to push, rank 0 does it
        report.last = whole and (rank == 0 if was_done else True)
        notes = [_note_of(path) for path in sorted((output / "data").glob("train-*.parquet"))]
        write_failures(output, sorted((name, reason) for note in notes for name, reason in note["failures"]))
        if whole:
            write_text(output / "README.md", dataset_card(output, options, report.features, notes))
