"""Seamlessly tiling noise, for the unevenness of fabrics."""

import functools

import cv2
import numpy as np

__all__ = ["TILE", "noise_at", "noise_tile"]

TILE = 512
"""Texels after which the noise repeats."""


def noise_at(name, x, y, scale_x, scale_y, start):
    """A random field of mean 0 and standard deviation 1 at places x, y (h×w, face widths), at ``scale`` texels of its
    tile per face width; ``start`` is the texel at 0."""
    span = np.float32(2 * TILE)
    across, down = x * np.float32(scale_x) + np.float32(start), y * np.float32(scale_y) + np.float32(start)
    return cv2.remap(noise_tile(name), across % span, down % span, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


@functools.cache
def noise_tile(name):
    """Seamlessly tiling noise, two periods of TILE in each direction."""
    rng = np.random.default_rng({"smooth": 1, "fibre": 2}[name])
    white = rng.standard_normal((TILE, TILE)).astype(np.float32)
    sigmas = {"smooth": ((22, 1.0), (10, 0.4)), "fibre": ((0.7, 1.0), (2.5, 0.6))}[name]
    total = np.zeros_like(white)
    for sigma, weight in sigmas:
        pad = int(4 * sigma) + 1
        padded = cv2.copyMakeBorder(white, pad, pad, pad, pad, cv2.BORDER_WRAP)
        blurred = cv2.GaussianBlur(padded, (0, 0), sigma)[pad:-pad, pad:-pad]
        total += weight * (blurred - blurred.mean()) / blurred.std()
    return np.tile(total / total.std(), (2, 2))
