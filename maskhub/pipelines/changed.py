"""What a generator changed of an aligned crop: what of it shows in the photo, and whether the crop was too small."""

import cv2
import numpy as np

from maskhub.faces import align

__all__ = ["WIDER", "changed_region", "wider_for"]

ATTENTIVE = 0.8
"""Share of a crop's pixels below which what was changed counts as all that was meant to be."""
WIDER = 1.16
"""How many times as wide the crop is, at most, that is taken in place of one that a mask reaches out of."""
LOWEST, CHANGED, REACHED = 0.05, 12, 0.15
"""A mask reaches out where, of the lowest so many of the crop's rows, this share of the pixels is changed by more than
:data:`CHANGED` of 255."""


def changed_region(before, after, matrix, photo):
    """The soft region of what a generator changed, so that what it left alone keeps the photo's own sharpness.

    A generator without an attention loses something everywhere: its changes count from 6 of 255 (mean over the
    channels, smoothed over 3 % of the side), in full from 30. One whose attention shuts hands pixels through bit for
    bit, and what it changes, it means to: then they count from 0.5, in full from 6, smoothed over 1 %.

    Args:
        before, after: uint8 S×S×3, the crop and its translation.
        matrix: the crop's :func:`~maskhub.faces.align.alignment`.
        photo: H×W×3, the photo that it was cut from.

    Returns:
        float32 S×S in [0, 1], exactly 0 at the crop's edges, but for those that are the photo's.
    """
    side = before.shape[0]
    change = cv2.transform(cv2.absdiff(after, before).astype(np.float32), np.full((1, 3), 1 / 3, np.float32))
    attentive = np.count_nonzero(change) < ATTENTIVE * change.size
    low, high, smooth = (0.5, 6.0, 0.01) if attentive else (6.0, 30.0, 0.03)
    change = cv2.GaussianBlur(change, (0, 0), smooth * side)
    ramp = np.clip((change - low) / (high - low), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)) * align.window(matrix, side, photo)


def wider_for(before, after, matrix, photo):
    """How many times as wide a crop must be that a mask reaches out of: 1 where none does, :data:`WIDER` at most.

    Detectors see the box of a masked face too narrow now and then: the crop then ends above the lower edge of the
    mask, which would be cut off in a straight line. Where the photo ends there too, nothing is gained; where it ends
    soon after, the wider crop ends with it: a generator makes little of a last row repeated.

    Args:
        before, after: uint8 S×S×3, the crop and what a generator, or a mask put on by rule, made of it.
        matrix: the crop's :func:`~maskhub.faces.align.alignment`.
        photo: H×W×3, the photo that it was cut from.
    """
    side = len(before)
    rows = slice(-max(round(LOWEST * side), 1), None)
    change = cv2.absdiff(after[rows], before[rows]).mean(2)
    if np.count_nonzero(change > CHANGED) <= REACHED * change.size:
        return 1.0
    upper, lower = cv2.transform(np.array([[[side / 2, 0.0], [side / 2, side]]]), cv2.invertAffineTransform(matrix))[0]
    edges = np.where(lower > upper, (photo.shape[1], photo.shape[0]), 0)
    # of the photo below the crop, in shares of the crop's side
    left = min((end - y) / (y - x) for x, y, end in zip(upper, lower, edges, strict=True) if x != y)
    return min(1 + left / (1 - align.EYE_HEIGHT), WIDER) if left > align.BEYOND else 1.0
