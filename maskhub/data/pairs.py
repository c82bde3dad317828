"""Rows of a paired dataset: a photo or crop without and with its mask, the region, and metadata."""

from pathlib import PurePosixPath

import cv2
import numpy as np
from PIL import Image

from maskhub.data.folder import free_names, listed_name
from maskhub.data.masked import mask_faces, region_image
from maskhub.data.own_boxes import faces_in
from maskhub.data.scores import SCORES
from maskhub.errors import NoFaceError
from maskhub.faces import align
from maskhub.faces.landmarks import moved_landmarks
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.image_file import encoded, open_image
from maskhub.provenance import RULE, Provenance, mark

__all__ = ["make_pairs", "pair_features"]


def pair_features(rows, crops=None):
    """The columns of a paired dataset: ``datasets.Features``, and a dict from the source's column names to those
    that they get. A name that is taken gets an underscore."""
    from datasets import Features, Image, List, Value

    numbers = List(Value("float32"))
    pairs = {"file_name": Value("string")}
    pairs |= {"face": Value("int32")} if crops else {}
    pairs |= {name: Image() for name in ("unmasked", "masked", "region")}
    pairs |= {"boxes": List(numbers), "landmarks": List(List(numbers))}
    pairs |= {name: List(Value("string")) for name in ("style", "colour", "worn")}
    pairs |= {"pose": List(numbers), **dict.fromkeys(SCORES, numbers)}
    names = free_names(rows.columns, pairs)
    return Features(pairs | {names[name]: _feature(rows, name) for name in rows.columns}), names


def _feature(rows, name):
    from datasets import ClassLabel, Value

    if rows.folder is None:
        kind = rows.features[name]
        return Value("string") if isinstance(kind, ClassLabel) else kind
    return Value(rows.kind_of(name))


def make_pairs(wearing, crops, names, row, own=None):
    """The digest of one photo, a :class:`~maskhub.data.rows.Row`, and its rows of :func:`pair_features`, which returns
    ``names``. With ``own``, of :func:`~maskhub.data.column_boxes.open_own_boxes`, only faces in its boxes are masked.
    PhotoError if the photo can't be read, NoFaceError if it shows no face."""
    digest = row.digest()
    photo = open_photo(row.open())
    pixels = np.asarray(split_alpha(photo)[0])
    masked = mask_faces(pixels, wearing, row.name, own=_own_faces(own, row, pixels))
    if not any(face["style"] for face in masked.faces):
        raise NoFaceError(f"none of the {len(masked.faces)} faces in its boxes is clear enough for a mask.")
    kept = {names[key]: value for key, value in row.columns.items()}
    listed = listed_name(row.name) if isinstance(row.photo, str) else row.name
    if crops is None:
        about = _about(masked.faces, masked.landmarks)
        pictures = _pictures(row.name, pixels, masked.image, masked.region, _original(row, photo))
        return digest, [{"file_name": listed, **pictures, **about, **kept}]
    pairs = []
    for number, (face, marks) in enumerate(zip(masked.faces, masked.landmarks, strict=True)):
        if face["style"]:
            matrix = align.alignment(masked.found[number], crops)
            before, after = (align.crop(image, matrix, crops) for image in (pixels, masked.image))
            region = align.crop(masked.region, matrix, crops)
            # another rounding must not let a changed pixel lie at region 0
            region = np.maximum(region, (before != after).any(2) / np.float32(255)).clip(0, 1)
            about = _about([_moved_face(face, masked.found[number], matrix)], [moved_landmarks(marks, matrix)])
            pictures = _pictures(row.name, before, after, region)
            pairs.append({"file_name": listed, "face": number, **pictures, **about, **kept})
    return digest, pairs


def _own_faces(own, row, pixels):
    """The faces in the data set's own boxes, or None."""
    if own is None:
        return None
    boxes = own.of(row, pixels.shape[1], pixels.shape[0])
    faces = [face for face in faces_in(pixels, boxes) if face]
    if not faces:
        raise NoFaceError(f"no face was found in its {len(boxes)} boxes.")
    return faces


def _about(faces, marks):
    return {
        "boxes": [face["box"] for face in faces],
        "landmarks": [mark.points.round(2).tolist() if mark is not None else [] for mark in marks],
        "style": [face["style"] for face in faces],
        "colour": [face["colour"] for face in faces],
        "worn": [face["worn"] for face in faces],
        "pose": [face["pose"] or [] for face in faces],
        **{name: [face[name] for face in faces] for name in SCORES},
    }


def _pictures(name, before, after, region, original=None):
    """The three picture columns; ``original`` are the unmasked photo's own bytes, if they can be used."""
    stem = PurePosixPath(name.replace("/", "_")).stem
    pictures = {
        "unmasked": original or encoded(Image.fromarray(before)),
        "masked": encoded(mark(Image.fromarray(after), Provenance("mask", RULE))),
        "region": encoded(region_image(region)),
    }
    return {key: {"bytes": data, "path": f"{stem}-{key}.png"} for key, data in pictures.items()}


def _original(row, photo):
    """The photo's original bytes, if they have the same pixels and no location or camera metadata."""
    with open_image(row.open()) as image:
        plain = image.format in ("JPEG", "PNG") and image.mode == "RGB" and photo.mode == "RGB"
        if not plain or image.info.get("exif") or getattr(image, "is_animated", False):
            return None
    return row.read()


def _moved_face(face, found, matrix):
    """The face's record with its box and roll within the crop."""
    left, top, width, height = found.box
    corners = np.array([[[left, top], [left + width, top], [left + width, top + height], [left, top + height]]])
    moved = cv2.transform(corners.astype(np.float64), matrix)[0]
    low, high = moved.min(0), moved.max(0)
    yaw, pitch, roll = face["pose"]
    turned = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    box = [round(float(value), 2) for value in (*low, *(high - low))]
    return face | {"box": box, "pose": [yaw, pitch, round((roll + turned + 180) % 360 - 180, 2)]}
