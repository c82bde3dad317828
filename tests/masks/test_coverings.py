"""Sunglasses, scarves, hands and microphones before the astronaut's face."""

import cv2
import numpy as np
import pytest

from maskhub.errors import ConfigError
from maskhub.faces.landmarks import moved_landmarks
from maskhub.masks import COVERED, COVERING_COLOURS, COVERINGS, RANDOM_COVERING, STYLES, wear

from .conftest import at

EYES, NOSE, LIPS, FOREHEAD = (159, 386), 1, 14, 10


@pytest.mark.parametrize("style", COVERINGS)
def test_every_covering_changes_only_its_region(photo, points, style):
    before = photo.copy()
    worn = wear(photo, style=style, seed=3, landmarks=points)
    np.testing.assert_array_equal(photo, before)
    assert (worn.style, worn.worn) == (style, COVERED)
    assert worn.colour in COVERING_COLOURS[style]
    np.testing.assert_array_equal(worn.image[worn.region == 0], photo[worn.region == 0])
    assert 0.99 < worn.region.max() <= 1
    assert 0.004 < (worn.region > 0.5).mean() < 0.3
    again = wear(photo, style=style, seed=3, landmarks=points)
    np.testing.assert_array_equal(worn.image, again.image)
    np.testing.assert_array_equal(worn.region, again.region)


@pytest.mark.parametrize("seed", range(4))
def test_each_covers_what_its_name_says(photo, points, seed):
    glasses = wear(photo, style="sunglasses", seed=seed, landmarks=points)
    assert min(at(glasses.region, points, eye) for eye in EYES) > 0.9
    assert at(glasses.region, points, LIPS) == 0
    assert glasses.image[glasses.region > 0.9].mean() < photo[glasses.region > 0.9].mean()
    scarf = wear(photo, style="scarf", seed=seed, landmarks=points)
    assert at(scarf.region, points, LIPS) > 0.9
    assert max(at(scarf.region, points, eye) for eye in EYES) == 0


def test_a_hand_has_the_skin_of_the_face(photo, points):
    for seed in range(3):
        worn = wear(photo, style="hand", seed=seed, colour="bare", landmarks=points)
        hand = np.median(worn.image[worn.region > 0.9], 0)
        cheeks = np.median([photo[int(y), int(x)] for x, y in points.points[[50, 280, 151, 205, 425], :2]], 0)
        assert np.abs(hand - cheeks).max() < 60


def test_colours_random_coverings_and_faults(photo, points):
    red = wear(photo, style="scarf", seed=1, colour="red", landmarks=points)
    r, g, b = red.image[red.region > 0.95].mean(0)
    assert r > 1.3 * g
    assert r > 1.3 * b
    drawn = {wear(photo[:260], style=RANDOM_COVERING, seed=seed, landmarks=points).style for seed in range(14)}
    assert drawn == set(COVERINGS)
    assert wear(photo, seed=3, landmarks=points).style in STYLES  # random means masks only
    with pytest.raises(ConfigError, match="colour 'mauve'"):
        wear(photo, style="hand", colour="mauve", landmarks=points)


def test_large_photos_and_faces_at_the_edge(photo, points):
    large = cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    twice = moved_landmarks(points, np.float64([[2, 0, 0.5], [0, 2, 0.5]]))
    for style in COVERINGS:
        worn = wear(large, style=style, seed=2, landmarks=twice)
        assert 0.004 < (worn.region > 0.5).mean() < 0.3
        x0, y0 = int(points.points[1, 0]), int(points.points[1, 1])
        part = np.ascontiguousarray(photo[: y0 + 20, : x0 + 10])
        wear(part, style=style, seed=2, landmarks=points)
