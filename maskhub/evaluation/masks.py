"""Mask success: the share of results in which the mask detector finds a mask, or finds none.

Of a folder of results, or of what a pipeline makes of photos; then success is a result that the detector takes for the
other class than the photo it was made from. The detector and its errors: ``maskhub/weights/mask-detector/README.md``.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from maskhub.errors import ConfigError, MaskHubError, NoFaceError
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import mean_figure, share_figure
from maskhub.evaluation.report import BestAndWorst, write_report
from maskhub.evaluation.sets import PictureSet, picture_seed
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.masks.detector import MASKED, bundled_mask_detector, detect_mask_on_crop

__all__ = ["masks_report"]


def masks_report(
    photos,
    output,
    *,
    pipeline=None,
    direction=None,
    model=None,
    held_out=False,
    limit=None,
    groups=(),
    network=None,
    progress=True,
):
    """Judge the largest face of every picture of a source, and write the report.

    Args:
        photos: a folder, or ``user/dataset[:split][@revision][#column]``: results, or with ``pipeline`` its inputs.
        output: the JSON file.
        pipeline: a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline` that the photos go through first. Its result
            is judged where the face was found *before*, so that a face spoilt beyond detection counts too.
        direction: ``"mask"`` or ``"unmask"``, of the pipeline.
        model: what to call the pipeline in the report.
        held_out: only the tenth of photos that is never trained on.
        limit: at most so many photos.
        groups: metadata columns to give every figure by.
        network: another :class:`~maskhub.models.mask_detector.MaskDetector` than the one of the package.
        progress: show a bar.

    Returns:
        the report. Its figures: ``masked`` and ``unmasked``, the shares of judged faces with and without a mask, and
        ``presence``, the detector's mean; with a pipeline also ``masked before`` and ``success``: among the photos that
        the detector took for unmasked (for ``unmask``: masked) before, the share that it takes for the other now.
        Photos without a face are no part of any share; they are listed as failures.

    Raises:
        SourceError: no such source, or no photo in it. ConfigError: an option, or no face in any photo.
    """
    if (pipeline is None) != (direction is None):
        raise ConfigError("a model and a direction belong together: give both or neither.")
    if direction not in (None, "mask", "unmask"):
        raise ConfigError(f"the direction is {direction!r}; it must be 'mask' or 'unmask'.")
    pictures = PictureSet(photos, held_out=held_out, limit=limit, title="judge" if progress else None)
    check_columns([dict.fromkeys(pictures.columns)], groups)
    network = network or bundled_mask_detector()
    # what the results should show decides which end of the gallery is best; a mixed folder is shown by presence alone
    gallery = BestAndWorst("results by the detector's presence", "low" if direction == "unmask" else "high")
    rows, now, before, failures, spoilt = [], [], [], [], {}
    for picture in pictures:
        try:
            crop, made = _crops(picture.pixels, pipeline, direction, network.config.resolution)
        except MaskHubError as error:
            failures.append((picture.name, str(error)))
            if len(spoilt) < 20:
                spoilt[picture.name] = Image.fromarray(picture.pixels)
            continue
        found = detect_mask_on_crop(made, network)
        now.append(found.presence)
        before.append(detect_mask_on_crop(crop, network).presence if pipeline is not None else found.presence)
        rows.append(picture.columns)
        gallery.add(picture.name, found.presence, [crop, made] if pipeline is not None else made)
    failures += pictures.failures
    if not rows:
        raise ConfigError(f"no face was found in any photo of {photos}: there is nothing to judge.")
    now, before = np.array(now), np.array(before)

    def figures(numbers):
        return _figures(now[numbers], before[numbers], direction)

    warnings = []
    report_groups = by_group(rows, groups, figures, warnings)
    if len(rows) < 100:
        warnings.append(f"only {len(rows)} faces were judged: read the intervals.")
    if failures:
        warnings.append(f"{len(failures)} of {pictures.total} photos are no part of the shares; see the failures.")
    settings = {
        "photos": str(photos),
        "split": "held-out" if held_out else "all",
        "limit": limit,
        "judge": {"name": "mask-detector", "threshold": MASKED, "resolution": network.config.resolution},
        "model": None if pipeline is None else str(model or "pipeline"),
        "direction": direction,
        "n": len(rows),
        "failed": len(failures),
        "interval": "Wilson 95 % of shares, bootstrap 95 % of the mean",
    }
    everything = figures(np.arange(len(rows)))
    return write_report(
        Path(output),
        "masks",
        settings,
        everything,
        report_groups,
        warnings,
        galleries=[gallery],
        failures=failures,
        pictures=spoilt,
    )


def _crops(pixels, pipeline, direction, side):
    """The largest face's crop of a photo, and the same crop of what a pipeline makes of it."""
    faces = detect(pixels)
    if not faces:
        raise NoFaceError("no face was found.")
    matrix = align.alignment(faces[0], side)
    crop = align.crop(pixels, matrix, side)
    if pipeline is None:
        return crop, crop
    made = np.asarray(pipeline(Image.fromarray(pixels), direction, seed=picture_seed(pixels)).convert("RGB"))
    return crop, align.crop(made, matrix, side)


def _figures(now, before, direction):
    masked = now >= MASKED
    out = {
        "masked": share_figure(int(masked.sum()), len(now)),
        "unmasked": share_figure(int((~masked).sum()), len(now)),
        "presence": mean_figure(now),
    }
    if direction is None:
        return out
    was = before >= MASKED
    asked = was if direction == "unmask" else ~was
    won = asked & (masked != was)
    return {
        "success": share_figure(int(won.sum()), int(asked.sum())),
        **out,
        "masked before": share_figure(int(was.sum()), len(was)),
    }
