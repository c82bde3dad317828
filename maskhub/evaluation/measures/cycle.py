"""The cycle error: how much a face changes when it is masked and unmasked again, or the reverse.

It is the mean absolute change of the aligned crop in 8-bit units, background included, as
:meth:`~maskhub.pipelines.face_mask.FaceMaskPipeline.cycle` returns it. A small error does not prove a good mask: a
generator that changes nothing has none, and CycleGANs hide the face in the mask (Chu, Zhmoginov, Sandler: "CycleGAN, a
Master of Steganography", 2017).
"""

import numpy as np

from maskhub.direction import Direction
from maskhub.errors import ConfigError
from maskhub.evaluation.gallery import BestAndWorst, Failures
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import mean_figure
from maskhub.evaluation.options import Model, SideOptions
from maskhub.evaluation.report import Figure, Report
from maskhub.evaluation.sets import batches, picture_seed
from maskhub.pipelines.load import load_pipeline

__all__ = ["Options", "measure", "measure_cycle"]

WAYS = {"unmasked": ("mask", "unmasked → masked → unmasked"), "masked": ("unmask", "masked → unmasked → masked")}
ABOUT = "Change of a face after a round trip, 0 to 255. A low error is not good by itself: doing nothing has none."


class Options(SideOptions):
    """Measure a pipeline's cycle error, 0 to 255; the errors of single faces go to a CSV file next to the report."""

    model: Model = None
    """Pipeline folder, Hub id or name (`maskhub models list`); default: the bundled checkpoint."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`."""
    pictures = options.sides()
    report = measure_cycle(load_pipeline(options.model, options.device), pictures, groups=options.groups)
    report.settings |= options.settings | {"model": options.model or "bundled"}
    return report


def measure_cycle(pipeline, pictures, *, groups=()):
    """Measure the error of every face of ``pictures``, ``unmasked`` and/or ``masked`` →
    :class:`~maskhub.evaluation.sets.PictureSet`, by a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`;
    ``groups`` are metadata columns. ConfigError if the pipeline lacks a direction, for an unknown column, or without a
    face in a source."""
    missing = [direction.role for direction in Direction if not pipeline.can(direction)]
    if missing:
        raise ConfigError(f"the cycle error needs both directions; this pipeline has no {missing[0]}.")
    check_columns([dict.fromkeys(source.columns) for source in pictures.values()], groups)
    faces, failures, galleries = [], Failures(), []
    for name, source in pictures.items():
        start, title = WAYS[name]
        gallery = BestAndWorst(f"{title}, by the error", better="low")
        before = len(faces)
        for part in batches(source):
            pixels = [picture.pixels for picture in part]
            seeds = [picture_seed(picture) for picture in pixels]
            made = pipeline.cycle(pixels, start, force=True, on_no_face="keep", details=True, seed=seeds)
            for picture, errors, there, back in zip(part, made.cycle_errors, made.there, made.images, strict=True):
                if not errors:
                    failures.add(picture.name, "the pipeline found no face", picture.pixels)
                    continue
                gallery.add(picture.name, float(np.mean(errors)), [picture.pixels, there, back])
                faces += [
                    {"direction": title, "photo": picture.name, "face": number, "error": error, **picture.columns}
                    for number, error in enumerate(errors)
                ]
        failures += source.failures
        galleries += gallery.galleries()
        if len(faces) == before:
            raise ConfigError(f"no face was found in any photo of {source.spec}{failures.first()}")
    warnings = failures.notes(sum(source.total for source in pictures.values()))
    specs = {name: source.spec for name, source in pictures.items()}
    return Report(
        "cycle",
        _rows(faces),
        len(faces),
        ", ".join(specs.values()),
        ABOUT,
        specs | {"resolution": pipeline.config.resolution, "interval": "95 %, percentiles of a bootstrap over faces"},
        by_group(faces, groups, lambda numbers: _rows([faces[n] for n in numbers]), warnings),
        warnings=warnings,
        galleries=galleries,
        failures=failures,
        table=faces,
    )


def _rows(faces):
    """Direction → mean and σ of the error, and its quantiles."""
    out = {}
    for _, title in WAYS.values():
        errors = np.array([face["error"] for face in faces if face["direction"] == title])
        if len(errors):
            details = {"unit": "of 255", "detail": True}
            out[title] = {
                "mean error": mean_figure(errors, unit="of 255", better="low"),
                "σ": Figure(errors.std(ddof=1) if len(errors) > 1 else None, **details),
                "median": Figure(np.median(errors), **details),
                "95th percentile": Figure(np.percentile(errors, 95), **details),
            }
    return out
