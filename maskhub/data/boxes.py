"""Boxes of faces and masks in the formats COCO (JSON) and Pascal VOC (XML), to train detectors.

Boxes are in pixels of the written, upright photo, clipped to its edges.
"""

import xml.etree.ElementTree as ET

__all__ = ["CATEGORIES", "coco", "voc"]

CATEGORIES = ("masked face", "unmasked face", "wrongly worn", "mask")
"""The classes: faces with a correctly worn mask, without a mask, with a wrongly worn mask; and masks."""

WORN_CATEGORIES = {"unmasked": "unmasked face", "correctly": "masked face", "already masked": "masked face"}


def coco(photos):
    """The COCO detection format, a dict for ``json.dump``, of name → record of
    :func:`maskhub.data.masked_files.mask_photo`.

    Images and annotations are numbered from 1 by name. Each annotation also has ``attributes``, which are not part of
    COCO: style, colour, worn, and the number of the face in its photo.
    """
    images, annotations = [], []
    for number, (name, record) in enumerate(sorted(photos.items()), 1):
        images.append({"id": number, "file_name": name, "width": record["width"], "height": record["height"]})
        for category, box, attributes in _objects(record):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORIES.index(category) + 1,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                    "attributes": attributes,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def voc(name, record):
    """The Pascal VOC annotation of one photo, as XML text; corners are whole pixels counted from 1, as in VOC."""
    folder, _, file_name = name.rpartition("/")
    size = {"width": record["width"], "height": record["height"], "depth": 3}
    root = ET.Element("annotation")
    _fill(root, {"folder": folder, "filename": file_name, "size": size, "segmented": 0})
    for category, (left, top, width, height), attributes in _objects(record):
        right, bottom = max(round(left + width), round(left) + 1), max(round(top + height), round(top) + 1)
        corners = {"xmin": round(left) + 1, "ymin": round(top) + 1, "xmax": right, "ymax": bottom}
        found = {"name": category, "pose": "Unspecified", "truncated": 0, "difficult": 0}
        _fill(ET.SubElement(root, "object"), found | {"bndbox": corners, "attributes": attributes})
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _fill(node, values):
    for key, value in values.items():
        child = ET.SubElement(node, key)
        if isinstance(value, dict):
            _fill(child, value)
        else:
            child.text = str(value)


def _objects(record):
    """Category, box within the photo and attributes of each face and each mask."""
    for number, face in enumerate(record["faces"]):
        worn = face["worn"]
        category = WORN_CATEGORIES.get(worn, "wrongly worn")
        attributes = {"face": number, "worn": worn, "style": face["style"], "colour": face["colour"]}
        box = _within(face["box"], record)
        if box:
            yield category, box, attributes
        if face["mask_box"]:
            yield "mask", face["mask_box"], attributes


def _within(box, record):
    left, top, width, height = box
    right, bottom = min(left + width, record["width"]), min(top + height, record["height"])
    left, top = max(left, 0), max(top, 0)
    if right <= left or bottom <= top:
        return None
    return [round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)]
