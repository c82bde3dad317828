"""Blur, grain, exposure and colour are estimated from the photo."""

import cv2
import numpy as np
import pytest

from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.masks.fit import Head
from maskhub.masks.lighting import estimate_lighting, to_linear, to_srgb


@pytest.fixture(scope="module")
def read(astronaut):
    image = np.asarray(astronaut)
    points = landmarks(image, detect(image)[0])
    return lambda change=lambda image: image: estimate_lighting(change(image), points, Head.of(points))


def test_blur_grows_with_the_photos(read):
    blurs = [read(lambda image, s=sigma: cv2.GaussianBlur(image, (0, 0), s)).blur for sigma in (0.3, 1.5, 3)]
    assert blurs == sorted(blurs)
    assert blurs[2] == pytest.approx(3, abs=1.2)


def test_grain_is_the_photos(read):
    def noisy(image):
        return (image + np.random.default_rng(0).normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)

    assert read(noisy).grain == pytest.approx(8, rel=0.3)
    assert read().grain < 4


def test_exposure_follows_the_photo(read):
    half = read(lambda image: (image * 0.5).astype(np.uint8))
    assert half.exposure.mean() == pytest.approx(read().exposure.mean() * 0.5**2.2, rel=0.15)


def test_a_grey_photo_has_no_saturation(read):
    grey = read(lambda image: np.repeat(image[..., 1:2], 3, 2))
    assert grey.saturation == 0
    assert np.ptp(grey.exposure) < 1e-4


def test_the_shade_is_about_one(read):
    lighting = read()
    front = lighting.on(*(np.full((1, 1), value, np.float32) for value in (0, 0, -1)))
    assert 0.7 < front.item() < 1.5


def test_tone_round_trip():
    values = np.arange(0, 181, dtype=np.uint8)
    assert to_srgb(to_linear(values)) * 255 == pytest.approx(values, abs=0.6)
