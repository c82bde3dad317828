"""Landmarks and pose on the astronaut's portrait: turned, mirrored, small, large, and without a face."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import ImageOps

from maskhub.faces import mesh
from maskhub.faces.detect import Face, detect
from maskhub.faces.landmarks import PRESENT, landmarks

NOSE, CHIN, RIGHT_EYE, LEFT_EYE = 1, 152, 33, 263


def look(image):
    image = np.asarray(image)
    return landmarks(image, detect(image)[0])


@pytest.fixture(scope="module")
def upright(astronaut):
    return look(astronaut)


def test_the_points_are_on_the_face(upright):
    assert upright.points.shape == (478, 3)
    assert upright.present
    assert upright.presence > 0.95
    x, y = upright.points[:, 0], upright.points[:, 1]
    assert x[RIGHT_EYE] < x[NOSE] < x[LEFT_EYE]
    assert y[LEFT_EYE] < y[NOSE] < y[CHIN]
    assert upright.points[NOSE, :2] == pytest.approx([224, 131], abs=6)


def test_the_pose_of_a_level_head(upright):
    assert abs(upright.yaw) < 20
    assert abs(upright.pitch) < 20
    assert abs(upright.roll) < 12
    assert np.linalg.det(upright.rotation) == pytest.approx(1)


def test_mirroring_flips_yaw_and_roll(astronaut, upright):
    mirrored = look(ImageOps.mirror(astronaut))
    assert mirrored.yaw == pytest.approx(-upright.yaw, abs=4)
    assert mirrored.roll == pytest.approx(-upright.roll, abs=4)
    assert mirrored.pitch == pytest.approx(upright.pitch, abs=4)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_quarter_turns(astronaut, upright, quarter_turns):
    turned = look(np.ascontiguousarray(np.rot90(np.asarray(astronaut), quarter_turns)))
    assert turned.present
    assert turned.yaw == pytest.approx(upright.yaw, abs=5)
    off = turned.roll - upright.roll + 90 * quarter_turns
    assert (off + 180) % 360 - 180 == pytest.approx(0, abs=5)


@pytest.mark.parametrize("degrees", [37, -60, 130])
def test_any_roll(astronaut, upright, degrees):
    matrix = cv2.getRotationMatrix2D((223, 115), -degrees, 1)
    turned = look(cv2.warpAffine(np.asarray(astronaut), matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE))
    assert turned.present
    assert (turned.roll - upright.roll - degrees + 180) % 360 - 180 == pytest.approx(0, abs=8)


def test_wrong_eyes_are_made_up_for(astronaut, upright):
    image = np.asarray(astronaut)
    face = detect(image)[0]
    # as when a detector mistakes an upside-down face for an upright one
    wrong = Face(face.box, face.points[[1, 0, 2, 4, 3]], face.score)
    found = landmarks(image, wrong)
    if found.present:
        assert found.points[NOSE, :2] == pytest.approx(upright.points[NOSE, :2], abs=30)


@pytest.mark.parametrize("scale", [0.3, 5])
def test_any_size(astronaut, upright, scale):
    side = round(512 * scale)
    found = look(astronaut.resize((side, side)))
    assert found.present
    assert found.points[NOSE] / scale == pytest.approx(upright.points[NOSE], abs=6)


def test_no_face_has_a_low_presence():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    points = np.float32([[120, 130], [180, 130], [150, 160], [125, 190], [175, 190]])
    found = landmarks(noise, Face((90.0, 80.0, 120.0, 150.0), points, 0.9))
    assert found.presence < PRESENT
    assert not found.present


def test_from_several_threads(astronaut, upright):
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(look, [astronaut] * 3):
            np.testing.assert_array_equal(found.points, upright.points)


def test_two_passes_agree_with_one(astronaut, upright):
    image = np.asarray(astronaut)
    twice = landmarks(image, detect(image)[0], passes=2)
    assert np.abs(twice.points[:, :2] - upright.points[:, :2]).mean() < 3


def test_both_ways_to_run_the_network_agree(astronaut):
    crop = np.asarray(astronaut.crop((130, 20, 320, 210)).resize((256, 256)))
    points, logit = mesh._opencv()(crop)
    litert = mesh._litert()
    if litert is None:
        pytest.skip("LiteRT is not installed")
    other, other_logit = litert(crop)
    assert np.abs(points.ravel() - other.ravel()).max() < 0.01
    assert logit.item() == pytest.approx(other_logit.item(), abs=1e-3)
