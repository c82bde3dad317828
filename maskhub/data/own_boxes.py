"""The boxes that come with a detection data set, in COCO, Pascal VOC or YOLO, and the faces in them.

own = OwnBoxes.find("photos")                    # annotations.json, annotations/*.xml, labels/*.txt or *.txt
own.boxes("street/1.jpg", width=640, height=480) # [OwnBox("face", [10, 20, 50, 60], {...}), ...], in their order
faces_in(pixels, own.boxes(...))                 # a Face, or None where none is found, for each box
"""

import hashlib
import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import yaml

from maskhub.errors import PhotoError, SourceError, first_line
from maskhub.faces.detect import detect
from maskhub.faces.face import Face, iou

__all__ = ["OwnBox", "OwnBoxes", "faces_in", "in_folder", "yolo_name"]

NOT_FACES = ("mask", "face mask", "face_mask")
"""Classes of boxes that are kept, but are not faces."""
LEAST_OVERLAP = 0.2
"""Intersection over union from which a detected face is the one in a box; data sets draw boxes more or less tightly."""
AROUND, LARGE_ENOUGH = 0.6, 96
"""A box without a detected face is searched again: with this share of its sides around it, at this size in pixels."""


@dataclass(frozen=True)
class OwnBox:
    """A box of the data set: the name of its class (``category``), ``box``, left, top, width and height in pixels, and
    the rest of what the data set says about it, to be written again: ``given``, for COCO the annotation, for YOLO
    ``{"yolo": [x, y, width, height]}``. ``points``, if the data set has them, are 5×2: eyes, nose tip, corners of the
    mouth, the picture's left first."""

    category: str
    box: list
    given: dict = field(default_factory=dict)
    points: list | None = None

    @property
    def is_face(self):
        return self.category.lower() not in NOT_FACES


class OwnBoxes:
    """The boxes of all photos of a folder. ``classes`` is number → name, for COCO and YOLO with the data set's numbers;
    ``files`` are the annotation files, which are not copied to a result that has new ones; ``column`` is that of a
    :class:`~maskhub.data.column_boxes.ColumnBoxes`, here None."""

    column = None

    def __init__(self, form, place, classes, files, photos=None):
        self.form, self.place, self.classes, self.files, self._photos = form, place, classes, files, photos or {}

    @classmethod
    def find(cls, folder, place=None):
        """The boxes of a folder of photos, or None if it has none and no ``place`` was given: a COCO file, or a folder
        of VOC or YOLO files; by default those in ``folder``. SourceError if ``place`` has no boxes, or a file is
        damaged."""
        folder = Path(folder)
        place = Path(place).expanduser() if place else None
        if place and not place.exists():
            raise SourceError(f"there are no boxes {place}.")
        coco = (
            place
            if place and place.is_file()
            else next((folder / n for n in COCO_FILES if (folder / n).is_file()), None)
        )
        if coco and (place in (None, coco)):
            return cls._coco(coco)
        root = place or folder
        voc = sorted(root.rglob("*.xml"))
        if voc:
            names = dict.fromkeys(name.text for path in voc for name in _xml(path).iterfind("object/name"))
            return cls("voc", root, dict(enumerate(names)), set(voc))
        yolo = [path for path in sorted(root.rglob("*.txt")) if path.name != CLASSES and _is_yolo(path)]
        if yolo:
            classes, more = _yolo_classes(folder, root)
            return cls("yolo", root, classes, {*yolo, *more})
        if place:
            raise SourceError(f"{place} has neither COCO, Pascal VOC nor YOLO boxes.")
        return None

    @classmethod
    def _coco(cls, path):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            classes = {entry["id"]: entry["name"] for entry in data["categories"]}
            images = {image["id"]: image for image in data["images"]}
            photos = {image["file_name"]: (image, []) for image in images.values()}
            for entry in data["annotations"]:
                image = images[entry["image_id"]]
                box = [float(value) for value in entry["bbox"]]
                photos[image["file_name"]][1].append(OwnBox(classes[entry["category_id"]], box, entry))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{path} is not a COCO file of boxes ({type(error).__name__}: {error}).") from error
        by_name = {}
        for name in photos:
            by_name.setdefault(PurePosixPath(name).name, []).append(name)
        photos |= {name: photos[own[0]] for name, own in by_name.items() if len(own) == 1 and name not in photos}
        return cls("coco", path, classes, {path}, photos)

    @property
    def digest(self):
        """A hash of all annotation files, which results depend on."""
        found = hashlib.blake2b(digest_size=16)
        for path in sorted(self.files):
            found.update(path.read_bytes())
        return found.hexdigest()

    def boxes(self, name, width, height):
        """The boxes of the photo ``name``, its path in the folder, in the data set's order; none if it has no
        annotation. ``width`` and ``height`` are those of the upright photo; PhotoError if its annotation is of a
        picture of another size, or damaged."""
        if self.form == "coco":
            image, boxes = self._known(name)
            size = (image.get("width", width), image.get("height", height))
        elif self.form == "voc":
            size, boxes = self._voc(name, (width, height))
        else:
            size, boxes = (width, height), self._yolo(name, width, height)
        if tuple(size) != (width, height):
            raise PhotoError(f"its boxes are of a picture of {size[0]}×{size[1]}, but it is {width}×{height}.")
        return boxes

    def of(self, row, width, height):
        """:meth:`boxes` of a :class:`~maskhub.data.rows.Row`."""
        return self.boxes(row.name, width, height)

    def image_id(self, name):
        """The number of a photo in the data set's COCO file, or None."""
        return self._known(name)[0].get("id")

    def _known(self, name):
        """What the COCO file says about a photo, and its boxes."""
        return self._photos.get(name) or self._photos.get(PurePosixPath(name).name) or ({}, [])

    def _voc(self, name, size):
        path = self._file(name, ".xml")
        if path is None:
            return size, []
        root, boxes = _xml(path), []
        try:
            stated = [
                int(root.findtext(f"size/{key}") or own) for key, own in zip(("width", "height"), size, strict=True)
            ]
            for entry in root.iterfind("object"):
                corners = [float(entry.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
                left, top = corners[0] - 1, corners[1] - 1
                boxes.append(OwnBox(entry.findtext("name"), [left, top, corners[2] - left, corners[3] - top]))
        except (TypeError, ValueError) as error:
            raise PhotoError(f"{path.name} is a damaged annotation ({error}).") from error
        return stated, boxes

    def _yolo(self, name, width, height):
        path, boxes = self._file(name, ".txt"), []
        for line in path.read_text(encoding="utf-8").splitlines() if path else ():
            try:
                number, *values = line.split()[:5]
                x, y, w, h = map(float, values)
                category = self.classes.get(int(number), number)
            except ValueError as error:
                raise PhotoError(f"{path.name} is a damaged annotation ({first_line(error)}).") from error
            box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
            boxes.append(OwnBox(category, box, {"yolo": values}))
        return boxes

    def _file(self, name, suffix):
        stem = PurePosixPath(name)
        names = [
            stem.with_suffix(suffix),
            PurePosixPath(f"{name}{suffix}"),
            yolo_name(name),
            PurePosixPath(stem.stem + suffix),
        ]
        homes = [self.place, *(self.place / home for home in ("annotations", "Annotations", "labels"))]
        places = [home / one for home in homes for one in names]
        return next((path for path in places if path in self.files), None)


COCO_FILES = ("annotations.json", "_annotations.coco.json")
CLASSES = "classes.txt"


def yolo_name(name):
    """Where YOLO looks for the boxes of a photo: in ``labels`` instead of the last ``images``, or next to it."""
    return in_folder(PurePosixPath(name).with_suffix(".txt"), "images", "labels")


def in_folder(path, old, new):
    """A path with the folder ``new`` instead of the last folder ``old``, if it has one."""
    parts = list(path.parts)
    folders = [place for place, part in enumerate(parts[:-1]) if part == old]
    if folders:
        parts[folders[-1]] = new
    return PurePosixPath(*parts)


def faces_in(pixels, boxes):
    """The :class:`~maskhub.faces.face.Face`, or None, in each :class:`OwnBox` of a picture, uint8 RGB H×W×3.

    A detected face belongs to the box that it overlaps most; in a box without one, the detector looks again, closer.
    Where the data set has the five points of a face, nothing is detected.
    """
    if boxes and all(own.points for own in boxes):
        return [Face(tuple(own.box), np.float32(own.points), 1.0) if own.is_face else None for own in boxes]
    found = detect(pixels)
    pairs = sorted(
        ((iou(face.box, own.box), -place, number) for place, own in enumerate(boxes) if own.is_face
         for number, face in enumerate(found)),
        reverse=True,
    )  # fmt: skip
    faces, taken = [None] * len(boxes), set()
    for overlap, place, number in pairs:
        if overlap >= LEAST_OVERLAP and faces[-place] is None and number not in taken:
            faces[-place] = found[number]
            taken.add(number)
    return [
        _closer(pixels, own.box) if face is None and own.is_face else face
        for own, face in zip(boxes, faces, strict=True)
    ]


def _closer(pixels, box):
    """The face that is found in a part of the photo around a box, enlarged; or None."""
    left, top, width, height = box
    if min(width, height) < 4:
        return None
    x0, y0 = max(int(left - AROUND * width), 0), max(int(top - AROUND * height), 0)
    part = pixels[y0 : int(top + (1 + AROUND) * height) + 1, x0 : int(left + (1 + AROUND) * width) + 1]
    if not part.size:
        return None
    scale = max(1.0, LARGE_ENOUGH / min(width, height))
    part = cv2.resize(np.ascontiguousarray(part), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    faces = [face.moved(1 / scale, (x0, y0)) for face in detect(part)]
    best = max(faces, key=lambda face: iou(face.box, box), default=None)
    return best if best and iou(best.box, box) >= LEAST_OVERLAP else None


def _xml(path):
    try:
        return ET.fromstring(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ET.ParseError) as error:
        raise SourceError(f"{path} can't be read as a Pascal VOC annotation ({error}).") from error


def _is_yolo(path):
    """Whether all lines of a text file are a class and four numbers of which none is above 1."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return all(len(line) == 5 and line[0].isdigit() and all(0 <= float(v) <= 1 for v in line[1:]) for line in lines)
    except (OSError, ValueError):
        return False


def _yolo_classes(*folders):
    """The classes of ``data.yaml``, ``dataset.yaml`` or ``classes.txt``, and the files that were read."""
    for folder in dict.fromkeys(folders):
        for name in ("data.yaml", "dataset.yaml"):
            path = folder / name
            if path.is_file():
                try:
                    names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
                except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
                    raise SourceError(f"{path} has no readable names of classes.") from error
                return dict(enumerate(names)) if isinstance(names, list) else dict(names), {path}
        if (folder / CLASSES).is_file():
            return dict(enumerate((folder / CLASSES).read_text(encoding="utf-8").split("\n"))), {folder / CLASSES}
    return {}, set()
