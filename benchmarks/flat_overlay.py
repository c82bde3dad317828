"""The usual overlay, as a reference for the benchmarks: one polygon of flat colour on the landmarks, edges jagged.

It stands for the scripts that paste a mask's picture or colour on a face (MaskTheFace and its kin): no light, no folds,
no blur, no grain, no shadow. Our own few lines, on the same landmarks as :func:`maskhub.masks.wear`.
"""

import cv2
import numpy as np

__all__ = ["overlay"]

JAW = (93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323)
TOP = (280, 6, 50)
COLOURS = ((150, 194, 222), (234, 237, 238), (48, 48, 52), (150, 205, 186), (38, 50, 84), (168, 42, 46))


def overlay(image, landmarks, seed=0):
    """Paint the polygon: uint8 RGB H×W×3 in and out."""
    points = landmarks.points[list(JAW + TOP), :2]
    out = image.copy()
    colour = COLOURS[int(np.random.default_rng(seed).integers(len(COLOURS)))]
    cv2.fillPoly(out, [np.rint(points).astype(np.int32)], colour)
    return out
