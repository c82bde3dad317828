"""Detection on the astronaut's portrait, at any size and turn."""

import numpy as np
import pytest
from PIL import Image

from maskhub.faces.detect import FaceDetector, detect


@pytest.fixture(scope="module")
def upright(astronaut):
    return detect(np.asarray(astronaut))[0]


def middle_of(face):
    left, top, width, height = face.box
    return np.array([left + width / 2, top + height / 2])


def test_the_face_is_where_it_is(upright):
    assert middle_of(upright) == pytest.approx([223, 115], abs=12)
    assert abs(upright.roll) < 12
    assert upright.points[0, 0] < upright.points[1, 0]
    assert upright.points[3:, 1].min() > upright.points[2, 1]


@pytest.mark.parametrize("scale", [0.25, 2, 6])
def test_at_any_size(astronaut, upright, scale):
    side = round(512 * scale)
    (face,) = detect(np.asarray(astronaut.resize((side, side))))
    assert middle_of(face) / scale == pytest.approx(middle_of(upright), abs=8)


def test_a_crop_without_margin(astronaut):
    assert len(detect(np.asarray(astronaut.crop((165, 45, 285, 195))))) == 1


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_turned_photos(astronaut, quarter_turns):
    faces = FaceDetector()(np.ascontiguousarray(np.rot90(np.asarray(astronaut), quarter_turns)))
    assert len(faces) == 1
    expected = {1: -90, 2: 180, 3: 90}[quarter_turns]
    assert abs((faces[0].roll - expected + 180) % 360 - 180) < 15


@pytest.mark.parametrize(
    ("upright_score", "turned_score", "turned"),
    [(0.83, 0.85, False), (0.0, 0.83, False), (0.75, 0.86, True), (0.88, 0.93, True)],
)
def test_a_face_is_not_turned_for_a_trifle(astronaut, monkeypatch, upright_score, turned_score, turned):
    detector, looked = FaceDetector(), []
    row = np.concatenate([[150, 60, 120, 150], np.full(10, 200.0), [max(upright_score, 0.8) - 0.02]]).astype(np.float32)
    scores = iter([upright_score, *[0.1] * 2, turned_score, *[0.1] * 4])  # the third turn is upside down
    monkeypatch.setattr(detector, "_score", lambda window: next(scores))
    monkeypatch.setattr(detector, "_find", lambda image: looked.append(image) or row[None])
    detector(np.asarray(astronaut))
    assert (len(looked) == 2) == turned


def test_a_lying_face_next_to_an_upright_one_is_righted(astronaut):
    photo = np.full((400, 700, 3), 128, np.uint8)
    head = np.asarray(astronaut)[0:260, 90:350]
    photo[70:330, 40:300], photo[70:330, 380:640] = head, head[::-1, ::-1]
    faces = sorted(FaceDetector()(photo), key=lambda face: face.box[0])
    assert [abs(face.roll) > 150 for face in faces] == [False, True]
    points = np.float32([659, 399]) - faces[1].points + np.float32([20, 0])
    assert np.linalg.norm(points - faces[0].points, axis=1).mean() < 0.1 * faces[0].box[2]


def test_several_faces_largest_first(astronaut):
    photo = Image.new("RGB", (900, 512), "grey")
    photo.paste(astronaut, (0, 0))
    photo.paste(astronaut.resize((256, 256)), (600, 100))
    faces = detect(np.asarray(photo))
    assert len(faces) == 2
    assert faces[0].box[2] > faces[1].box[2]


def test_no_face():
    assert detect(np.full((200, 300, 3), 127, np.uint8)) == []
    assert FaceDetector(turn=False)(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)) == []
