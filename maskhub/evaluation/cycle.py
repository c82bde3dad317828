"""The error there and back: how far a face masked and unmasked again (or the reverse) is from itself.

It is the mean absolute change of the aligned crop in 8-bit units, background included, as
:meth:`~maskhub.pipelines.face_mask.FaceMaskPipeline.cycle` gives it. A small error is no proof of a good mask: a
generator that changes nothing has none, and CycleGANs hide the face in the mask (Chu, Zhmoginov, Sandler: "CycleGAN, a
Master of Steganography", 2017).
"""

import csv
import io
from pathlib import Path

import numpy as np

from maskhub.data.journal import write_text
from maskhub.errors import ConfigError
from maskhub.evaluation.detection import batches
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import mean_figure
from maskhub.evaluation.report import BestAndWorst
from maskhub.evaluation.sets import PictureSet, picture_seed

__all__ = ["measure_cycle", "write_table"]

WAYS = {"unmasked": ("mask", "unmasked → masked → unmasked"), "masked": ("unmask", "masked → unmasked → masked")}


def measure_cycle(pipeline, sources, *, groups=(), held_out=False, limit=None, progress=False):
    """Measure the error of every face.

    Args:
        pipeline: :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline` with both generators.
        sources: ``unmasked`` and/or ``masked`` → spec of a folder or a Hub dataset.
        groups: metadata columns.
        held_out, limit: as of :class:`~maskhub.evaluation.sets.PictureSet`.
        progress: show a bar for each source.

    Returns:
        the keyword arguments of :func:`~maskhub.evaluation.report.write_report`, and ``faces``: a dict for each face
        with ``direction``, ``photo``, ``face`` (its number), ``error`` and the photo's columns.

    Raises:
        ConfigError: a generator is missing, no source, or no face in a source.
    """
    missing = [name for name in ("masker", "unmasker") if getattr(pipeline, name) is None]
    if missing:
        raise ConfigError(f"there and back needs both generators; this pipeline has no {missing[0]}.")
    if not sources or set(sources) - set(WAYS):
        raise ConfigError("give the photos as unmasked, masked, or both.")
    pictures = {
        name: PictureSet(spec, held_out=held_out, limit=limit, title=name if progress else None)
        for name, spec in sources.items()
    }
    check_columns([dict.fromkeys(source.columns) for source in pictures.values()], groups)
    faces, failures, galleries = [], [], []
    for name, source in pictures.items():
        start, title = WAYS[name]
        gallery = BestAndWorst(f"{title}, by the error", better="low")
        before = len(faces)
        for part in batches(source):
            pixels = [picture.pixels for picture in part]
            seeds = [picture_seed(picture) for picture in pixels]
            made = pipeline.cycle(pixels, start, on_no_face="keep", details=True, seed=seeds)
            for picture, errors, there, back in zip(part, made.cycle_errors, made.there, made.images, strict=True):
                if not errors:
                    failures.append((picture.name, "the pipeline found no face"))
                    continue
                gallery.add(picture.name, float(np.mean(errors)), [picture.pixels, there, back])
                faces += [
                    {"direction": title, "photo": picture.name, "face": number, "error": error, **picture.columns}
                    for number, error in enumerate(errors)
                ]
        failures += source.failures
        galleries.append(gallery)
        if len(faces) == before:
            first = f" (the first: {failures[0][0]}: {failures[0][1]})" if failures else "."
            raise ConfigError(f"no face was found in any photo of {source.spec}{first}")
    warnings = []
    measured = (
        by_group(faces, groups, lambda numbers: _figures([faces[n] for n in numbers]), warnings) if groups else {}
    )
    return {
        "settings": {
            **{name: str(spec) for name, spec in sources.items()},
            "photos": ", ".join(map(str, sources.values())),
            "split": "held-out" if held_out else "all",
            "limit": limit,
            "resolution": pipeline.config.resolution,
            "interval": "95 %, percentiles of a bootstrap over faces",
        },
        "figures": _figures(faces),
        "groups": measured,
        "warnings": warnings,
        "galleries": galleries,
        "failures": failures,
        "faces": faces,
    }


def write_table(path, faces):
    """Write the error of each face as CSV."""
    columns, text = list(dict.fromkeys(key for face in faces for key in face)), io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(faces)
    write_text(Path(path), text.getvalue())


def _figures(faces):
    """Direction → mean and σ of the error, and its quantiles."""
    out = {}
    for _, title in WAYS.values():
        errors = np.array([face["error"] for face in faces if face["direction"] == title])
        if len(errors):
            out[title] = {
                "mean error": mean_figure(errors),
                "σ": float(errors.std(ddof=1)) if len(errors) > 1 else None,
                "median": float(np.median(errors)),
                "95th percentile": float(np.percentile(errors, 95)),
            }
    return out
