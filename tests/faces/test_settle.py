"""Landmarks place a face in the same way from wherever it was detected."""

from dataclasses import replace

import numpy as np
import pytest

from maskhub.faces import settle as settle_module
from maskhub.faces.detect import detect
from maskhub.faces.settle import settle, settled
from maskhub.masks import wear


@pytest.fixture(scope="module")
def masked(astronaut):
    return wear(np.asarray(astronaut), seed=1).image


@pytest.fixture(scope="module")
def found(masked):
    return detect(masked)[0]


@pytest.mark.parametrize(("scale", "shift", "degrees"), [(1.15, (6, -5), 8), (0.9, (-7, 4), -10), (1, (0, 9), 0)])
def test_from_other_detections(masked, found, scale, shift, degrees):
    expected = settled(masked, found)
    box = np.array([*(np.array(found.box[:2]) + shift), *(np.array(found.box[2:]) * scale)])
    angle, middle = np.radians(degrees), found.points.mean(0)
    turn = np.float32([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    other = replace(found, box=tuple(box), points=(found.points - middle) @ turn.T + middle + np.float32(shift))
    apart = settled(masked, other).sides - expected.sides
    assert np.linalg.norm(apart, axis=1).max() < 0.012 * found.box[2]


def test_an_unsure_network_still_places_a_face(masked, found, monkeypatch):
    expected, real = settled(masked, found), settle_module.look
    monkeypatch.setattr(settle_module, "look", lambda *args: (real(*args)[0], 0.2))
    assert settled(masked, found) is None
    unsure = settle(masked, found, surely=False)
    assert not unsure.sure and unsure.face.sides == pytest.approx(expected.sides)


def test_in_another_orientation(masked, found):
    middle = found.points.mean(0)
    lying = (found.points - middle) @ np.float32([[0, 1], [-1, 0]]) + middle
    assert settled(masked, replace(found, points=lying)) is None


def test_no_face(found):
    assert settled(np.full((512, 512, 3), 127, np.uint8), found) is None
