"""The face that is re-imaged, and what of it is replaced: a covering that is found, drawn for the visitor, or painted.

subject = from_photo(photo, "me.jpg")               # the face, cut out of its photo
subject, region, found = covered(subject, "auto")   # found: whether a covering was there
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from maskhub.data.pixel_faces import pixel_faces
from maskhub.errors import NoFaceError, PhotoError
from maskhub.faces.align import alignment, paste
from maskhub.faces.detect import detect
from maskhub.faces.photo import split_alpha
from maskhub.image_file import middle_square
from maskhub.masks.detector import detect_mask_on_crop
from maskhub.masks.find_covering import PIXEL_COVERING_COLOURS, by_contrast, colours_of, find_covering
from maskhub.masks.wear import wear
from maskhub.service.uploads import PHOTO, cut_face

__all__ = ["GRID", "WAYS", "Subject", "covered", "from_photo", "subject"]

WAYS = [
    ("Find it", "auto"),
    ("Find it by contrast", "contrast"),
    ("Cover it for me", "cover"),
    ("Paint it", "paint"),
]
"""The ways to a region, for a dropdown."""
GRID = 64
"""Cells per side of a painted region."""
LARGEST = 512
"""Largest side of a picture that one face fills, in pixels; larger ones are scaled down."""
EDGE = 0.025
"""Width of a mask's edge and shadow, as a share of the side."""


@dataclass(frozen=True)
class Subject:
    """A face to re-image: ``pixels``, uint8 RGB S×S×3; its file ``name``; whether it is a ``photo`` of a face, not a
    drawn one; the ``side`` of its square in the picture that was given, in pixels; and as ``origin`` the photo that it
    was cut out of, RGB ``PIL.Image``, with the matrix of :func:`~maskhub.faces.align.alignment`, None for a picture of
    nothing but the face."""

    pixels: np.ndarray
    name: str
    photo: bool
    side: float
    origin: tuple | None = None

    @property
    def image(self):
        return Image.fromarray(self.pixels)

    def in_its_photo(self, result, region):
        """The photo with the replaced pixels of the face (``PIL.Image`` and bool, S×S), as ``PIL.Image``; just the face
        if it was not cut out of one."""
        if self.origin is None:
            return result
        photo, matrix = self.origin
        soft = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 1)
        return Image.fromarray(paste(np.asarray(photo), np.asarray(result), soft, matrix)[0])


def subject(image, name):
    """A picture that one face fills, as :class:`Subject`; others are cropped to the centre."""
    given = _centre(image, name)
    return replace(given, photo=given.side >= PHOTO and bool(detect(given.pixels)))


def _centre(image, name):
    """The centre of a picture as a :class:`Subject` that does not count as a photo of a face."""
    side = min(image.size)
    square = image.convert("RGB").crop(middle_square(*image.size))
    if side > LARGEST:
        square = square.resize((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return Subject(np.asarray(square), name, False, side)


def from_photo(photo, name):
    """The largest face of an uploaded photo, cut out as for training; without a face, the photo's centre."""
    rgb = split_alpha(photo)[0]
    pixels = np.asarray(rgb)
    faces = detect(pixels) if min(photo.size) >= PHOTO else []
    if not faces:
        return _centre(photo, name)
    cut = cut_face(pixels, faces[0])
    matrix = alignment(faces[0], len(cut))
    return Subject(cut, name, True, len(cut) / np.linalg.norm(matrix[0, :2]), (rgb, matrix))


def covered(given, way, painted=""):
    """What of a face, a :class:`Subject`, is replaced: the same, with a covering drawn on it if none was found; bool
    S×S; and whether one was found. ``way`` is one of :data:`WAYS`; for ``"paint"``, ``painted`` has :data:`GRID` ×
    :data:`GRID` bits in hexadecimal, row by row, with PhotoError if nothing was painted."""
    if way == "paint":
        return given, _painted(painted, len(given.pixels)), True
    if way != "cover":
        region = _found(given, way)
        if region.any():
            return given, region, True
    made, region = _drawn(given)
    return replace(given, pixels=made), region, way == "cover"


def _found(given, way):
    """By the mask detector on photos, which are what it knows; by colour or contrast on drawn faces."""
    if way == "auto" and given.photo:
        found = detect_mask_on_crop(np.ascontiguousarray(given.pixels))
        return _with_edge((found.region > 0.5) & found.masked)
    return (by_contrast if way == "contrast" else find_covering)(given.pixels)


def _with_edge(region):
    """A mask's region on a photo with its edge and shadow, whose colour would spread into the result."""
    width = 2 * round(EDGE * len(region)) + 1
    return cv2.dilate(region.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))) > 0


def _drawn(given):
    """The face with a mask over mouth and nose, and its region."""
    if given.photo:
        try:
            worn = wear(given.pixels, style="surgical", colour="blue")
            return worn.image, _with_edge(worn.region > 0.5)
        except NoFaceError:  # turned too far for its landmarks
            pass
    side = len(given.pixels)
    shape = pixel_faces("builtin:pixel-faces/light/mask:test")[0].region
    region = np.asarray(Image.fromarray(shape).resize((side, side), Image.Resampling.NEAREST))
    made = given.pixels.copy()
    made[region] = colours_of(PIXEL_COVERING_COLOURS["mask"]["blue"])[1]
    return made, region


def _painted(text, side):
    try:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)).reshape(GRID, GRID).astype(bool)
    except ValueError:
        bits = np.zeros((GRID, GRID), bool)
    if not bits.any():
        raise PhotoError("paint over the part of the face to replace first.")
    if bits.all():
        raise PhotoError("leave some of the face unpainted: the model needs to see some of it.")
    return np.asarray(Image.fromarray(bits).resize((side, side), Image.Resampling.NEAREST))
