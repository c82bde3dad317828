"""The faces in a column of a data set: boxes, or landmarks of 5 or 68 points.

    own = ColumnBoxes("objects", names)
    own.of(row, width=640, height=480)      # [OwnBox("face", [10, 20, 50, 60], ...), ...]

A column may hold a dict as in the Hub's object detection data sets, ``{"bbox": [[x, y, width, height], ...],
"category": [...]}``, a list of such dicts, one box or a list of boxes, or the landmarks of one face or of several.
"""

import json

import numpy as np

from maskhub.data.own_boxes import OwnBox, OwnBoxes
from maskhub.errors import PhotoError, SourceError

__all__ = ["ColumnBoxes", "open_own_boxes"]

BOXES = ("bbox", "bboxes", "box", "boxes")
CATEGORIES = ("category", "categories", "label", "labels", "name")
POINTS = ("landmarks", "keypoints", "points")
FACE = "face"
"""Class of boxes without one."""
EYES, MOUTH = (slice(36, 42), slice(42, 48)), (48, 54)
"""Of the 68 points (numbered from 0, the picture's left first), whose nose tip is 30."""
WIDE, HIGH, CENTRE = 2.0, 2.78, 0.32
"""A detector's box from five points, in distances from eyes to mouth: its sides, and its middle below the eyes. Medians
of 82 faces."""


def open_own_boxes(rows, place, wanted=True):
    """The boxes that come with the ``rows`` of a source: :class:`ColumnBoxes`,
    :class:`~maskhub.data.own_boxes.OwnBoxes` or None.

    ``place`` is the name of a column, or a file or folder of annotations, with SourceError if it has no boxes;
    ``"auto"``: the annotations in the source's folder, if ``wanted``; or ``"none"``.
    """
    if place == "none" or (place == "auto" and not (wanted and rows.folder)):
        return None
    if place == "auto":
        return OwnBoxes.find(rows.folder)
    if place in rows.columns:
        return ColumnBoxes(place, _class_names(rows.features.get(place)))
    if rows.folder:
        return OwnBoxes.find(rows.folder, place)
    columns = ", ".join(rows.columns) or "none"
    raise SourceError(f"the dataset {rows.spec} has no column {place!r} of boxes; its other columns: {columns}.")


class ColumnBoxes:
    """The boxes or landmarks in a ``column``; used like :class:`~maskhub.data.own_boxes.OwnBoxes`, but without
    ``files``. ``classes`` is number → name, of the data set; empty if its boxes have no classes with names."""

    files = frozenset()

    def __init__(self, column, names=()):
        self.column, self.classes = column, dict(enumerate(names))
        self.digest = f"column {column}"

    def of(self, row, width, height):
        """The boxes of a row's photo in order, as :class:`~maskhub.data.own_boxes.OwnBox`; PhotoError if there are
        none."""
        value = row.columns.get(self.column)
        try:
            boxes = self._boxes(json.loads(value) if isinstance(value, str) and value else value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            shown = str(value)[:60]
            raise PhotoError(f"its column {self.column!r} holds neither boxes nor landmarks ({shown}).") from error
        for own in boxes:
            left, top, wide, high = own.box
            if left >= width or top >= height or left + wide <= 0 or top + high <= 0 or min(wide, high) <= 0:
                raise PhotoError(f"a box of its column {self.column!r}, {own.box}, is not in the picture.")
        return boxes

    def image_id(self, name):
        return None

    def _boxes(self, value):
        if not value:
            return []
        if isinstance(value, dict):
            return self._of_dict(value)
        if isinstance(value[0], dict):
            return [box for entry in value for box in self._of_dict(entry)]
        array = np.asarray(value, np.float64)
        if array.shape[-1] == 4 and array.ndim <= 2:
            return [OwnBox(FACE, box) for box in array.reshape(-1, 4).tolist()]
        return [OwnBox(FACE, _box(five), points=five.tolist()) for five in _faces(array)]

    def _of_dict(self, value):
        found = [next((value[key] for key in keys if value.get(key) is not None), None) for keys in (BOXES, POINTS)]
        categories = next((value[key] for key in CATEGORIES if value.get(key) is not None), None)
        boxes, faces = None, None
        if found[0] is not None:
            boxes = np.asarray(found[0], np.float64).reshape(-1, 4).tolist()
        if found[1] is not None:
            faces = _faces(np.asarray(found[1], np.float64))
        if boxes is None:
            boxes = [_box(five) for five in faces]
        count = len(boxes)
        kinds = categories if isinstance(categories, (list, tuple)) else [categories] * count
        points = [five.tolist() for five in faces] if faces is not None else [None] * count
        return [
            OwnBox(self._name(kind), box, points=five) for box, kind, five in zip(boxes, kinds, points, strict=True)
        ]

    def _name(self, kind):
        return FACE if kind is None else self.classes.get(kind, str(kind))


def _faces(points):
    """Landmarks of one face or of several as N×5×2: eyes, nose tip, corners of the mouth, the picture's left first."""
    for count in (5, 68):
        if points.shape[-2:] == (count, 2) or points.shape[-1] == 2 * count:
            faces = points.reshape(-1, count, 2)
            if count == 68:
                eyes = [faces[:, part].mean(1) for part in EYES]
                faces = np.stack([*eyes, faces[:, 30], *(faces[:, end] for end in MOUTH)], 1)
            return faces
    raise ValueError("not 5 or 68 points")


def _box(five):
    """Left, top, width and height of a face by its five points."""
    eyes, mouth = five[:2].mean(0), five[3:].mean(0)
    down = mouth - eyes
    unit = float(np.linalg.norm(down))
    middle = eyes + CENTRE * down
    return [middle[0] - WIDE / 2 * unit, middle[1] - HIGH / 2 * unit, WIDE * unit, HIGH * unit]


def _class_names(feature):
    """The names of a ClassLabel somewhere within a column's feature."""
    names = getattr(feature, "names", None)
    if names:
        return names
    inner = getattr(feature, "feature", feature)
    parts = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
    if inner is not feature and not parts:
        parts = (inner,)
    return next((names for part in parts if (names := _class_names(part))), ())
