"""Covered faces: found in small copies of tight crops, and placed where the mask detector is surest."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from maskhub.data.masked import Wearing, mask_faces
from maskhub.faces.align import alignment
from maskhub.faces.covered import covered_face, covered_place
from maskhub.faces.detect import FaceDetector, detect

FACES = Path(__file__).parents[3] / "shared" / "faces"
CORNERS = np.float64([[[0, 0], [255, 0], [0, 255], [255, 255]]])


def apart(face, other):
    """Mean distance of the corners of a face's crop from those of another's, in pixels of 256."""
    to_photo = cv2.invertAffineTransform(alignment(other, 256))
    return np.linalg.norm(
        cv2.transform(cv2.transform(CORNERS, to_photo), alignment(face, 256)) - CORNERS, axis=2
    ).mean()


def test_a_masked_face_that_fills_the_photo_is_found_where_it_is(masked_astronaut):
    photo = np.asarray(masked_astronaut)
    left, top, width, height = (round(number) for number in detect(photo)[0].box)
    close = photo[top - height // 8 : top + height, left - width // 8 : left + width + width // 8]
    found, face = covered_face(close), detect(close)[0]
    assert np.abs(np.subtract(found.box, face.box)).max() < 0.15 * face.box[2]
    assert np.linalg.norm(found.points[:2] - face.points[:2], axis=1).max() < 0.1 * face.box[2]
    assert covered_face(photo) is None, "a small face is not searched for"


def test_a_bare_face_is_found_too_and_none_in_noise(astronaut):
    photo = np.asarray(astronaut)[30:220, 140:310]
    assert np.abs(np.subtract(covered_face(photo).box, detect(photo)[0].box)).max() < 10
    assert covered_face(photo[:90, :80]) is None, "no copy of a small photo counts twice"
    assert covered_face(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)) is None


@pytest.mark.skipif(not FACES.is_dir(), reason="the shared faces are not here")
@pytest.mark.parametrize("name", ["fftrain2_00283.webp", "fftrain18_00334.webp"])
def test_masked_profiles_of_low_scores_are_found(name):
    bare = np.asarray(Image.open(FACES / "more" / name).convert("RGB"))
    masked = mask_faces(bare, Wearing(seed=0), name).image
    truth, found = detect(bare)[0], detect(masked)
    assert len(found) == 1 and not FaceDetector(turn=False)(masked)
    assert apart(found[0], truth) < 45
    assert len(detect(cv2.resize(masked, None, fx=4, fy=4))) == 1


@pytest.mark.parametrize("turn", [0, 180])
def test_a_misplaced_masked_face_is_placed_where_it_is(masked_astronaut, turn):
    matrix = cv2.getRotationMatrix2D((223, 115), -turn, 1)
    photo = cv2.warpAffine(np.asarray(masked_astronaut), matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    face = detect(photo)[0]
    left, top, width, height = face.box
    up = np.float32([0, -0.15 * height if turn == 0 else 0.15 * height])
    box = left, top if turn == 0 else top + 0.3 * height, width * 0.8, height * 0.7
    high = replace(face, box=box, points=face.points + up, sides=None)
    assert apart(high, face) > 35
    assert apart(covered_place(photo, high), face) < 20


def test_a_bare_face_is_placed_by_others(astronaut):
    photo = np.asarray(astronaut)
    assert covered_place(photo, detect(photo)[0]) is None


def test_a_neighbour_does_not_take_the_place(masked_astronaut):
    face = np.asarray(masked_astronaut)[30:230, 130:320]
    photo = np.hstack([cv2.resize(face, (114, 200)), face])
    first, second = sorted(detect(photo), key=lambda one: one.box[0])
    assert apart(covered_place(photo, first, [second]), first) < 40
    assert apart(covered_place(photo, second, [first]), second) < 20


def test_a_row_is_the_inverse_of_its_face(astronaut):
    view = FaceDetector(max_side=300).view(np.asarray(astronaut))
    assert np.allclose(view.row(view.face(view.rows[0])), view.rows[0], atol=1e-3)
