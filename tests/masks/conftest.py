"""The astronaut's photo and the landmarks of her face."""

import numpy as np
import pytest

from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks


@pytest.fixture(scope="module")
def photo(astronaut):
    return np.asarray(astronaut)


@pytest.fixture(scope="module")
def points(photo):
    return landmarks(photo, detect(photo)[0])


def at(region, points, number):
    """The value of a region at a landmark."""
    x, y = np.rint(points.points[number, :2]).astype(int)
    return region[y, x]
