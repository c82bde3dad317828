"""Accuracy of the mask detector on unmasked and masked photos, degraded photos, decoys, and rule-based masks.

The largest face of each photo is detected and aligned as in the app. On unmasked photos, rule-based masks are also put
on, in each way of wearing them, to compare the detector's region with the true one (IoU, intersection over union).
"""

from copy import deepcopy
from typing import Annotated

import numpy as np
import tyro
from scipy.stats import mannwhitneyu

from maskhub.data.decoys import decoy, occlude
from maskhub.data.mask_detection import roughen
from maskhub.data.masked import Wearing
from maskhub.errors import ConfigError
from maskhub.evaluation.gallery import BestAndWorst, Failures
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import few_faces, mean_figure, share_figure
from maskhub.evaluation.options import SideOptions
from maskhub.evaluation.report import Figure, Report
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks, moved_landmarks
from maskhub.masks.blend import SHADOW
from maskhub.masks.detector import MASKED, bundled_mask_detector, detect_mask_on_crop
from maskhub.masks.styles import WORN
from maskhub.models.mask_detector import MaskDetector
from maskhub.pipelines.load import best_device

__all__ = ["Options", "measure", "measure_mask_detector"]

LEAST_REGION = 0.03
"""Rule-based masks that cover less than this share of the crop are not counted: they are outside of it."""
ABOUT = (
    "Accuracy of the mask detector on unchanged photos, degraded photos (tone, blur, noise, JPEG), with something "
    "in front, with a dark or smeared lower face, and on rule-based masks."
)


class Options(SideOptions):
    """Measure the accuracy of the mask detector and of its regions."""

    detector: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|USER/NAME")] = None
    """Mask detector; default: the bundled one."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`."""
    pictures = options.sides()
    network = MaskDetector.from_pretrained(options.detector).eval() if options.detector else bundled_mask_detector()
    if (device := best_device(options.device)) != "cpu":
        network = deepcopy(network).to(device)  # the bundled one is shared
    report = measure_mask_detector(pictures, network, groups=options.groups)
    report.settings |= options.settings | {"mask_detector": options.detector or "bundled"}
    return report


def measure_mask_detector(pictures, network, *, groups=()):
    """Measure a :class:`~maskhub.models.mask_detector.MaskDetector` on ``pictures``: ``unmasked`` and/or ``masked`` →
    :class:`~maskhub.evaluation.sets.PictureSet`; ``groups`` are metadata columns. ConfigError for an unknown column, or
    a source without a face."""
    check_columns([dict.fromkeys(source.columns) for source in pictures.values()], groups)
    faces, columns, failures, galleries, side = [], [], Failures(), [], network.config.resolution
    for name, source in pictures.items():
        gallery = BestAndWorst(f"{name} faces by how sure the detector is that they are {name}", "high")
        number = 0
        for picture in source:
            found = detect(picture.pixels)
            if not found:
                failures.add(picture.name, "no face was found.", picture.pixels)
                continue
            matrix = align.alignment(found[0], side)
            crop = align.crop(picture.pixels, matrix, side)
            values = _on_photo(name, crop, number, network)
            if name == "unmasked":
                marks = landmarks(picture.pixels, found[0])
                values |= _by_rule(crop, moved_landmarks(marks, matrix), number, network) if marks.present else {}
            presence = values["presence", name]
            gallery.add(picture.name, presence if name == "masked" else 1 - presence, _shown(crop, network))
            faces.append(values)
            columns.append(picture.columns)
            number += 1
        failures += source.failures
        galleries += gallery.galleries()
        if not number:
            raise ConfigError(f"no face was found in any photo of {source.spec}{failures.first()}")
    warnings = few_faces(len(faces)) + failures.notes(sum(source.total for source in pictures.values()))
    specs = {name: source.spec for name, source in pictures.items()}
    return Report(
        "mask-detector",
        _rows(faces),
        len(faces),
        ", ".join(specs.values()),
        ABOUT,
        {**specs, "threshold": MASKED, "resolution": side, "interval": "Wilson 95 % of shares, bootstrap of means"},
        by_group(columns, groups, lambda numbers: _rows([faces[n] for n in numbers]), warnings),
        warnings=warnings,
        galleries=galleries,
        failures=failures,
    )


def _on_photo(name, crop, number, network):
    """Whether the detector is right about a crop and altered versions of it; ``(figure, row)`` → value."""

    def right(image):
        return (detect_mask_on_crop(image, network).presence >= MASKED) == (name == "masked")

    found = detect_mask_on_crop(crop, network)
    values = {
        ("presence", name): found.presence,
        ("right", name): (found.presence >= MASKED) == (name == "masked"),
        ("right, roughened", name): right(roughen(crop, np.random.default_rng((7, number)))),
    }
    if name == "unmasked":
        front = occlude(crop, np.random.default_rng((7, number)))[0]
        values["right, something in front", name] = right(front)
    return values


def _by_rule(crop, marks, number, network):
    """The same for rule-based masks, with the overlap of the regions, and for a decoy at the place of such a mask."""
    values = {}
    for way, worn in enumerate(WORN):
        made = Wearing().put_on(crop, marks, 1000 * number + way, worn)
        region = ((made.region - SHADOW) / (1 - SHADOW)).clip(0, 1)
        if (region > 0.5).mean() < LEAST_REGION:
            continue
        images = {worn: made.image}
        if worn == WORN[0]:
            rng = np.random.default_rng((8, number))
            smeared = detect_mask_on_crop(decoy(crop, region, rng), network).presence
            values["right, lower face shaded or smeared", "unmasked"] = smeared < MASKED
            images[f"{worn}, roughened"] = roughen(made.image, rng)
        for name, image in images.items():
            found = detect_mask_on_crop(image, network)
            values["found", f"by rule, {name}"] = found.presence >= MASKED
            values["IoU", f"by rule, {name}"] = _overlap(found.region, region)
    return values


def _rows(faces):
    rows, presence = {}, {}
    for name, row in dict.fromkeys(key for face in faces for key in face):
        values = [face[name, row] for face in faces if (name, row) in face]
        if name == "presence":
            presence[row] = values
        elif name == "IoU":
            tenth = Figure(np.percentile(values, 10), n=len(values), better="high", detail=True)
            rows[row] |= {"IoU": mean_figure(values, better="high"), "IoU, 10th percentile": tenth}
        else:
            rows.setdefault(row, {})[name] = share_figure(sum(values), len(values), better="high")
    if len(presence) == 2:
        masked, unmasked = presence["masked"], presence["unmasked"]
        area = mannwhitneyu(masked, unmasked).statistic / (len(masked) * len(unmasked))
        rows[""] = {"area under the ROC curve": Figure(area, n=len(masked) + len(unmasked), better="high")}
    return rows


def _overlap(found, true):
    a, b = found > 0.5, true > 0.5
    return float((a & b).sum() / max((a | b).sum(), 1))


def _shown(crop, network):
    """A crop, and the same with the detector's region in red."""
    region = detect_mask_on_crop(crop, network).region[..., None]
    return [crop, (crop + (np.array([255, 0, 0]) - crop) * (0.5 * region)).astype(np.uint8)]
