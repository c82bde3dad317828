"""Boxes of faces and masks in the formats COCO (JSON), Pascal VOC (XML) and YOLO (text), to train detectors.

Boxes are in pixels of the written, upright photo, clipped to its edges. Boxes that came with
the data set (:mod:`maskhub.data.own_boxes`) are written unchanged: the same number, order and classes.
"""

import json
import xml.etree.ElementTree as ET
from pathlib import PurePosixPath

import yaml

from maskhub.data.own_boxes import in_folder, yolo_name
from maskhub.data.photo_file import side_names
from maskhub.errors import ConfigError
from maskhub.masks.coverings import COVERED, COVERINGS

__all__ = ["BOXES", "CATEGORIES", "DATA", "box_files", "box_places", "check_boxes", "coco", "voc", "yolo"]

CATEGORIES = ("masked face", "unmasked face", "wrongly worn", "mask")
"""The classes: faces with a correctly worn mask, without a mask, with a wrongly worn mask; and masks."""
COVERED_CATEGORIES = ("covered face", *COVERINGS)
"""Further classes where a face has another covering: that face, and what covers it."""
BOXES = ("none", "coco", "voc", "yolo")
DATA = "data.yaml"
"""Names YOLO's classes."""

WORN_CATEGORIES = {"unmasked": "unmasked face", "correctly": "masked face", "already masked": "masked face"}
WORN_CATEGORIES[COVERED] = "covered face"
CLASSES = dict(enumerate(CATEGORIES, 1))


def box_files(photos, form, own=None, places=None):
    """The files of a format in :data:`BOXES`, path → text. ``photos`` is name → record of
    :func:`maskhub.data.masked_files.mask_photo`, ``own`` the :class:`~maskhub.data.own_boxes.OwnBoxes` of the photos,
    or None. ``places`` are the :func:`box_places` of all photos, also of failed ones, on which the names of files do
    not depend; by default those of ``photos``."""
    classes = (own and own.classes) or _classes(photos)
    if form == "coco":
        return {"annotations.json": json.dumps(coco(photos, classes), ensure_ascii=False) + "\n"}
    places = places or box_places(photos, form)
    if form == "voc":
        return {places[name]: voc(name, record) for name, record in photos.items()}
    if form == "yolo":
        numbers = {name: number for number, name in enumerate(classes.values())}
        files = {places[name]: yolo(record, numbers) for name, record in photos.items()}
        data = {"path": ".", "train": ".", "val": ".", "names": {number: name for name, number in numbers.items()}}
        return files | {DATA: yaml.safe_dump(data, sort_keys=False, allow_unicode=True)}
    return {}


def box_places(names, form):
    """Name of each photo → path of its own file of boxes, in the formats that have one."""
    if form == "voc":
        return {name: _voc_name(place) for name, place in side_names(names, ".xml").items()}
    return {name: yolo_name(name).as_posix() for name in names} if form == "yolo" else {}


def check_boxes(form, names):
    """ConfigError if ``form`` is not one of :data:`BOXES`, or if it is YOLO, which names files by stem, and two of the
    photos ``names`` would share a file."""
    if form not in BOXES:
        raise ConfigError(f"boxes is {form!r}; it must be one of {', '.join(BOXES)}.")
    owners = {}
    for name in names if form == "yolo" else ():
        other = owners.setdefault(yolo_name(name), name)
        if other != name:
            raise ConfigError(f"YOLO has one file of boxes for {other} and {name}: rename one, or use coco or voc.")


def _voc_name(name):
    """Where Pascal VOC has the file ``name``: in Annotations instead of the last JPEGImages, or in annotations."""
    path = PurePosixPath(name)
    instead = in_folder(path, "JPEGImages", "Annotations")
    return (instead if instead != path else "annotations" / path).as_posix()


def _classes(photos):
    """Number → name: those of the data set's boxes; those of other coverings only where there are some."""
    own = {box["category"] for record in photos.values() for box in record.get("own", ())}
    if own:
        return dict(enumerate(sorted(own), 1))
    covered = any(face["worn"] == COVERED for record in photos.values() for face in record["faces"])
    return dict(enumerate((*CATEGORIES, *COVERED_CATEGORIES) if covered else CATEGORIES, 1))


def coco(photos, classes=CLASSES):
    """The COCO detection format as a dict for ``json.dump``; ``photos`` as in :func:`box_files`, ``classes`` is number
    → name.

    Images and annotations are numbered from 1 by name, or as the data set numbered them. Each annotation also has
    ``attributes``, which are not part of COCO: style, colour, worn, and the number of the face in its photo.
    """
    numbers = {name: number for number, name in classes.items()}
    images, annotations = [], []
    for number, (name, record) in enumerate(sorted(photos.items()), 1):
        image = record.get("image_id", number)
        images.append({"id": image, "file_name": name, "width": record["width"], "height": record["height"]})
        for category, box, attributes, given in _objects(record):
            entry = {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": numbers[category],
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "attributes": attributes,
            }
            known = {key: value for key, value in given.items() if key not in ("yolo", "attributes")}
            annotations.append(entry | known)
    categories = [{"id": number, "name": name} for number, name in classes.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def voc(name, record):
    """The Pascal VOC annotation of one photo, as XML text; corners are whole pixels counted from 1, as in VOC."""
    root = ET.Element("annotation")
    folder, _, file_name = name.rpartition("/")
    ET.SubElement(root, "folder").text = folder
    ET.SubElement(root, "filename").text = file_name
    size = ET.SubElement(root, "size")
    for key, value in (("width", record["width"]), ("height", record["height"]), ("depth", 3)):
        ET.SubElement(size, key).text = str(value)
    ET.SubElement(root, "segmented").text = "0"
    for category, (left, top, width, height), attributes, _ in _objects(record):
        node = ET.SubElement(root, "object")
        ET.SubElement(node, "name").text = category
        ET.SubElement(node, "pose").text = "Unspecified"
        ET.SubElement(node, "truncated").text = "0"
        ET.SubElement(node, "difficult").text = "0"
        corners = ET.SubElement(node, "bndbox")
        right, bottom = max(round(left + width), round(left) + 1), max(round(top + height), round(top) + 1)
        for key, value in (("xmin", round(left) + 1), ("ymin", round(top) + 1), ("xmax", right), ("ymax", bottom)):
            ET.SubElement(corners, key).text = str(value)
        marks = ET.SubElement(node, "attributes")
        for key, value in attributes.items():
            ET.SubElement(marks, key).text = str(value)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def yolo(record, numbers=None):
    """The lines of YOLO's text file of one photo: class, centre, width and height as shares of the photo. ``numbers``
    is name of a class → number; by default those of :data:`CATEGORIES`, from 0."""
    numbers = numbers or {name: number for number, name in enumerate(CATEGORIES)}
    size, lines = (record["width"], record["height"]), []
    for category, (left, top, width, height), _, given in _objects(record):
        shares = (left + width / 2) / size[0], (top + height / 2) / size[1], width / size[0], height / size[1]
        values = given.get("yolo") or [f"{share:.6f}" for share in shares]
        lines.append(f"{numbers[category]} {' '.join(values)}\n")
    return "".join(lines)


def _objects(record):
    """Category, box within the photo, attributes and the data set's own annotation of each face and each mask, or of
    each box that came with the data set."""
    if "own" in record:
        for number, (own, face) in enumerate(zip(record["own"], record["faces"], strict=True)):
            attributes = {"face": number, **{key: face[key] for key in ("worn", "style", "colour", "mask_box")}}
            yield own["category"], own["box"], attributes, own["given"]
        return
    for number, face in enumerate(record["faces"]):
        worn = face["worn"]
        category = WORN_CATEGORIES.get(worn, "wrongly worn")
        attributes = {"face": number, "worn": worn, "style": face["style"], "colour": face["colour"]}
        box = _within(face["box"], record)
        if box:
            yield category, box, attributes, {}
        if face["mask_box"]:
            yield face["style"] if worn == COVERED else "mask", face["mask_box"], attributes, {}


def _within(box, record):
    left, top, width, height = box
    right, bottom = min(left + width, record["width"]), min(top + height, record["height"])
    left, top = max(left, 0), max(top, 0)
    if right <= left or bottom <= top:
        return None
    return [round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)]
