"""How suitable a worn mask is for training: its placement, clarity, realism and lightness.

Study 4 (Allam, Shivdeo, Bhosale) selected photos by number of faces, mask placement, mask clarity and realistic effect,
the two-step method (Yang, Bebis, Nicolescu) those with light-coloured masks; both by hand. Here they are measured from
the mask detector's region, the face detector's five points and the picture's detail.
"""

import cv2
import numpy as np

__all__ = ["MASK_MEASURES", "measure_mask"]

MASK_MEASURES = ("mask_placement", "mask_clarity", "mask_realism", "mask_lightness")
SURE, SOME = 0.5, 0.1
SMOOTHEST, SHARPEST = -2.3, 0.5
"""Detail of a mask relative to the uncovered face, in powers of two: the range of nine in ten real masks."""
OCTAVES = 2.0
"""Beyond that range by this much, a mask counts as not realistic at all."""
LIGHT = 96.0
"""Difference of light between mask and face, in 8-bit lightness, at which a mask counts as not realistic at all."""


def measure_mask(crop, region, points):
    """Measure the mask on an aligned crop, uint8 RGB S×S×3, by the mask detector's ``region`` (float32 S×S, the
    confidence of each pixel) and the face detector's five ``points`` in the crop's pixels. A dict of
    :data:`MASK_MEASURES`, all None if no pixel is covered:

    * ``mask_placement``, 0 to 1: the share of nose tip and mouth corners that is covered;
    * ``mask_clarity``, 0 to 1: how sure the detector is of the mask's pixels, edges included;
    * ``mask_realism``, 0 to 1: whether the mask is as detailed, and lit from the same side, as the face. Pasted
      pictures are often smoother or sharper than the photo, and evenly lit;
    * ``mask_lightness``, 0 (black) to 100 (white): the median.
    """
    mask, some = region > SURE, region > SOME
    if not mask.any():
        return dict.fromkeys(MASK_MEASURES)
    side = len(crop)
    ends = np.clip(np.rint(points[2:]).astype(int), 0, side - 1)
    lightness = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB)[..., 0].astype(np.float32)
    return {
        "mask_placement": float(np.mean([mask[y, x] for x, y in ends])),
        "mask_clarity": float(np.abs(2 * region[some] - 1).mean()),
        "mask_realism": _realism(crop, lightness, mask),
        "mask_lightness": float(np.median(lightness[mask])) * 100 / 255,
    }


def _realism(crop, lightness, mask):
    side = len(crop)
    kernel = np.ones((5, 5), np.uint8)  # leaves out the edge
    inside = cv2.erode(mask.astype(np.uint8), kernel) > 0
    bare = np.zeros_like(mask)
    bare[side // 4 : 4 * side // 5, side // 4 : 3 * side // 4] = True
    bare &= cv2.dilate(mask.astype(np.uint8), kernel) == 0
    if not inside.any() or not bare.any():
        return 0.0
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 0.8), cv2.CV_32F))
    ratio = np.log2(max(detail[inside].mean(), 1e-3) / max(detail[bare].mean(), 1e-3))
    off = max(SMOOTHEST - ratio, ratio - SHARPEST, 0.0) / OCTAVES
    left = np.arange(side)[None] < side / 2
    slants = [
        lightness[part & left].mean() - lightness[part & ~left].mean()
        if (part & left).any() and (part & ~left).any()
        else 0
        for part in (inside, bare)
    ]
    return float(max(0.0, 1 - max(off, abs(slants[0] - slants[1]) / LIGHT)))
