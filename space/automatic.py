"""The direction that a photo's own faces ask for: masks come off those that wear one, and go on all others."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.photo import split_alpha
from maskhub.masks.detector import detect_mask
from maskhub.pipelines.changed import changed_region
from maskhub.provenance import mark

__all__ = ["Automatic", "said", "translate"]


@dataclass(frozen=True)
class Automatic:
    """What became of a photo.

    Attributes:
        image: ``PIL.Image``. region: float32 H×W, as in :class:`~maskhub.pipelines.face_mask.FaceMaskOutput`.
        boxes: of the faces, largest first. presences: what the mask detector made of each, 0 to 1.
        directions: ``"mask"``, ``"unmask"``, or None for a face that the pipeline could not translate.
    """

    image: Image.Image
    region: np.ndarray
    boxes: list
    presences: list
    directions: list


def translate(pipe, image):
    """Translate each face of a photo in the direction that it asks for.

    Raises:
        NoFaceError: no face was found. ConfigError: the pipeline lacks the network for a direction.
    """
    rgb, alpha = split_alpha(image)
    pixels = np.asarray(rgb)
    faces = detect(pixels)
    found = [detect_mask(pixels, face) for face in faces]
    directions = ["unmask" if found.masked else "mask" for found in found]
    # without a face the pipeline itself says so
    outputs = {direction: pipe(image, direction, details=True) for direction in sorted(set(directions) or {"mask"})}
    out, region = pixels, np.zeros(pixels.shape[:2], np.float32)
    for number in reversed(range(len(faces))):
        output = outputs[directions[number]]
        if faces[number].box not in output.boxes[0]:
            directions[number] = None
            continue
        place = output.boxes[0].index(faces[number].box)
        crop, made = np.asarray(output.crops[0][place]), np.asarray(output.translated[0][place])
        matrix = output.matrices[0][place]
        out, pasted = align.paste(out, made, changed_region(crop, made, matrix, pixels), matrix)
        region = np.maximum(region, pasted)
    result = Image.fromarray(out)
    if alpha is not None:
        result.putalpha(alpha)
    result = mark(result, pipe.provenance("translate"))
    return Automatic(result, region, [face.box for face in faces], [found.presence for found in found], directions)


def said(done):
    """What was decided, in words for a visitor."""
    if len(done.boxes) == 1:
        worn = {"unmask": "it wears a mask, so the mask was taken off", "mask": "it wears none, so one was put on"}
        text = worn.get(done.directions[0], "it could not be translated")
        return f"1 face found: {text} (mask detector: {done.presences[0]:.2f} of 1)."
    off, on = done.directions.count("unmask"), done.directions.count("mask")
    left = len(done.boxes) - off - on
    parts = [f"{off} with a mask, taken off" if off else "", f"{on} without, put on" if on else ""]
    parts.append(f"{left} that could not be translated" if left else "")
    least = min(done.presences, key=lambda presence: abs(presence - 0.5))
    return f"{len(done.boxes)} faces found: {'; '.join(filter(None, parts))} (least sure: {least:.2f} of 1)."
