"""Find the covered pixels of a small face by colour, as in the re-imaging paper.

The paper's coverings have colours that no face has. ``by_colour`` takes a list of such colours. ``by_contrast`` is the
fallback when the colours are unknown: it takes the colour around the mouth if it differs from the skin between the
eyes. For photos, use the learned detector, :mod:`maskhub.masks.detector`.
"""

import cv2
import numpy as np

__all__ = ["PIXEL_COVERING_COLOURS", "by_colour", "by_contrast", "colours_of", "find_covering"]


def colours_of(text):
    """Hexadecimal colours, separated by whitespace, as uint8 N×3."""
    return np.array([tuple(bytes.fromhex(colour)) for colour in text.split()], np.uint8)


PIXEL_COVERING_COLOURS = {
    "mask": {"blue": "6f9fca 98c5e6 c1e1f5", "mint": "5fb5a2 88d6c4 b7eee0", "lilac": "8e83c8 b2a8e6 d5cef7"},
    "scarf": {"teal": "0d6f78 17929a 4cc2c2", "violet": "5a2fa0 7a48c8 a67dec"},
}
"""Colours of the pixel faces' coverings: shadow, base, highlight."""


def find_covering(face):
    """Find the covered pixels of a face that fills the picture (uint8 RGB R×R×3) by the known colours, or else by
    contrast: bool R×R."""
    known = np.concatenate([colours_of(text) for kind in PIXEL_COVERING_COLOURS.values() for text in kind.values()])
    region = by_colour(face, known)
    return region if region.any() else by_contrast(face)


def by_colour(face, colours, tolerance=16.0):
    """Find the connected pixels within an RGB distance of given colours (N×3) that cover the lower middle of a face:
    bool R×R.

    A patch covering less than a fifth of the lower middle (an eye, a shirt) is ignored.
    """
    colours = np.asarray(colours, np.float32).reshape(-1, 3)
    distance = np.linalg.norm(face.astype(np.float32)[:, :, None] - colours, axis=3).min(2)
    return _largest(distance <= tolerance)


def by_contrast(face, least=28.0, tolerance=0.5):
    """Find the connected pixels that are closer to the colour around the mouth than to the skin colour: bool R×R.

    Args:
        face: uint8 RGB R×R×3.
        least: Lab distance between mouth and skin below which no covering is reported. Lips and beards are smaller or
            darker patches; a skin-coloured covering is missed.
        tolerance: a pixel counts if its distance to the mouth colour is at most this share of that distance.
    """
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    mouth, skin = _patch(lab, 0.62, 0.8, 0.38), _patch(lab, 0.42, 0.5, 0.44)  # the skin between the eyes
    apart = float(np.linalg.norm(mouth - skin))
    if apart < least:
        return np.zeros(face.shape[:2], bool)
    return _largest(np.linalg.norm(lab - mouth, axis=2) <= tolerance * apart, least=0.5)


def _patch(lab, top, bottom, left):
    side = lab.shape[0]
    part = lab[int(top * side) : int(bottom * side) + 1, int(left * side) : int((1 - left) * side) + 1]
    return np.median(part.reshape(-1, 3), axis=0)


def _largest(inside, least=0.2):
    """The connected component that covers most of the lower middle, with its holes filled."""
    side = inside.shape[0]
    middle = np.zeros_like(inside)
    middle[int(0.56 * side) : int(0.82 * side), int(0.34 * side) : int(0.66 * side)] = True
    count, parts = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    sizes = [int((middle & (parts == number)).sum()) for number in range(1, count)]
    if not sizes or max(sizes) < least * middle.sum():
        return np.zeros_like(inside)
    part = (parts == 1 + int(np.argmax(sizes))).astype(np.uint8)
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(part), outlines, -1, 1, cv2.FILLED)
    # fill small holes only: a patch of skin between mask and strap stays visible
    holes = (filled > part).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(holes, connectivity=4)
    for number in range(1, count):
        if stats[number, cv2.CC_STAT_AREA] <= max(1, (side // 32) ** 2):
            part[labels == number] = 1
    return part.astype(bool)
