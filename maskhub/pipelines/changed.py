"""What a generator changed in an aligned crop: which part of it is pasted, and whether the crop was too small."""

import cv2
import numpy as np

from maskhub.faces import align

__all__ = ["ATTENTIVE", "COARSE", "FINE", "WIDER", "changed_region", "wider_for"]

ATTENTIVE = 0.8
"""If a smaller share of a crop's pixels changed, the generator is taken to change only what it means to."""
FINE, COARSE = (0.5, 6.0, 0.01), (6.0, 30.0, 0.03)
"""For generators that change only what they mean to, and for others: the change, of 255, from which a pixel counts,
from which it counts fully, and the smoothing as a share of the side."""
WIDER = 1.16
"""Largest factor by which a crop is widened if a mask extends beyond it."""
LOWEST, CHANGED, REACHED = 0.05, 12, 0.15
"""A mask extends beyond its crop if, in this share of the rows at the bottom, at least this share of the pixels changed
by more than :data:`CHANGED` of 255."""


def changed_region(before, after, matrix, photo):
    """The soft region that a generator changed, so that everything else keeps the photo's sharpness: float32 S×S in [0,
    1], exactly 0 at the crop's edges except where they are the photo's.

    A generator without an attention changes every pixel slightly: its changes count from 6 of 255 (mean over the
    channels, smoothed over 3 % of the side), and fully from 30. A generator with a closed attention passes pixels
    through bit for bit, so its changes are intended: they count from 0.5, and fully from 6, smoothed over 1 %.

    Args:
        before, after: uint8 S×S×3, the crop and its translation.
        matrix, photo: the crop's :func:`~maskhub.faces.align.alignment`, and the photo (H×W×3) that it was cut from.
    """
    side = before.shape[0]
    change = cv2.transform(cv2.absdiff(after, before).astype(np.float32), np.full((1, 3), 1 / 3, np.float32))
    attentive = np.count_nonzero(change) < ATTENTIVE * change.size
    low, high, smooth = FINE if attentive else COARSE
    change = cv2.GaussianBlur(change, (0, 0), smooth * side)
    ramp = np.clip((change - low) / (high - low), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)) * align.window(matrix, side, photo)


def wider_for(before, after, matrix, photo):
    """The factor by which a crop must be widened if a mask extends beyond it: 1 if none does, at most :data:`WIDER`.

    Detectors sometimes report the box of a masked face too narrow. The crop then ends above the mask's lower edge and
    would cut it off in a straight line. If the photo ends there too, a wider crop gains nothing. If the photo ends soon
    after, the wider crop ends with it: generators handle a repeated last row poorly. Arguments as for
    :func:`changed_region`.
    """
    side = len(before)
    rows = slice(-max(round(LOWEST * side), 1), None)
    change = cv2.absdiff(after[rows], before[rows]).mean(2)
    if np.count_nonzero(change > CHANGED) <= REACHED * change.size:
        return 1.0
    upper, lower = cv2.transform(np.array([[[side / 2, 0.0], [side / 2, side]]]), cv2.invertAffineTransform(matrix))[0]
    edges = np.where(lower > upper, (photo.shape[1], photo.shape[0]), 0)
    # the part of the photo below the crop, as a share of the crop's side
    left = min((end - y) / (y - x) for x, y, end in zip(upper, lower, edges, strict=True) if x != y)
    return min(1 + left / (1 - align.EYE_HEIGHT), WIDER) if left > align.BEYOND else 1.0
