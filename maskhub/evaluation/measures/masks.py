"""Mask success: the share of results in which the mask detector finds a mask, or finds no mask.

It is measured on a folder of results, or on a pipeline's results; there, success means that the detector finds a mask
only before, or only after. For the detector and its errors, see
``maskhub/weights/mask-detector/README.md``.
"""

import numpy as np
from PIL import Image

from maskhub.errors import ConfigError, MaskHubError, NoFaceError
from maskhub.evaluation.gallery import BestAndWorst, Failures
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import few_faces, mean_figure, share_figure
from maskhub.evaluation.options import Model, PhotoOptions, Source, Way
from maskhub.evaluation.report import Report
from maskhub.evaluation.sets import translator
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.masks.detector import MASKED, bundled_mask_detector, detect_mask_on_crop
from maskhub.pipelines.load import load_pipeline

__all__ = ["Options", "measure", "measure_masks"]

ABOUT = (
    "The share of faces in which the mask detector finds a mask. It says whether something looks like a mask, "
    "not whether it looks good."
)


class Options(PhotoOptions):
    """Measure the share of faces with and without a mask by the mask detector, or how often a model succeeds."""

    photos: Source
    """A folder, or user/dataset[/config][:split][@revision][#column]; with --direction the photos to translate."""
    direction: Way | None = None
    """First put masks on or take them off; by default the photos are measured as they are."""
    model: Model = None
    """Pipeline folder, Hub id or name (`maskhub models list`) for --direction; default: the bundled checkpoint."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`."""
    if options.model and not options.direction:
        raise ConfigError("--model needs --direction mask or unmask.")
    if not options.direction:
        options.refuse("without --direction", "device")
    pictures = options.pictures(options.photos, "masks")
    pipeline = load_pipeline(options.model, options.device) if options.direction else None
    report = measure_masks(pictures, pipeline, options.direction, groups=options.groups)
    report.settings |= options.settings | ({"model": options.model or "bundled"} if pipeline else {})
    return report


def measure_masks(pictures, pipeline=None, direction=None, *, groups=()):
    """Run the mask detector on the largest face of every picture. ConfigError for a pipeline without a direction or the
    reverse, for an unknown column, or without a face in any photo.

    Args:
        pictures: :class:`~maskhub.evaluation.sets.PictureSet` of results, or with ``pipeline`` of its inputs.
        pipeline: a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline` that translates the photos first. Its result
            is measured where the face was found *before*, so that faces that can no longer be detected count too.
        direction: ``"mask"`` or ``"unmask"``, of the pipeline.
        groups: metadata columns.
    """
    if (pipeline is None) != (direction is None):
        raise ConfigError("a pipeline and a direction belong together: give both or neither.")
    check_columns([dict.fromkeys(pictures.columns)], groups)
    network = bundled_mask_detector()
    # the direction decides which end of the gallery is best; without one, it is a mask's presence
    gallery = BestAndWorst("results by the mask detector's presence", "low" if direction == "unmask" else "high")
    translate = translator(pipeline, direction) if pipeline is not None else None
    rows, now, before, failures = _presences(pictures, network, translate, gallery)
    if not rows:
        raise ConfigError(f"no face was found in any photo of {pictures.spec}{failures.first()}")
    now, before, warnings = np.array(now), np.array(before), []
    groups = by_group(rows, groups, lambda numbers: {"": _figures(now[numbers], before[numbers], direction)}, warnings)
    warnings += few_faces(len(rows)) + failures.notes(pictures.total)
    return Report(
        "masks",
        {"": _figures(now, before, direction)},
        len(rows),
        pictures.spec,
        ABOUT,
        {
            "photos": pictures.spec,
            "mask_detector": {"name": "mask-detector", "threshold": MASKED, "resolution": network.config.resolution},
            "direction": direction,
            "interval": "Wilson 95 % of shares, bootstrap 95 % of the mean",
        },
        groups,
        warnings=warnings,
        galleries=gallery.galleries(),
        failures=failures,
    )


def _presences(pictures, network, translate, gallery):
    """Columns, presence and presence before translation of each face, and the failures."""
    rows, now, before, failures = [], [], [], Failures()
    for picture in pictures:
        try:
            crop, made = _crops(picture.pixels, translate, network.config.resolution)
        except MaskHubError as error:
            failures.add(picture.name, error, picture.pixels)
            continue
        now.append(detect_mask_on_crop(made, network).presence)
        before.append(detect_mask_on_crop(crop, network).presence if translate else now[-1])
        rows.append(picture.columns)
        gallery.add(picture.name, now[-1], [crop, made] if translate else made)
    return rows, now, before, Failures([*failures, *pictures.failures])


def _crops(pixels, translate, side):
    """The crop of the largest face of a photo, and the same crop of the pipeline's result."""
    faces = detect(pixels)
    if not faces:
        raise NoFaceError("no face was found.")
    matrix = align.alignment(faces[0], side)
    crop = align.crop(pixels, matrix, side)
    if translate is None:
        return crop, crop
    made = np.asarray(translate(Image.fromarray(pixels)).convert("RGB"))
    return crop, align.crop(made, matrix, side)


def _figures(now, before, direction):
    masked, wanted = now >= MASKED, {"mask": "high", "unmask": "low"}.get(direction, "")
    out = {
        "mask_detected": share_figure(masked.sum(), len(now), better=wanted),
        "no_mask_detected": share_figure((~masked).sum(), len(now)),
        "mask_presence": mean_figure(now, detail=True),
    }
    if direction is None:
        return out
    was = before >= MASKED
    asked = was if direction == "unmask" else ~was
    won = asked & (masked != was)
    success = {"success": share_figure(won.sum(), asked.sum(), better="high")}
    return success | out | {"mask_detected_before": share_figure(was.sum(), len(was), detail=True)}
