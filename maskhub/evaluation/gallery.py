"""Thumbnails for reports."""

import math

import numpy as np
from PIL import Image

from maskhub.evaluation.report import Gallery, Item
from maskhub.image_file import encoded, side_by_side

__all__ = ["BestAndWorst", "Failures", "thumbnail"]

SHOWN_FAILURES = 20


class BestAndWorst:
    """The ``keep`` best and worst pictures by a score, ``better`` if ``"high"`` or ``"low"``, in constant memory, as
    thumbnails ``side`` pixels high; a ``title`` is such as ``"made pictures by LPIPS"``."""

    def __init__(self, title, better="low", keep=20, side=128):
        self.title, self.better, self.keep, self.side = title, better, keep, side
        self.count = 0
        self._ends = {"Best": [], "Worst": []}

    def add(self, name, score, pictures):
        """Add one; ``pictures`` is a ``PIL.Image`` or uint8 H×W×3 array, or a list of them, left to right."""
        if score is None or not math.isfinite(score):
            return
        self.count += 1
        goodness = score if self.better == "high" else -score
        item = None
        for end, key in (("Best", -goodness), ("Worst", goodness)):
            kept = self._ends[end]
            if len(kept) == self.keep and key >= kept[-1][0]:
                continue
            item = item or Item(str(name), float(score), picture=thumbnail(pictures, self.side))
            kept.append((key, self.count, item))
            kept.sort(key=lambda entry: entry[:2])
            del kept[self.keep :]

    def add_ends(self, names, scores, pictures):
        """Add the best and worst of several: ``pictures(number)`` is called only for those."""
        order = np.argsort(scores, kind="stable")
        for number in dict.fromkeys([*order[: self.keep], *order[-self.keep :]]):
            self.add(names[number], float(scores[number]), pictures(number))

    def galleries(self):
        """Two :class:`~maskhub.evaluation.report.Gallery`, best and worst; with few pictures each shows one half.
        Pictures as good as the best one are never among the worst."""
        most = max(1, min(self.keep, self.count // 2))
        best, worst = ([item for _, _, item in kept[:most]] for kept in self._ends.values())
        worst = [item for item in worst if item.score != best[0].score]
        return [Gallery(f"{end} {self.title}", kept) for end, kept in (("Best", best), ("Worst", worst)) if kept]


class Failures(list):
    """Items that could not be measured, as :class:`~maskhub.evaluation.report.Item`, the first twenty with pictures."""

    def add(self, name, reason, picture=None):
        """Add one; ``picture`` as in :func:`thumbnail`, or None."""
        shown = picture is not None and sum(item.picture is not None for item in self) < SHOWN_FAILURES
        self.append(Item(str(name), reason=str(reason), picture=thumbnail(picture) if shown else None))

    def notes(self, total):
        """The warnings of a report of ``total`` photos: that these are missing from its figures, if there are any."""
        verb = "is" if len(self) == 1 else "are"
        return [f"{len(self)} of {total} photos {verb} not counted: see the failures."] if self else []

    def first(self):
        """The end of an error message: the first failure, if there is one."""
        return f": {self[0].name}: {self[0].reason}" if self else "."


def thumbnail(pictures, side=128):
    """A JPEG of pictures (``PIL.Image`` or uint8 H×W×3, or a list of them) side by side, ``side`` pixels high."""
    pictures = pictures if isinstance(pictures, (list, tuple)) else [pictures]
    images = [p if isinstance(p, Image.Image) else Image.fromarray(p) for p in pictures]
    images = [image.convert("RGB").resize((max(1, round(image.width * side / image.height)), side)) for image in images]
    return encoded(side_by_side(images), "JPEG", quality=85)
