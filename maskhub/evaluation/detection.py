"""The share of made faces that face detectors find, beside that of unmasked and of masked ones (the second paper's).

A photo counts as found where a detector sees any upright face in it. What a pipeline makes is counted only where the
pipeline itself found a face to translate, so its share is to be read beside that of the *same* source photos, which
is given too: ``unmasked, of those`` and ``masked, of those``.
"""

import numpy as np

from maskhub.errors import ConfigError
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import share_figure
from maskhub.evaluation.report import BestAndWorst
from maskhub.evaluation.sets import PictureSet, picture_seed

__all__ = ["batches", "measure_detection"]

MADE = {"unmasked": ("mask", "masked by the model"), "masked": ("unmask", "unmasked by the model")}
"""Of each source: the direction in which a pipeline translates it, and what the result is called."""
BATCH = 16


def measure_detection(sources, detectors, pipeline=None, *, groups=(), held_out=False, limit=None, progress=False):
    """Count found faces.

    Args:
        sources: ``unmasked``, ``masked`` or ``generated`` → spec of a folder or a Hub dataset.
        detectors: name → function of :func:`maskhub.evaluation.detectors.detector`.
        pipeline: :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`: what it makes of ``unmasked`` and ``masked``
            is counted too, where it has the generator.
        groups: metadata columns.
        held_out, limit: as of :class:`~maskhub.evaluation.sets.PictureSet`.
        progress: show a bar for each source.

    Returns:
        the keyword arguments of :func:`~maskhub.evaluation.report.write_report`.

    Raises:
        ConfigError: no source or detector, or a pipeline that can translate none of the sources.
    """
    if not sources or not detectors:
        raise ConfigError(f"nothing to count: there is no {'detector' if sources else 'source'}.")
    able = {
        name: MADE[name]
        for name in sources
        if pipeline is not None and name in MADE and getattr(pipeline, f"{MADE[name][0]}er") is not None
    }
    if pipeline is not None and not able:
        raise ConfigError("the pipeline can translate none of these photos: give --unmasked for a masker, or --masked.")
    table = _Table(detectors)
    pictures = {
        name: PictureSet(spec, held_out=held_out, limit=limit, title=name if progress else None)
        for name, spec in sources.items()
    }
    check_columns([dict.fromkeys(source.columns) for source in pictures.values()], groups)
    failures = []
    for name, source in pictures.items():
        for part in batches(source):
            seen = [table.look(picture.pixels) for picture in part]
            for picture, found in zip(part, seen, strict=True):
                table.add(name, picture, found)
            if name not in able:
                continue
            direction, made_name = able[name]
            pixels = [picture.pixels for picture in part]
            seeds = [picture_seed(picture) for picture in pixels]
            made = pipeline(pixels, direction, on_no_face="keep", details=True, seed=seeds)
            for picture, image, boxes, found in zip(part, made.images, made.boxes, seen, strict=True):
                if not boxes:
                    failures.append((picture.name, f"the pipeline found no face to {direction}"))
                    continue
                table.add(f"{name}, of those", picture, found)
                result = np.asarray(image.convert("RGB"))
                table.add(made_name, picture, table.look(result), (picture.pixels, result))
        failures += source.failures
    warnings = []
    rows = [columns for columns, _, _ in table.rows]
    measured = by_group(rows, groups, table.figures, warnings) if groups else {}
    if not all(table.count(name) for name in sources):
        empty = [name for name in sources if not table.count(name)]
        raise ConfigError(f"no photo of the {empty[0]} source could be read: {failures[0][1]}")
    return {
        "settings": {
            **{name: str(spec) for name, spec in sources.items()},
            "photos": ", ".join(map(str, sources.values())),
            "split": "held-out" if held_out else "all",
            "limit": limit,
            "detectors": list(detectors),
            "baselines": [name for name in table.names if name not in ("generated", *(m for _, m in able.values()))],
            "interval": "95 %, Wilson",
        },
        "figures": table.figures(),
        "groups": measured,
        "warnings": warnings,
        "galleries": table.galleries(),
        "failures": failures,
    }


class _Table:
    """What each detector found in each photo of each set."""

    def __init__(self, detectors):
        self.detectors, self.rows, self.names, self._missed = detectors, [], [], {}

    def look(self, pixels):
        return {name: find(pixels) for name, find in self.detectors.items()}

    def add(self, name, picture, found, shown=None):
        """Note one photo; ``shown`` are pictures for the gallery of those that were missed."""
        if name not in self.names:
            self.names.append(name)
        self.rows.append((picture.columns, name, found))
        if shown is not None:
            missed = self._missed.setdefault(
                name, BestAndWorst(f"{name}, by the share of detectors that see it", "high")
            )
            missed.add(picture.name, float(np.mean(list(found.values()))), list(shown))

    def count(self, name):
        return sum(row[1] == name for row in self.rows)

    def figures(self, numbers=None):
        """Set → detector → share."""
        rows = self.rows if numbers is None else [self.rows[number] for number in numbers]
        out = {}
        for name in self.names:
            seen = [found for _, own, found in rows if own == name]
            if seen:
                out[name] = {
                    f"found by {key}": share_figure(sum(found[key] for found in seen), len(seen))
                    for key in self.detectors
                }
        return out

    def galleries(self):
        return list(self._missed.values())


def batches(pictures):
    """Lists of BATCH pictures, the last one shorter: as many are in memory at once."""
    part = []
    for picture in pictures:
        part.append(picture)
        if len(part) == BATCH:
            yield part
            part = []
    if part:
        yield part
