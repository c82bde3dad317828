"""Aligned crops sit where the design says, and pasting changes nothing outside its region."""

import numpy as np
import pytest

from maskhub.faces.align import alignment, crop, paste, window
from maskhub.faces.face import Face

SHIFTED = np.array([[1.0, 0, -10], [0, 1, -10]])
"""A crop whose first pixel lies at (10, 10) of the photo."""


def face_at(x=100.0, y=80.0, width=50.0, degrees=0.0):
    """A face with given proportions, turned about the centre of its box."""
    box = (x, y, width, width * 1.3)
    middle = np.array([x + width / 2, y + width * 0.65])
    points = np.array([[0.3, 0.5], [0.7, 0.5], [0.5, 0.75], [0.35, 1.0], [0.65, 1.0]]) * width + (x, y)
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Face(box, ((points - middle) @ turn.T + middle).astype(np.float32), 0.9)


def apply(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("degrees", [0, 30, -20, 44])
@pytest.mark.parametrize("resolution", [64, 256])
def test_eyes_are_level_at_32_percent(degrees, resolution):
    face = face_at(degrees=degrees)
    right, left = apply(alignment(face, resolution), face.points[:2].astype(float))
    assert right[1] == pytest.approx(0.32 * resolution, abs=1e-3)
    assert left[1] == pytest.approx(0.32 * resolution, abs=1e-3)
    assert right[0] < left[0]


def test_the_side_is_1_4_face_widths():
    matrix = alignment(face_at(width=50), 128)
    assert np.sqrt(np.linalg.det(matrix[:, :2])) == pytest.approx(128 / (1.4 * 50))


def test_a_wider_crop_keeps_the_eyes_where_they_are():
    face = face_at()
    usual, wider = (apply(alignment(face, 128, wider), face.points[:2].astype(float)) for wider in (1, 1.25))
    assert np.allclose(wider.mean(0)[1], usual.mean(0)[1])
    assert np.allclose(usual[1, 0] - usual[0, 0], 1.25 * (wider[1, 0] - wider[0, 0]))


def test_an_upside_down_face_is_turned_upright():
    face = face_at(degrees=180)
    points = apply(alignment(face, 128), face.points.astype(float))
    assert points[3:, 1].min() > points[:2, 1].max()  # the mouth below the eyes


def test_crop_and_paste_give_the_photo_back():
    y, x = np.mgrid[:300, :300]
    photo = np.stack([x * 0.8, y * 0.8, (x + y) * 0.4], -1).astype(np.uint8)
    matrix = alignment(face_at(width=60, degrees=15), 84)
    part = crop(photo, matrix, 84)
    out, region = paste(photo, part, window(matrix, 84, photo), matrix)
    assert np.abs(out.astype(int) - photo).max() <= 2
    assert np.array_equal(out[region == 0], photo[region == 0])


def test_a_large_face_is_averaged_down_not_sampled():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    part = crop(stripes, alignment(face_at(200, 200, 600), 64), 64)
    assert np.abs(part.astype(int) - 127).max() < 40


def test_a_crop_finer_than_the_photo_is_averaged_down_not_sampled():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    photo = np.full((200, 200, 3), 127, np.uint8)
    matrix = alignment(face_at(), 512)
    out, region = paste(photo, stripes, window(matrix, 512, photo), matrix)
    assert np.abs(out[region > 0].astype(int) - 127).max() < 40


@pytest.mark.parametrize("place", [(-20, -30), (170, 150), (400, 400), (0, 0)])
def test_faces_over_the_edge(place):
    photo = np.full((200, 200, 3), 90, np.uint8)
    matrix = alignment(face_at(*place), 32)
    white = np.full((32, 32, 3), 255, np.uint8)
    out, region = paste(photo, white, window(matrix, 32, photo), matrix)
    assert out.shape == photo.shape
    assert np.array_equal(out[region == 0], photo[region == 0])
    assert (region.max() > 0.9) == (place != (400, 400))


def test_the_input_is_never_written_to():
    photo = np.full((200, 200, 3), 90, np.uint8)
    photo.flags.writeable = False
    matrix = alignment(face_at(), 32)
    paste(photo, np.zeros((32, 32, 3), np.uint8), window(matrix, 32, photo), matrix)


def test_the_window_ends_in_exact_zeros():
    here = window(SHIFTED, 128, np.zeros((400, 400, 3), np.uint8))
    assert here.dtype == np.float32
    assert here[0].max() == here[-1].max() == here[:, 0].max() == here[:, -1].max() == 0
    assert here[64, 64] == 1
    assert np.array_equal(here, here[::-1, ::-1])


def test_the_window_stays_open_at_the_photos_own_edges():
    photo = np.zeros((400, 400, 3), np.uint8)
    assert window(SHIFTED, 128, photo[:138, :138])[64:, 64:].min() == 1  # the photo ends where the crop does
    assert window(SHIFTED, 128, photo[:139, :139])[64:, 64:].min() == 1  # a single pixel is not enough to blend with
    assert window(SHIFTED, 128, photo[:141])[-1].max() == 0
    assert window(SHIFTED, 128, photo[:100])[-1, 64] == 1  # the crop extends beyond the photo
    assert window(SHIFTED, 128, photo[10:138, 10:138]).min() == 0  # the crop is another part of this one
    below = window(alignment(face_at(degrees=15), 128), 128, photo[:130])
    assert below[0].max() == 0
    assert below[-1].min() == 1


@pytest.mark.parametrize("channels", [(3,), ()])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_small_and_large_photos_and_regions_are_cut_out_alike(channels, kind):
    """Small ones take another way in OpenCV."""
    small = np.random.default_rng(0).integers(0, 256, (90, 120, *channels)).astype(kind)
    large = np.pad(small, [(0, 400), (0, 400)] + [(0, 0)] * len(channels))
    matrix = np.array([[1.1, 0.2, -20.3], [-0.2, 1.1, -6.7]])
    one, other = (crop(photo, matrix, 64) for photo in (small, large))
    assert one.shape == (64, 64, *channels)
    np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("degrees", [0, 70, 180, -135])
@pytest.mark.parametrize("apart", [(0.5, 4.0), (-3.0, -6.0), (-18.0, 1.0), (-18.0, -1.0)])
def test_a_profile_whose_eyes_nearly_coincide_stands_by_its_mouth(degrees, apart):
    upright = np.array(
        [[50, 50], [50 + apart[0], 50 + apart[1]], [30, 70], [46 + apart[0] / 2, 100], [52 + apart[0] / 2, 101]]
    )
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    face = Face((0, 0, 100, 130), (upright @ turn.T).astype(np.float32), 0.9)
    assert abs((face.roll - degrees + 180) % 360 - 180) < 6


def test_the_line_between_the_eyes_decides_on_all_other_faces():
    points = np.array([[30, 50], [70, 70], [50, 80], [35, 110], [65, 110]], np.float32)  # nobody's mouth is that skew
    assert Face((0, 0, 100, 130), points, 0.9).roll == pytest.approx(np.degrees(np.arctan2(20, 40)))
