"""Landmarks and pose on the astronaut's portrait: turned, mirrored, small, large, and without a face."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from maskhub.faces import mesh
from maskhub.faces.detect import detect
from maskhub.faces.face import Face
from maskhub.faces.landmarks import (
    MEAN_FACE,
    PRESENT,
    Landmarks,
    landmarks,
    posed_mean_face,
    reliable,
    surest_landmarks,
)

NOSE, CHIN, RIGHT_EYE, LEFT_EYE = 1, 152, 33, 263
MORE = Path(__file__).parents[3] / "shared" / "faces" / "more"
TURNED = (
    "ffval2_00058", "ffval0_00096", "fftrain12_00083", "ffval3_00246", "fftrain8_00464", "ffval3_00306",
    "ffval0_00310", "ffval3_00031",
)  # fmt: skip


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


def nose_aside(face, share):
    """The face with its nose moved to the right, by a share of the box's width."""
    points = face.points + np.float32([[0, 0], [0, 0], [share * face.box[2], 0], [0, 0], [0, 0]])
    return Face(face.box, points, face.score)


@pytest.mark.parametrize("yaw", [35, 55, 70])
@pytest.mark.parametrize("side", [1, -1])
def test_the_mean_face_takes_the_pose_of_a_detected_face(yaw, side):
    mean, angle = np.load(MEAN_FACE).astype(float), np.radians(side * yaw)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    wanted = 150 * mean @ turn.T + (200, 180, 0)
    eyes = (wanted[33] + wanted[133]) / 2, (wanted[263] + wanted[362]) / 2
    points = np.float32([*eyes, *wanted[[1, 61, 291]]])[:, :2]
    posed = posed_mean_face(Face((125.0, 100.0, 150.0, 190.0), points, 0.9))
    assert posed.yaw == pytest.approx(Landmarks.of(wanted, 1).yaw, abs=0.5)
    # but for the size and the shift that fit real faces better
    assert np.abs(posed.points[:, :2] - wanted[:, :2]).max() < 0.05 * 150
    assert posed.presence == 0


def test_a_turned_head_that_the_network_is_unsure_of_gets_the_mean_face(astronaut, upright):
    image = np.asarray(astronaut)
    face = detect(image)[0]
    mean, angle = np.load(MEAN_FACE).astype(float), np.radians(60)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    places = face.box[2] * mean @ turn.T + (*face.points.mean(0), 0)
    eyes = (places[33] + places[133]) / 2, (places[263] + places[362]) / 2
    turned = Face(face.box, np.float32([*eyes, *places[[1, 61, 291]]])[:, :2], 0.8)
    missed = Landmarks.of(upright.points + np.float32([60, 0, 0]), 0.0)
    assert not reliable(missed, turned)
    found = surest_landmarks(image, turned, missed)
    assert reliable(found, turned)
    assert found.yaw == pytest.approx(60, abs=6)
    # neither an unsure nor a frontal face is posed, and sure landmarks are kept
    assert surest_landmarks(image, Face(turned.box, turned.points, 0.77), missed) is missed
    assert surest_landmarks(image, face, missed) is missed
    assert surest_landmarks(image, turned, upright) is upright


@pytest.mark.skipif(not MORE.is_dir(), reason="the shared faces are not here")
@pytest.mark.parametrize("name", TURNED)
def test_profiles_are_found(name):
    image = np.asarray(Image.open(MORE / f"{name}.webp").convert("RGB"))
    face = detect(image)[0]
    assert reliable(surest_landmarks(image, face), face)


def test_longer_slopes_do_not_change_the_network():
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    crop = np.random.default_rng(0).integers(0, 256, (mesh.SIDE, mesh.SIDE, 3), np.uint8)
    points, logit = mesh.run_mesh(crop)
    published = litert.Interpreter(str(mesh.WEIGHTS), num_threads=1)
    published.allocate_tensors()
    published.set_tensor(published.get_input_details()[0]["index"], crop[None] * np.float32(1 / 255))
    published.invoke()
    wanted = {one["name"]: published.get_tensor(one["index"]) for one in published.get_output_details()}
    np.testing.assert_array_equal(points.ravel(), wanted["Identity"].ravel().astype(float))
    assert logit == wanted["Identity_1"].item()


def test_no_look_makes_a_face_of_noise():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    points = np.float32([[120, 130], [180, 130], [150, 160], [125, 190], [175, 190]])
    face = Face((90.0, 80.0, 120.0, 150.0), points, 0.9)
    assert not reliable(surest_landmarks(noise, face), face)


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
