"""Scores of each made sample, so that bad ones can be filtered out instead of being trusted.

score(before, after, region, face, mark)["quality"]      # 0 to 1: as good as the worst of its measures
"""

import cv2
import numpy as np

from maskhub.faces import align
from maskhub.masks.detector import detect_mask_on_crop

__all__ = ["SCORES", "score", "sharpness"]

SCORES = ("presence", "agreement", "sharpness", "light", "quality")
"""The columns."""
SIDE = 128
"""Side of the aligned crop on which all are measured."""
SHARP, AGREED = 0.6, 0.75
"""From this sharpness and this agreement on, a sample is as good as any: they count as 1 in the quality. The worst of
101 masks on clear photos had 0.84 and 0.755."""


def score(before, after, region, face, presence=None, agreement=True):
    """Score one face, by a photo without and with its mask (uint8 RGB H×W×3), the mask's region (float32 H×W in [0,
    1]), the :class:`~maskhub.faces.face.Face`, and the ``presence`` of its landmarks (0 to 1, or None). A dict,
    rounded, None for what was not measured:

    * ``agreement``, 0 to 1: of the region and what the mask detector takes for a mask, intersection over union;
    * ``sharpness`` of the face without its mask, see :func:`sharpness`;
    * ``light``, 0 to 100: the median grey of the face without its mask;
    * ``quality``, 0 to 1: the lowest of presence, agreement / :data:`AGREED` and sharpness / :data:`SHARP`.
    """
    matrix = align.alignment(face, SIDE)
    crop, agreed = align.crop(before, matrix, SIDE), None
    sharp, middle = sharpness(crop), crop[SIDE // 4 : 3 * SIDE // 4, SIDE // 4 : 3 * SIDE // 4]
    parts = [1.0, sharp / SHARP] + ([] if presence is None else [presence])
    if agreement:
        found = detect_mask_on_crop(align.crop(after, matrix, SIDE)).region > 0.5
        drawn = align.crop(region, matrix, SIDE) > 0.5
        agreed = float((found & drawn).sum() / max((found | drawn).sum(), 1))
        parts.append(agreed / AGREED)
    light = np.median(middle @ np.float32([0.299, 0.587, 0.114])) / 2.55
    values = {"agreement": agreed, "sharpness": sharp, "light": light, "quality": min(parts)}
    return {key: None if value is None else round(float(value), 3) for key, value in values.items()}


def sharpness(crop):
    """Sharpness of an aligned crop: the variance of its Laplacian divided by its variance, in per cent.

    The division keeps dull or dark photos from counting as blurred. A sharp 256-pixel face has 0.9
    to 4, one blurred by a standard deviation of 2 pixels 0.4 to 1.4, by 4 pixels below 0.5.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 0.8), cv2.CV_32F)
    return float(100 * edges.var() / max(float(grey.var()), 1.0))
