"""What a visitor should know about a photo before its faces are translated: no face, or a poor result to come."""

import cv2
import numpy as np

from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.faces.photo import split_alpha

__all__ = ["outlook", "reading_order"]

MOST = 12
"""Faces that are examined, largest first."""
TURNED, HIDDEN = 35, 0.3
"""Degrees of yaw from which results are poor, and the landmarks' presence below which a face is turned away or covered
by more than a mask."""
SHARP, SIDE, WIDTH = 0.025, 128, 40
"""A face is blurred if its crop of this side has less than this share of its variance in its Laplacian (sharp photos:
0.05 to 0.5), and small below this width in pixels."""
NO_FACE = "No face was found in this photo. A face must be at least 30 pixels wide and not seen from behind."


def outlook(photo):
    """Sentences about a photo's faces, worst first; empty if nothing speaks against a good result.

    Args:
        photo: ``PIL.Image`` from :func:`maskhub.faces.photo.open_photo`.
    """
    pixels = np.asarray(split_alpha(photo)[0])
    faces = detect(pixels)
    if not faces:
        return [NO_FACE]
    reasons = {}
    for number, index in enumerate(reading_order([face.box for face in faces]), 1):
        why = _weakness(pixels, faces[index]) if index < MOST else ""
        if why:
            reasons.setdefault(why, []).append(number)
    return [_sentence(why, numbers, len(faces)) for why, numbers in reasons.items()]


def reading_order(boxes):
    """The indices of faces row by row and from left to right, as a person would number them.

    Args:
        boxes: left, top, width and height of each.
    """
    rows, middle = [], lambda index: boxes[index][1] + boxes[index][3] / 2
    for index in sorted(range(len(boxes)), key=middle):
        if rows and middle(index) - middle(rows[-1][0]) < 0.6 * boxes[rows[-1][0]][3]:
            rows[-1].append(index)
        else:
            rows.append([index])
    return [index for row in rows for index in sorted(row, key=lambda index: boxes[index][0])]


def _weakness(pixels, face):
    if min(face.box[2:]) < WIDTH:
        return "very small"
    crop = cv2.cvtColor(align.crop(pixels, align.alignment(face, SIDE), SIDE), cv2.COLOR_RGB2GRAY).astype(np.float32)
    middle = np.s_[SIDE // 5 : -SIDE // 5, SIDE // 5 : -SIDE // 5]
    if cv2.Laplacian(crop, cv2.CV_32F)[middle].var() < SHARP * max(crop[middle].var(), 1.0):
        return "blurred"
    mark = landmarks(pixels, face)
    if mark.presence < HIDDEN:
        return "turned away or covered by more than a mask"
    return "turned far to the side" if abs(mark.yaw) > TURNED else ""


def _sentence(why, numbers, count):
    if count == 1:
        return f"This face is {why}, so the result will probably be poor."
    if len(numbers) == 1:
        return f"Face {numbers[0]} is {why}, so its result will probably be poor."
    listed = f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
    return f"Faces {listed} are {why}, so their results will probably be poor."
