"""Faces that several detections agree on: the astronaut's, profiles of the shared photos, and none in noise."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from maskhub.faces.agreed import agreed
from maskhub.faces.detect import detect
from maskhub.faces.face import Face
from maskhub.faces.landmarks import landmarks, posed_mean_face, reliable, surest_landmarks
from maskhub.faces.yunet import YuNet

FACES = Path(__file__).parents[3] / "shared" / "faces"


@pytest.mark.parametrize("turn", [0, 35])
@pytest.mark.parametrize("scale", [0.4, 4])
def test_the_astronaut_is_found_in_the_same_place(astronaut, turn, scale):
    matrix = cv2.getRotationMatrix2D((223, 115), -turn, 1) * scale
    image = cv2.warpAffine(np.asarray(astronaut), matrix, (round(512 * scale),) * 2, borderMode=cv2.BORDER_REPLICATE)
    face = detect(image)[0]
    found = agreed(image, face)
    assert np.linalg.norm(found.points - face.points, axis=1).max() < 0.08 * face.box[2]
    assert found.score > 0.7


def test_nothing_agrees_in_noise_and_the_largest_side_is_not_searched(monkeypatch):
    sides, run = [], YuNet.detect
    monkeypatch.setattr(YuNet, "detect", lambda net, image, margin: sides.append(len(image)) or run(net, image, margin))
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    points = np.float32([[120, 130], [180, 130], [150, 160], [125, 190], [175, 190]])
    assert agreed(noise, Face((90.0, 80.0, 120.0, 150.0), points, 0.9)) is None
    assert sides == [96, 96, 128, 128, 176, 176, 224, 224]


def surest(image):
    image = np.asarray(image)
    face = detect(image)[0]
    return surest_landmarks(image, face), landmarks(image, face), face


@pytest.mark.skipif(not FACES.is_dir(), reason="the shared faces are not here")
@pytest.mark.parametrize(("name", "yaw"), [("fftrain7_00067", 70), ("fftrain2_00051", -64)])
def test_profiles_get_landmarks_where_detections_agree(name, yaw):
    image = Image.open(FACES / "more" / f"{name}.webp").convert("RGB")
    found, alone, face = surest(image)
    assert not reliable(alone, face)
    assert found.agreed
    assert reliable(found, face)
    assert found.yaw == pytest.approx(yaw, abs=6)
    left, top, width, height = face.box
    points = np.float32([image.width - 1, 0]) - face.points[[1, 0, 2, 4, 3]] * np.float32([1, -1])
    opposite = Face((image.width - 1 - left - width, top, width, height), points, face.score)
    mirrored = posed_mean_face(agreed(np.asarray(ImageOps.mirror(image)), opposite))
    assert mirrored.yaw == pytest.approx(-found.yaw, abs=1)
    assert mirrored.points[1, 0] == pytest.approx(image.width - 1 - found.points[1, 0], abs=2)


@pytest.mark.skipif(not FACES.is_dir(), reason="the shared faces are not here")
def test_detections_that_agree_on_a_masked_face_are_not_used():
    found, _, face = surest(Image.open(FACES / "masked" / "masked_01437.jpg").convert("RGB"))
    assert not found.agreed
    assert not reliable(found, face)
