"""The share of pictures in which face detectors find a face, for generated pictures, unmasked and masked photos.

A photo counts if a detector finds any upright face in it. Results of a pipeline exist only for photos in which it found
a face to translate, so compare them with the same photos before: ``unmasked, of those`` and ``masked, of those``.
"""

import numpy as np

from maskhub.errors import ConfigError
from maskhub.evaluation.detectors import detector
from maskhub.evaluation.gallery import BestAndWorst, Failures
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import share_figure
from maskhub.evaluation.options import Model, Names, OptionalSource, SideOptions
from maskhub.evaluation.report import Report
from maskhub.evaluation.sets import batches, picture_seed
from maskhub.pipelines.load import load_pipeline

__all__ = ["Options", "measure", "measure_detection"]

MADE = {"unmasked": ("mask", "masked by the model"), "masked": ("unmask", "unmasked by the model")}
"""Source → the direction in which a pipeline translates it, and the name of the result."""
ABOUT = "The share of pictures in which face detectors find a face. Higher is better."


class Options(SideOptions):
    """Measure the share of generated, unmasked and masked photos in which face detectors find a face."""

    generated: OptionalSource = None
    """Folder or Hub dataset of generated photos."""
    model: Model = None
    """Pipeline folder or Hub id: also measure the results of its masker on the unmasked photos and of its unmasker on
    the masked ones."""
    bundled: bool = False
    """Like --model, with the bundled checkpoint."""
    detectors: Names = ("yunet", "dlib-hog")
    """Detectors: yunet, dlib-hog, dlib-cnn."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`."""
    pictures = options.sides("generated")
    finders = {name: detector(name) for name in options.detectors}
    wanted = options.model or options.bundled
    if options.model:
        options.refuse("with --model", "bundled")
    if not wanted:
        options.refuse("without --model or --bundled", "device")
    pipeline = load_pipeline(options.model, options.device) if wanted else None
    report = measure_detection(pictures, finders, pipeline, groups=options.groups)
    report.settings |= options.settings | ({"model": options.model or "bundled"} if wanted else {})
    return report


def measure_detection(pictures, detectors, pipeline=None, *, groups=()):
    """Count the faces that detectors, name → function of :func:`maskhub.evaluation.detectors.detector`, find in
    ``pictures``: ``unmasked``, ``masked`` or ``generated`` → :class:`~maskhub.evaluation.sets.PictureSet`; also in a
    ``pipeline``'s results on ``unmasked`` and ``masked``, for the generators it has. ``groups`` are metadata columns.
    ConfigError without a detector, for an unknown column, without a readable photo, or for a pipeline that can't
    translate any source."""
    if not detectors:
        raise ConfigError("nothing to count: give at least one detector.")
    able = _able(pictures, pipeline)
    check_columns([dict.fromkeys(source.columns) for source in pictures.values()], groups)
    table, failures = _Table(detectors), Failures()
    for name, source in pictures.items():
        for part in batches(source):
            found = [table.detect(picture.pixels) for picture in part]
            for picture, hits in zip(part, found, strict=True):
                table.add(name, picture, hits)
            if name in able:
                table.translate(name, part, found, pipeline, *able[name], failures)
        failures += source.failures
        if not table.count(name):
            raise ConfigError(f"no photo of the {name} source could be read{failures.first()}")
    # photos that were read are counted, even if the pipeline finds no face in them
    unread = Failures(failure for source in pictures.values() for failure in source.failures)
    warnings = unread.notes(sum(source.total for source in pictures.values()))
    specs = {name: source.spec for name, source in pictures.items()}
    columns = [columns for columns, _, _ in table.rows]
    made = ["generated", *(result for _, result in able.values())]
    return Report(
        "detection",
        table.figures(),
        sum(map(table.count, pictures)),
        ", ".join(specs.values()),
        ABOUT,
        {**specs, "detectors": list(detectors), "interval": "95 %, Wilson"},
        by_group(columns, groups, table.figures, warnings),
        [name for name in table.names if name not in made],
        warnings,
        galleries=table.galleries(),
        failures=failures,
    )


def _able(pictures, pipeline):
    """Source that the pipeline can translate → direction and name of the result."""
    if pipeline is None:
        return {}
    able = {name: MADE[name] for name in pictures if name in MADE and pipeline.can(MADE[name][0])}
    if not able:
        raise ConfigError(
            "the pipeline can't translate any of these photos: give --unmasked for a masker, or --masked."
        )
    return able


class _Table:
    """The detections of each detector in each photo of each set."""

    def __init__(self, detectors):
        self.detectors, self.rows, self.names, self._galleries = detectors, [], [], {}

    def detect(self, pixels):
        return {name: find(pixels) for name, find in self.detectors.items()}

    def add(self, name, picture, found):
        if name not in self.names:
            self.names.append(name)
        self.rows.append((picture.columns, name, found))

    def translate(self, name, pictures, found, pipeline, direction, made_name, failures):
        """Add a pipeline's results on pictures, and the same pictures before translation."""
        title = f"{made_name}, by the share of detectors that find it"
        gallery = self._galleries.setdefault(name, BestAndWorst(title, "high"))
        pixels = [picture.pixels for picture in pictures]
        seeds = [picture_seed(picture) for picture in pixels]
        made = pipeline(pixels, direction, force=True, on_no_face="keep", details=True, seed=seeds)
        for picture, image, boxes, hits in zip(pictures, made.images, made.boxes, found, strict=True):
            if not boxes:
                failures.add(picture.name, f"the pipeline found no face to {direction}", picture.pixels)
                continue
            self.add(f"{name}, of those", picture, hits)
            result = np.asarray(image.convert("RGB"))
            hits = self.detect(result)
            self.add(made_name, picture, hits)
            gallery.add(picture.name, float(np.mean(list(hits.values()))), [picture.pixels, result])

    def count(self, name):
        return sum(row[1] == name for row in self.rows)

    def figures(self, numbers=None):
        """Set → detector → share."""
        rows = self.rows if numbers is None else [self.rows[number] for number in numbers]
        out = {}
        for name in self.names:
            found = [hits for _, own, hits in rows if own == name]
            if found:
                out[name] = {
                    f"found by {key}": share_figure(sum(hits[key] for hits in found), len(found), better="high")
                    for key in self.detectors
                }
        return out

    def galleries(self):
        return [part for gallery in self._galleries.values() for part in gallery.galleries()]
