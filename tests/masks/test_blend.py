"""Colours in the photo's light, and the moved shadow."""

import cv2
import numpy as np

from maskhub.masks.blend import _moved_kernel, toned
from maskhub.masks.lighting import Lighting

LIGHT = Lighting(np.float32([1, 0.1, -0.3, -0.3, 0, 0, 0]), np.float32([1.1, 0.9, 0.7]), 0.8, 0.5, 1.0, np.zeros(3))


def test_one_colour_is_toned_like_a_picture_of_it():
    shade = np.random.default_rng(0).uniform(0, 1.9, (40, 50)).astype(np.float32)
    colour = np.float32([0.1, 0.5, 0.9])
    one, each = (
        toned(colour, LIGHT, shade),
        toned(np.ascontiguousarray(np.broadcast_to(colour, (40, 50, 3))), LIGHT, shade),
    )
    assert one.shape == each.shape
    np.testing.assert_allclose(one, each, atol=0.5)


def test_a_kernel_moves_as_a_warp_does():
    plane = np.zeros((41, 41), np.float32)
    plane[15:25, 18:23] = 1
    kernel = cv2.getGaussianKernel(5, 1.0).ravel()
    for x, y in ((1.3, -0.6), (2.0, 0.0), (-0.25, 1.75)):
        moved = cv2.warpAffine(plane, np.float64([[1, 0, x], [0, 1, y]]), (41, 41))
        across, down = (_moved_kernel(kernel, shift, 2) for shift in (x, y))
        made = cv2.sepFilter2D(plane, -1, across, down, borderType=cv2.BORDER_CONSTANT)
        np.testing.assert_allclose(made, cv2.GaussianBlur(moved, (5, 5), 1.0), atol=0.02)
