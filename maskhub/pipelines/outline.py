"""Outline the changed part of a photo, to show it to a person."""

import cv2
import numpy as np
from PIL import Image

from maskhub.errors import PhotoError
from maskhub.faces.photo import split_alpha
from maskhub.provenance import mark, read_provenance

__all__ = ["changed", "outline"]

SPECK = 1e-3
"""Contours that enclose less than this share of the largest one's area are omitted."""


def outline(image, region, *, threshold=0.5, width=None):
    """Draw a region's contour on a copy of a picture: a light line with a dark border, visible on any background.

    Args:
        image, region: RGB or RGBA ``PIL.Image``, and H×W in [0, 1], such as an entry of ``FaceMaskOutput.regions``.
        threshold: the contour follows this value of the region.
        width: of the light line in pixels; by default 0.4 % of the picture's shorter side.

    Raises:
        PhotoError: the region and the picture have different sizes.
    """
    if region.shape != (image.height, image.width):
        raise PhotoError(
            f"the region is {region.shape[1]}×{region.shape[0]}, the picture {image.width}×{image.height}."
        )
    rgb, alpha = split_alpha(image.convert("RGBA" if image.mode == "RGBA" else "RGB"))
    inside = (region > threshold).astype(np.uint8)
    contours, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(contour) for contour in contours]
    width = width or max(1, round(0.004 * min(rgb.size)))
    lines = [
        _smoothed(contour[:, 0], sigma=2.0 * width)
        for contour, area in zip(contours, areas, strict=True)
        if area > SPECK * max(areas)
    ]
    pixels = np.array(rgb)
    for colour, thickness in (((20, 20, 20), width + 2 * max(1, width // 2)), ((255, 255, 255), width)):
        cv2.polylines(pixels, lines, isClosed=True, color=colour, thickness=thickness, lineType=cv2.LINE_AA, shift=4)
    out = Image.fromarray(pixels)
    if alpha is not None:
        out.putalpha(alpha)
    return mark(out, read_provenance(image))


def changed(before, after, least=6.0):
    """The region, float32 H×W in [0, 1], in which two ``PIL.Image`` of one size differ, for :func:`outline` if the
    generator's region is not available.

    It is 0.5 at a mean absolute change of ``least`` over the channels, in 8-bit units, smoothed over 1 % of the shorter
    side; changes by JPEG or by a generator's reconstruction are usually below 6. :class:`PhotoError` if the sizes
    differ.
    """
    if before.size != after.size:
        sizes = [f"{image.width}×{image.height}" for image in (before, after)]
        raise PhotoError(f"the photo is {sizes[0]} and the result {sizes[1]}. Both must have the same size.")
    pixels = [np.asarray(image.convert("RGB"), np.float32) for image in (before, after)]
    change = np.abs(pixels[1] - pixels[0]).mean(2)
    change = cv2.GaussianBlur(change, (0, 0), max(0.8, 0.01 * min(before.size)))
    return (change / (2 * least)).clip(0, 1)


def _smoothed(points, sigma):
    """A closed contour without the steps of the pixel grid, in sixteenths of a pixel."""
    sigma = min(sigma, len(points) / 12)
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    kernel /= kernel.sum()
    padded = np.take(points.astype(np.float64), np.arange(-reach, len(points) + reach), axis=0, mode="wrap")
    smooth = np.stack([np.convolve(axis, kernel, mode="valid") for axis in padded.T], axis=1)
    return np.rint(smooth * 16).astype(np.int32)
