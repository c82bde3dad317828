"""Blur, grain, exposure and colour are estimated from the photo."""

import cv2
import numpy as np
import pytest

from maskhub.data.portraits import portraits
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.masks.fit import Head
from maskhub.masks.lighting import LUMA, SKIN, cast_on_white, estimate_lighting, to_linear, to_srgb, white_level
from maskhub.masks.wear import wear


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


def test_a_darker_photo_has_a_darker_mask_but_not_by_as_much(read):
    half = read(lambda image: (image * 0.5).astype(np.uint8))
    assert 0.5**2.2 < half.exposure.mean() / read().exposure.mean() < 0.75


def test_a_mask_is_not_much_brighter_than_a_dark_photo():
    assert white_level(0.002, 0.01) == pytest.approx(0.02)


def test_white_masks_are_nearly_as_bright_on_dark_skin():
    """Portraits of one studio, so all in the same light: the darkest and the lightest skin."""
    lightness = []
    for number in (58, 155, 123, 51, 69, 101):
        worn = wear(portraits()[number].image, style="surgical", colour="white", seed=1)
        inside = cv2.erode((worn.region > 0.7).astype(np.uint8), np.ones((9, 9))) > 0
        lightness.append(116 * np.median(to_linear(np.asarray(worn.image))[inside] @ LUMA) ** (1 / 3) - 16)
    dark, light = np.reshape(lightness, (2, 3)).mean(1)
    assert dark > 75 and light > 90  # 58 and 97 before the exposure was fitted to real masks


def test_fabric_takes_on_little_of_the_skins_cast():
    white = cast_on_white(SKIN * [1, 1, 0.5])
    assert 1 < white[0] / white[2] < 1.2


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
