"""Blend a generated face into the covered pixels of a real one: smoothing, and matching the surrounding skin tone."""

import warnings

import cv2
import numpy as np

from maskhub.models.network import choose

__all__ = ["blend", "kmeans_colours"]


def kmeans_colours(image, colours=12, seed=0):
    """Replace each pixel of a uint8 RGB R×R×3 image by the mean colour of its cluster: the paper's k-means smoothing.

    The clusters are found in Lab, whose distances are closer to perception; there are fewer if the image has fewer
    colours.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    pixels = image.reshape(-1, 3)
    lab = _lab(image).reshape(-1, 3)
    count = min(colours, len(np.unique(pixels, axis=0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer colours than clusters
        found = KMeans(count, n_init=4, random_state=seed % 2**32).fit(lab).labels_
    smooth = np.zeros((count, 3))
    for number in range(count):
        if (found == number).any():
            smooth[number] = pixels[found == number].mean(0)
    return smooth[found].round().astype(np.uint8).reshape(image.shape)


def blend(face, made, region, how="palette"):
    """Put the generated pixels under the covering into the face, matched to the tone of its skin: uint8 R×R×3, in which
    every pixel outside ``region`` is unchanged.

    Args:
        face: uint8 RGB R×R×3.
        made: uint8 R×R×3, the generated face, aligned with the face.
        region: bool R×R: the covered pixels.
        how: ``"none"``; ``"shift"``: by the median difference of the two next to the covering, where both show the
            same thing; ``"poisson"``: by that difference interpolated smoothly from the covering's edge inwards (Pérez
            et al., "Poisson Image Editing", SIGGRAPH 2003, equation 5, without boundary pixels that differ);
            ``"clone"``: OpenCV's ``seamlessClone``, with every boundary pixel; ``"palette"``: like ``"poisson"``, then
            each colour is replaced by the nearest colour of the face itself if one is close: exact in pictures with
            few colours.
    """
    method = choose("the blending", how, {"none": _as_it_is, "shift": _shifted, "poisson": _poisson, "clone": _cloned,
                                          "palette": _palette})  # fmt: skip
    result = face.copy()
    if region.any():
        result[region] = method(face, made, region)[region]
    return result


def _as_it_is(face, made, region):
    return made


def _around(face, made, region, reach=2, alike=60.0):
    """The visible pixels near the covering where both faces show the same thing, and their difference."""
    near = cv2.dilate(region.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)).astype(bool) & ~region
    difference = face.astype(np.float32) - made
    same = near & (np.linalg.norm(difference, axis=2) < alike)
    return same, difference


def _shifted(face, made, region):
    same, difference = _around(face, made, region)
    shift = np.median(difference[same], axis=0) if same.sum() >= 4 else np.zeros(3)
    return (made + shift).round().clip(0, 255).astype(np.uint8)


def _poisson(face, made, region):
    same, difference = _around(face, made, region, reach=1)
    if same.sum() < 4:
        return _shifted(face, made, region)
    # the membrane: harmonic inside the region, fixed to the differences at the boundary (Jacobi iteration)
    spread = np.where(same[..., None], difference, np.median(difference[same], axis=0))
    inside = region | (cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~same)
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    around = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    part, within = spread[around], inside[around][..., None]
    for _ in range(20 * face.shape[0]):
        padded = np.pad(part, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        part = np.where(within, mean, part)
    spread[around] = part
    return (made + spread).round().clip(0, 255).astype(np.uint8)


def _cloned(face, made, region):
    # seamlessClone centres the mask's box on a point, needs a free border, and shrinks the mask by three pixels
    framed = [cv2.copyMakeBorder(image, 6, 6, 6, 6, cv2.BORDER_REPLICATE) for image in (made, face)]
    mask = cv2.copyMakeBorder(region.astype(np.uint8) * 255, 6, 6, 6, 6, cv2.BORDER_CONSTANT)
    mask = cv2.dilate(mask, np.ones((9, 9), np.uint8))
    left, top, width, height = cv2.boundingRect(mask)
    centre = (left + width // 2, top + height // 2)
    return cv2.seamlessClone(framed[0], framed[1], mask, centre, cv2.NORMAL_CLONE)[6:-6, 6:-6]


def _palette(face, made, region, close=14.0, least=2):
    matched = _poisson(face, made, region)
    shown, counts = np.unique(face[~region], axis=0, return_counts=True)
    shown = shown[counts >= least]
    if len(shown) == 0:
        return matched
    colours, place = np.unique(matched[region], axis=0, return_inverse=True)
    apart = np.linalg.norm(_lab(colours[None])[0][:, None] - _lab(shown[None])[0][None], axis=2)
    nearest = apart.argmin(1)
    colours = np.where((apart.min(1) <= close)[:, None], shown[nearest], colours)
    result = matched.copy()
    result[region] = colours[place.reshape(-1)]
    return result


def _lab(image):
    return cv2.cvtColor(np.ascontiguousarray(image).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
