"""The sheet over the face: in front of the skin, unwraps to its origin, and hides its far side."""

import numpy as np
import pytest

from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.masks.fit import Head, drape, unwrap


@pytest.fixture(scope="module")
def head(astronaut):
    image = np.asarray(astronaut)
    return Head.of(landmarks(image, detect(image)[0]))


def turned(head, degrees):
    """The same head, turned further to the picture's right by some degrees."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    return Head(head.origin, head.width, turn @ head.rotation, head.points)


def test_the_sheet_is_before_the_skin(head):
    sheet = drape(head)
    nose, chin = sheet.at([0.0, 0.0], [0.35, 0.95], sheet.head_points)
    assert nose[2] < head.points[1, 2] + 0.05
    assert abs(nose[0]) < 0.05
    assert chin[1] > 0.5


@pytest.mark.parametrize("degrees", [0, 40, -60])
def test_pixels_unwrap_to_their_place(head, degrees):
    head = turned(head, degrees)
    sheet = drape(head)
    seen = unwrap(sheet, (-0.8, 0.8), (0.1, 1.05), (512, 512))
    solid = (seen.cover > 0.99) & (seen.normals[..., 2] < -0.4) & (np.abs(seen.u) < 0.75)
    rows, columns = np.nonzero(solid)
    there = sheet.at(seen.u[solid], seen.v[solid])
    error = np.hypot(there[:, 0] - columns - seen.left, there[:, 1] - rows - seen.top)
    assert np.quantile(error, 0.95) < 0.5


def test_the_far_side_is_hidden(head):
    near = unwrap(drape(turned(head, 60)), (-0.8, 0.8), (0.1, 1.05), (512, 512))
    shown = near.u[near.cover > 0.99]
    assert (shown < -0.5).mean() > 0.15
    assert (shown > 0.5).mean() < 0.03


def test_outside_the_photo_is_none(head):
    assert unwrap(drape(head), (-0.8, 0.8), (0.1, 1.05), (20, 20)) is None
