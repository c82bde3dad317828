"""What a visitor should know about a photo before its faces are translated: no face, or a poor result to come."""

import numpy as np

from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.faces.photo import split_alpha
from maskhub.masks.detector import detect_masks
from maskhub.pipelines.estimate import estimate_result

__all__ = ["outlook", "reading_order", "results_of"]

MOST = 12
"""Faces that are examined, largest first."""
NO_FACE = "No face was found in this photo. A face must be at least 30 pixels wide and not seen from behind."
UNCLEAR = "turned away, covered or blurred"


def outlook(photo):
    """Sentences about the faces of a photo, a ``PIL.Image`` of :func:`maskhub.faces.photo.open_photo`; empty if the
    result will probably be good."""
    pixels = np.asarray(split_alpha(photo)[0])
    faces = detect(pixels)
    if not faces:
        return [NO_FACE]
    largest, reasons = faces[:MOST], {}
    crops, found = detect_masks([(pixels, face) for face in largest])
    weak = [_weakness(pixels, *seen) for seen in zip(largest, crops, found, strict=True)]
    for number, index in enumerate(reading_order([face.box for face in faces]), 1):
        if index < len(weak) and weak[index]:
            reasons.setdefault(weak[index], []).append(number)
    return [f"{results_of(numbers, len(faces))} will probably be poor ({why})." for why, numbers in reasons.items()]


def reading_order(boxes):
    """The indices of faces row by row and from left to right, as a person would number them, by their ``boxes``: left,
    top, width and height of each."""
    rows, middle = [], lambda index: boxes[index][1] + boxes[index][3] / 2
    for index in sorted(range(len(boxes)), key=middle):
        if rows and middle(index) - middle(rows[-1][0]) < 0.6 * boxes[rows[-1][0]][3]:
            rows[-1].append(index)
        else:
            rows.append([index])
    return [index for row in rows for index in sorted(row, key=lambda index: boxes[index][0])]


def results_of(numbers, count):
    """The beginning of a sentence about the results on the faces of these numbers, of ``count`` in the photo."""
    if count == 1:
        return "The result"
    if len(numbers) == 1:
        return f"The result on face {numbers[0]}"
    return f"The results on faces {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _weakness(pixels, face, crop, found):
    """Why a result will be poor, or "": by the estimate for a masked face, else by whether the face is clear enough."""
    if found.masked:
        estimate = estimate_result(crop, face.score, found)
        return estimate.reason if estimate.poor else ""
    return "" if landmarks(pixels, face).present else UNCLEAR
