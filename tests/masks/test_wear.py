"""Masks on the astronaut: every style and way of wearing; turned, dark, grey and large photos."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from maskhub.errors import ConfigError, NoFaceError, PhotoError
from maskhub.faces.face import Face
from maskhub.faces.landmarks import MEAN_FACE, Landmarks
from maskhub.masks import COLOURS, STYLES, WORN, wear

from .conftest import at

NOSE_TIP, BRIDGE, UPPER_LIP, LOWER_LIP, CHIN, FOREHEAD = 1, 6, 0, 17, 199, 10
NOWHERE = Face(
    (90.0, 80.0, 120.0, 150.0), np.float32([[120, 130], [180, 130], [150, 160], [125, 190], [175, 190]]), 0.9
)


@pytest.mark.parametrize("way", WORN)
@pytest.mark.parametrize("style", STYLES)
def test_every_style_and_way(photo, points, style, way):
    before = photo.copy()
    worn = wear(photo, style=style, seed=3, worn=way, landmarks=points)
    np.testing.assert_array_equal(photo, before)
    assert (worn.style, worn.worn) == (style, way)
    assert worn.colour in COLOURS[style]
    assert worn.image.shape == photo.shape
    assert worn.image.dtype == np.uint8
    assert worn.region.dtype == np.float32
    assert worn.region.shape == photo.shape[:2]
    assert worn.region.min() == 0
    assert 0.99 < worn.region.max() <= 1
    np.testing.assert_array_equal(worn.image[worn.region == 0], photo[worn.region == 0])
    assert 0.003 < worn.region.mean() < 0.06

    covered = {name: at(worn.region, points, index) > 0.9 for name, index in (("nose", NOSE_TIP), ("chin", CHIN))}
    covered["mouth"] = min(at(worn.region, points, UPPER_LIP), at(worn.region, points, LOWER_LIP)) > 0.9
    assert covered["nose"] == (way in ("correctly", "chin-out"))
    assert covered["chin"] == (way != "chin-out")
    assert covered["mouth"] == (way != "nose-and-mouth-out")
    assert at(worn.region, points, FOREHEAD) == 0
    if not covered["nose"]:
        assert at(worn.region, points, NOSE_TIP) < 0.35


def test_the_same_seed_gives_the_same_bytes(photo, points):
    first, second, other = (wear(photo, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.region, second.region)
    assert first[2:5] == second[2:5]
    assert (first.image != other.image).any()
    given = wear(photo, seed=5, landmarks=first.landmarks)
    np.testing.assert_array_equal(first.image, given.image)


def test_random_draws_every_style_and_wrong_way(photo, points):
    worn = [wear(photo, seed=seed, worn="random", landmarks=points) for seed in range(40)]
    assert {w.style for w in worn} == set(STYLES)
    assert {w.worn for w in worn} == set(WORN[1:])


def test_pil_in_pil_out(astronaut):
    worn = wear(astronaut.convert("RGBA"), style="surgical", seed=1)
    assert isinstance(worn.image, Image.Image)
    assert worn.image.mode == "RGB"
    image, region = worn[:2]
    assert image.size == region.shape[::-1]
    assert worn.face.score > 0.8
    assert worn.landmarks.present


def test_a_given_colour(photo, points):
    red = wear(photo, style="cloth", colour=(200, 20, 20), landmarks=points)
    blue = wear(photo, style="cloth", colour="navy", landmarks=points)
    assert red.colour == "#c81414"
    inside = red.region > 0.95
    assert red.image[inside, 0].mean() > 2 * red.image[inside, 2].mean()
    assert blue.image[inside, 2].mean() > blue.image[inside, 0].mean()


def covered_mean(photo, points):
    worn = wear(photo, style="surgical", colour="white", seed=0, landmarks=points)
    return worn.image[worn.region > 0.95].mean(0)


def test_a_dark_photo_gets_a_dark_mask(photo, points):
    dark = (photo * 0.25).astype(np.uint8)
    bright = covered_mean(photo, points).mean()
    assert bright > 150
    assert covered_mean(dark, points).mean() < 0.4 * bright


def test_a_grey_photo_gets_a_neutral_mask(photo, points):
    grey = np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    worn = wear(grey, style="surgical", colour="blue", seed=0, landmarks=points)
    inside = worn.image[worn.region > 0.95].astype(int)
    assert np.ptp(inside, 1).mean() < 4


def test_light_from_one_side_shows_on_the_fabric(photo, points):
    ramp = np.linspace(1.0, 0.15, 120)
    light = np.interp(np.arange(512), np.arange(165, 285), ramp)[None, :, None]
    worn = wear((photo * light).astype(np.uint8), style="surgical", colour="white", seed=0, landmarks=points)
    inside = worn.region > 0.95
    left = worn.image[:, :225][inside[:, :225]].mean()
    right = worn.image[:, 225:][inside[:, 225:]].mean()
    assert left > 1.25 * right


@pytest.mark.parametrize("degrees", [37, 90, 180, 270])
def test_turned_photos(photo, points, degrees):
    if degrees == 37:
        matrix = cv2.getRotationMatrix2D((223, 115), -degrees, 1)
        turned = cv2.warpAffine(photo, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
        back = cv2.invertAffineTransform(matrix)
    else:
        turned = np.ascontiguousarray(np.rot90(photo, -degrees // 90))
    worn = wear(turned, style="cloth", seed=2)
    straight = wear(photo, style="cloth", seed=2, landmarks=points)
    region = cv2.warpAffine(worn.region, back, (512, 512)) if degrees == 37 else np.rot90(worn.region, degrees // 90)
    both = np.minimum(region, straight.region).sum() / np.maximum(region, straight.region).sum()
    assert both > 0.85


def test_a_large_photo(astronaut):
    large = np.asarray(astronaut.crop((120, 20, 330, 230)).resize((2000, 2000), Image.Resampling.BICUBIC))
    worn = wear(large, style="kn95", seed=1)
    assert 0.05 < worn.region.mean() < 0.5
    np.testing.assert_array_equal(worn.image[worn.region == 0], large[worn.region == 0])


def test_a_face_cut_by_the_edge(photo, points):
    cut = photo[:130, :240]
    worn = wear(np.ascontiguousarray(cut), style="surgical", landmarks=points)
    assert worn.region[110:, 200:].max() > 0.9


def test_a_face_outside_the_photo_changes_nothing(photo, points):
    away = type(points)(points.points + np.float32([5000, 0, 0]), 1.0, 0.0, 0.0, 0.0, points.rotation)
    worn = wear(photo, landmarks=away)
    np.testing.assert_array_equal(worn.image, photo)
    assert worn.region.max() == 0


def test_no_face_is_an_error(photo):
    with pytest.raises(NoFaceError, match="no face"):
        wear(np.full((200, 200, 3), 90, np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    with pytest.raises(NoFaceError, match="presence"):
        wear(noise, NOWHERE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"style": "visor"}, {"worn": "sideways"}, {"style": "cup", "colour": "navy"}, {"colour": (1, 2)},
        {"seed": -1}, {"seed": 0.5},
    ],
)  # fmt: skip
def test_impossible_options_are_errors(photo, points, wrong):
    with pytest.raises(ConfigError):
        wear(photo, landmarks=points, **wrong)


def test_wrong_arrays_are_errors(photo):
    with pytest.raises(PhotoError, match="some of its pixels are not numbers"):
        wear(Image.fromarray(np.full((300, 300), np.nan, np.float32)))
    for wrong in (photo.astype(np.float32), photo[..., 0], photo[:0], "photo.jpg"):
        with pytest.raises(PhotoError, match=r"the photo must be a uint8 array of shape H×W×3 \(RGB\), not "):
            wear(wrong)


def test_a_picture_of_16_bits_is_masked_like_one_of_8(photo):
    grey = Image.fromarray(photo).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert wear(deep, seed=1).image.tobytes() == wear(grey, seed=1).image.tobytes()


@pytest.mark.parametrize("writeable", [True, False])
def test_a_mask_as_wide_as_the_photo_leaves_the_photo_alone(photo, points, writeable):
    """The changed part is then contiguous and shares the photo's memory: it must still be copied."""
    face = photo[60:200, 195:265].copy()
    marks = replace(points, points=points.points - np.float32([195, 60, 0]))
    before = face.copy()
    face.flags.writeable = writeable
    worn = wear(face, landmarks=marks, style="cloth", seed=3)
    assert np.array_equal(face, before)
    assert not np.array_equal(worn.image, before)


def profile(yaw, presence):
    """Landmarks of the mean face, turned, in the middle of a picture of 300 pixels."""
    mean, angle = np.load(MEAN_FACE).astype(float), np.radians(yaw)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    return Landmarks.of((120 * mean @ turn.T + (150, 140, 0)).astype(np.float32), presence)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("yaw", "way", "room"), [(65, "correctly", True), (65, "nose-out", False), (25, "correctly", False)]
)
def test_a_profile_that_the_network_is_unsure_of_gets_room_for_its_nose(style, yaw, way, room):
    grey = np.full((300, 300, 3), 140, np.uint8)
    sure, unsure = (wear(grey, style=style, seed=4, worn=way, landmarks=profile(yaw, presence)) for presence in (1, 0))
    if not room:
        np.testing.assert_array_equal(sure.image, unsure.image)
        return
    x, y = np.rint(profile(yaw, 0).points[NOSE_TIP, :2]).astype(int)
    ahead = [(one.region[y, x:] > 0.5).sum() for one in (sure, unsure)]
    assert 3 <= ahead[1] - ahead[0] <= 8
    tops = [np.flatnonzero(one.region[:, x - 4] > 0.5)[0] for one in (sure, unsure)]
    assert 1 <= tops[0] - tops[1] <= 8
