"""Many photos, one result each: a folder is worked through file by file, and one bad file never ends it."""

import contextlib
import csv
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from maskhub.data.journal import write_text
from maskhub.errors import ConfigError, MaskHubError, PhotoError, SourceError
from maskhub.faces.photo import PHOTO_SUFFIXES, rgb_profile
from maskhub.provenance import save_options

__all__ = ["BatchReport", "process_folder", "result_path", "save_photo", "write_failures"]

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


@dataclass
class BatchReport:
    """What became of a folder: files made now, found already made, and failed (``(file, reason)``)."""

    made: int = 0
    kept: int = 0
    failures: list = field(default_factory=list)


def process_folder(source, output, work, *, overwrite=False, progress=True):
    """Run ``work`` over every photo of a folder and its sub-folders, keeping their names and places.

    Args:
        source: folder of photos.
        output: folder for the results; ``failures.csv`` there lists what could not be done (and is absent if nothing).
        work: path → ``PIL.Image``; raises a :class:`MaskHubError` where it can't.
        overwrite: make results anew that are there already; else they are kept, so that a broken-off run goes on.
        progress: show a bar.

    Returns:
        :class:`BatchReport`.

    Raises:
        SourceError: no such folder, or no file in it. ConfigError: ``output`` is ``source``.
    """
    source, output = Path(source), Path(output)
    if not source.is_dir():
        raise SourceError(f"there is no folder {source}.")
    if output.resolve() == source.resolve():
        raise ConfigError("the output folder is the input folder: choose another, so that no photo is overwritten.")
    paths = sorted(p for p in source.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES and output not in p.parents)
    if not paths:
        raise SourceError(f"the folder {source} holds no photo (looked for {', '.join(sorted(PHOTO_SUFFIXES))}).")
    report = BatchReport()
    for path in tqdm(paths, unit="photo", disable=not progress):
        target = result_path(output / path.relative_to(source))
        if target.exists() and not overwrite:
            report.kept += 1
            continue
        try:
            save_photo(work(path), target)
            report.made += 1
        except MaskHubError as error:
            report.failures.append((path.relative_to(source).as_posix(), str(error)))
    write_failures(output, report.failures)
    return report


def result_path(path):
    """Where a photo's result goes: formats that can't be written as they were (GIF) become PNG."""
    path = Path(path)
    return path if path.suffix.lower() in _FORMATS else path.with_suffix(".png")


def save_photo(image, path):
    """Write a picture whole or not at all, in the format of its suffix (JPEG at quality 95, no chroma subsampling).

    Its colour profile and its :mod:`~maskhub.provenance` go along, other metadata do not.

    Raises:
        PhotoError: an unknown suffix, or no room.
    """
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise PhotoError(f"{path} can't be written: its suffix must be one of {', '.join(sorted(_FORMATS))}.")
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    options["icc_profile"] = rgb_profile(image)
    if kind in ("JPEG", "BMP") and image.mode == "RGBA":
        image = image.convert("RGB")
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(aside, kind, **options, **save_options(image, kind))
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise PhotoError(f"{path} could not be written: {error.strerror or error}.") from error


def write_failures(output, failures):
    """Write ``failures.csv`` into a folder, or take an earlier one away where nothing failed."""
    path = Path(output) / "failures.csv"
    if not failures:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file_name", "reason"), *failures])
    write_text(path, text.getvalue())
