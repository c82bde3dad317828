"""Detection on the astronaut's portrait, at any size and turn."""

import cv2
import numpy as np
import pytest
from PIL import Image

from maskhub.errors import PhotoError
from maskhub.faces import align
from maskhub.faces import detect as detect_module
from maskhub.faces import view as view_module
from maskhub.faces.detect import FaceDetector, detect
from maskhub.faces.mesh import PRESENT
from maskhub.faces.settle import Settled
from maskhub.faces.view import View
from maskhub.masks import wear


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


@pytest.mark.parametrize(
    ("size", "pad"), [((256, 256), (38, 38)), ((320, 373), (48, 24)), ((640, 480), (32, 40)), ((4000, 3000), (54, 57))]
)
def test_large_photos_get_less_margin(size, pad):
    view = View.of(np.zeros((*size[::-1], 3), np.uint8), 1024, detect_module.MARGIN)
    assert view.pad == pad
    for side, own in zip(view.image.shape[1::-1], pad, strict=True):
        # whole cells less than it would be: faces stay where they are on YuNet's grids
        assert (round(detect_module.MARGIN * side) - own) % 32 == 0 and own >= detect_module.MARGIN * side / 3


def test_less_margin_finds_the_same(astronaut, monkeypatch):
    photo = np.asarray(astronaut)  # not closer: that window is cut a fraction of a pixel aside
    (found,) = detect(photo, closer=False)
    monkeypatch.setattr(view_module, "_pad", lambda side, margin: round(side * margin))
    (wanted,) = detect(photo, closer=False)
    assert np.abs(found.points - wanted.points).max() < 0.005 * wanted.box[2]
    assert found.score == pytest.approx(wanted.score, abs=0.01)


@pytest.mark.parametrize("corner", [(-200, 60), (60, -85), (250, 0)])
def test_a_face_at_the_border_of_a_large_photo(astronaut, corner):
    photo = Image.new("RGB", (640, 480) if corner[0] < 250 else (500, 480), "grey")
    photo.paste(astronaut, corner)
    assert len(detect(np.asarray(photo))) == 1


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
def test_a_face_without_landmarks_is_not_turned_for_a_trifle(
    astronaut, monkeypatch, upright_score, turned_score, turned
):
    detector, looked = FaceDetector(settle=False), []
    row = np.concatenate([[150, 60, 120, 150], np.full(10, 200.0), [max(upright_score, 0.8) - 0.02]]).astype(np.float32)
    scores = {0: upright_score, 180: turned_score}
    set_settle(monkeypatch)
    monkeypatch.setattr(detector, "_in_window", lambda view, row, at: np.append(row[:14], scores.get(at, 0.1)))
    monkeypatch.setattr(detector._net, "detect", lambda *image: looked.append(image) or row[None])
    detector(np.asarray(astronaut))
    assert (len(looked) == 2) == turned


def set_settle(monkeypatch, settle=lambda photo, face, surely: None):
    """Place faces by this instead of their landmarks; by default it places no face."""
    for module in (detect_module, view_module):
        monkeypatch.setattr(module, "settle", settle)


def rows(*scores, taller=1.3):
    """Rows of YuNet with these scores: the astronaut's face, in a box of this height in widths."""
    points = [205, 110, 240, 110, 222, 130, 210, 150, 236, 150]
    return np.float32([[180, 120 - 45 * taller, 90, 90 * taller, *points, score] for score in scores]).reshape(-1, 15)


@pytest.mark.parametrize(
    ("row", "over", "row_worn", "over_worn", "present", "over_present", "turned"),
    [
        (0.91, 0.9, 0.1, 0.98, 0, 0, True),  # upside down
        (0.91, 0.9, 0.98, 0.98, 0, 0, False),
        (0.91, 0.75, 0.1, 0.98, 0, 0, False),  # its score upright is too low
        (0.91, 0.9, 0.1, 0.98, 0.95, 0.2, False),  # hair or a forehead was taken for a mask
        (0.91, 0.9, 0.1, 0.98, 0.95, 0.9, True),
        (0.91, 0.9, 0.98, 0.1, 0.2, 0.95, True),
        (0.91, 0.9, 0.98, 0.1, 0.93, 0.95, False),
        (0.91, 0.9, 0.98, 0.1, 0, 0, False),
        (0.86, 0.91, 0.98, 0.1, 0.95, 0.97, True),  # YuNet is clearly surer
        (0.91, 0.86, 0.1, 0.98, 0.97, 0.95, False),
        (0.91, 0.93, 0.995, 0.9, 1, 0.98, False),  # landmarks and masks in both, but only one mask is certain
        (0.91, 0.9, 0.9, 0.995, 1, 0.98, True),
        (0.91, 0.93, 0.9, 0.9, 1, 0.98, True),
        (0.91, 0.9, 0.9, 0.995, 1, 0.9, False),
    ],
)
def test_a_mask_or_landmarks_show_that_a_sure_face_is_upside_down(
    astronaut, monkeypatch, row, over, row_worn, over_worn, present, over_present, turned
):
    detector, (row,) = FaceDetector(), rows(row, taller=1.05)
    view = view_module.View.of(np.asarray(astronaut), 1024, 0)
    assert view_module.overturned(row) and not view_module.overturned(rows(0.91)[0])
    (found,) = rows(over)
    found[4:14] = found[[6, 7, 4, 5, 8, 9, 12, 13, 10, 11]]
    monkeypatch.setattr(detector, "_in_window", lambda view, row, degrees: found)

    def settle(photo, face, surely):
        presence = over_present if abs(face.roll) > 90 else present
        return Settled(face, presence) if presence >= (PRESENT if surely else 0.01) else None

    set_settle(monkeypatch, settle)
    monkeypatch.setattr(view_module, "worn", lambda photo, face: over_worn if abs(face.roll) > 90 else row_worn)
    assert abs(detector._way_up(view, row)) == pytest.approx(180 if turned else 0)


@pytest.mark.parametrize(("mask", "degrees"), [(0.999, -45), (0.9, 135)])
def test_of_two_orientations_the_one_with_a_certain_mask_is_taken(astronaut, monkeypatch, mask, degrees):
    """The face's own mask at -45°, and a hint of one at 135°, where YuNet's score is higher."""
    detector, (row,) = FaceDetector(), rows(0.66)
    found = {-45: rows(0.82)[0], 135: rows(0.86)[0] + np.float32([1, *np.zeros(14)])}
    monkeypatch.setattr(detector, "_in_window", lambda view, row, at: found.get(at))
    monkeypatch.setattr(View, "stands", lambda view, row, surely=True: False)
    monkeypatch.setattr(View, "settled", lambda view, row, surely=True: Settled(view.face(row), 1.0))
    confidence = {row.tobytes(): 1.0, found[-45].tobytes(): mask, found[135].tobytes(): 0.85}
    monkeypatch.setattr(View, "worn", lambda view, row: confidence[row.tobytes()])
    assert detector._way_up(View.of(np.asarray(astronaut), 1024, 0), row) == degrees


@pytest.mark.parametrize(("score", "masked", "found"), [(0.5, 0.85, 1), (0.5, 0.75, 0), (0.3, 0.95, 0)])
def test_a_face_that_yunet_doubts_is_found_by_its_mask(astronaut, monkeypatch, score, masked, found):
    detector = FaceDetector()
    answers = iter([rows(score)[: int(score >= detector._net.threshold)]])
    monkeypatch.setattr(detector._net, "detect", lambda *image: next(answers, rows()))
    set_settle(monkeypatch)
    monkeypatch.setattr(view_module, "worn", lambda photo, face: masked)
    assert len(detector(np.asarray(astronaut))) == found


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


@pytest.fixture(scope="module")
def masked(astronaut):
    return wear(np.asarray(astronaut), seed=1).image


def turned(picture, degrees):
    """The picture turned clockwise on a canvas of 720×720, and the 3×3 matrix of the turn."""
    matrix = cv2.getRotationMatrix2D((255.5, 255.5), -degrees, 1.0)
    matrix[:, 2] += 104
    out = cv2.warpAffine(picture, matrix, (720, 720), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return out, np.vstack([matrix, (0, 0, 1)])


def test_a_turned_face_has_the_same_crop(masked):
    corners = np.float64([[[40, 40], [216, 40], [216, 216], [40, 216]]])
    crops = []
    for degrees in (35, 100, 190, 305):
        photo, turn = turned(masked, degrees)
        (face,) = detect(photo)
        assert face.sides is not None
        to_crop = np.vstack([align.alignment(face, 256), (0, 0, 1)]) @ turn
        crops.append(cv2.transform(corners, np.linalg.inv(to_crop)[:2])[0])
    apart = np.linalg.norm(np.array(crops) - np.mean(crops, 0), axis=2)
    assert apart.max() < 0.015 * 256 * np.linalg.norm(crops[0][1] - crops[0][0]) / 176


@pytest.mark.parametrize(("size", "tilt"), [(48, -20), (64, 20), (80, 10)])
def test_a_small_face_is_found_as_tilted_as_it_is(astronaut, size, tilt):
    (large,) = detect(np.asarray(astronaut))
    scale = size / large.box[2]
    matrix = cv2.getRotationMatrix2D((205, 120), -tilt, scale)
    matrix[:, 2] += np.array([160, 120]) - (205, 120)
    source = cv2.GaussianBlur(np.asarray(astronaut), (0, 0), 0.4 / scale)
    photo = cv2.warpAffine(source, matrix, (320, 240), borderMode=cv2.BORDER_REPLICATE)
    (face,), (unaided,) = detect(photo), detect(photo, closer=False)
    assert abs(face.roll - large.roll - tilt) < 4
    assert unaided.sides is not None or abs(unaided.roll - large.roll - tilt) > 6  # else not such a face


def test_an_upright_sure_face_is_not_looked_at_again(astronaut, monkeypatch):
    set_settle(monkeypatch, lambda photo, face, surely: pytest.fail("another look"))
    (face,) = detect(np.asarray(astronaut))
    assert face.score >= detect_module.SURE and face.sides is None


def test_a_face_moves_with_its_photo(masked):
    photo, _ = turned(masked, 60)
    (face,) = detect(photo)
    moved = align.alignment(face.moved(0.5, (10, -4)), 256)
    to_original = np.array([[2, 0, -20], [0, 2, 8], [0, 0, 1]])
    assert moved == pytest.approx(align.alignment(face, 256) @ to_original, abs=1e-3)


def test_no_face():
    assert detect(np.full((200, 300, 3), 127, np.uint8)) == []
    assert FaceDetector(turn=False)(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (Image.fromarray, "Image"),
        (lambda pixels: pixels / 255, r"float64 of shape \(512, 512, 3\)"),
        (lambda pixels: pixels[..., 0], r"uint8 of shape \(512, 512\)"),
        (lambda pixels: np.dstack([pixels, pixels[..., 0]]), r"uint8 of shape \(512, 512, 4\)"),
        (lambda pixels: pixels[:0], r"uint8 of shape \(0, 512, 3\)"),
    ],
    ids=["picture", "float", "grey", "alpha", "empty"],
)
def test_what_is_no_rgb_array_is_refused(astronaut, change, what):
    with pytest.raises(PhotoError, match=rf"the photo must be a uint8 array of shape H×W×3 \(RGB\), not {what}\."):
        detect(change(np.asarray(astronaut)))
