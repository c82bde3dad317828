"""Faces that several detections agree on: the astronaut's, profiles of the shared photos, masked ones, and none in
noise."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from maskhub.data.masked import Wearing, mask_faces
from maskhub.faces.agreed import agreed, agreed_face
from maskhub.faces.align import alignment
from maskhub.faces.detect import FaceDetector, detect
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
    found, _, face = surest(Image.open(FACES / "masked" / "masked_01102.jpg").convert("RGB"))
    assert not found.agreed
    assert not reliable(found, face)


def test_a_masked_face_that_fills_the_photo_is_found_where_it_is(masked_astronaut):
    photo = np.asarray(masked_astronaut)
    left, top, width, height = (round(number) for number in detect(photo)[0].box)
    close = photo[top - height // 8 : top + height, left - width // 8 : left + width + width // 8]
    found, face = agreed_face(close), detect(close)[0]
    assert np.abs(np.subtract(found.box, face.box)).max() < 0.15 * face.box[2]
    assert np.linalg.norm(found.points[:2] - face.points[:2], axis=1).max() < 0.1 * face.box[2]
    assert agreed_face(photo) is None, "a small face is not searched for"


def test_a_bare_face_is_found_too_and_none_in_noise(astronaut):
    photo = np.asarray(astronaut)[30:220, 140:310]
    assert np.abs(np.subtract(agreed_face(photo).box, detect(photo)[0].box)).max() < 10
    assert agreed_face(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)) is None


@pytest.mark.skipif(not FACES.is_dir(), reason="the shared faces are not here")
@pytest.mark.parametrize("name", ["fftrain2_00283.webp", "fftrain4_00312.webp"])
@pytest.mark.parametrize("larger", [1, 4])
def test_masked_profiles_of_low_scores_are_found(name, larger):
    bare = np.asarray(Image.open(FACES / "more" / name).convert("RGB"))
    masked = mask_faces(bare, Wearing(seed=0), name).image
    bare, masked = (cv2.resize(image, None, fx=larger, fy=larger) for image in (bare, masked))
    truth, found = detect(bare)[0], detect(masked)
    assert len(found) == 1 and not FaceDetector(turn=False)(masked)
    corners = np.float64([[[0, 0], [255, 0], [0, 255], [255, 255]]])
    to_photo = cv2.invertAffineTransform(alignment(truth, 256))
    apart = cv2.transform(cv2.transform(corners, to_photo), alignment(found[0], 256)) - corners
    assert np.linalg.norm(apart, axis=2).mean() < 45
