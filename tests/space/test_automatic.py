"""The automatic direction: each face as it asks for it, in words a visitor understands."""

import numpy as np
import pytest
from PIL import Image

from maskhub import NoFaceError
from maskhub.masks import wear
from space.automatic import Automatic, said, translate


@pytest.fixture(scope="module")
def couple(astronaut):
    """A bare face on the left, and a smaller one in a mask on the right."""
    photo = Image.new("RGB", (760, 512))
    photo.paste(astronaut, (0, 0))
    masked = wear(astronaut, style="surgical", colour="blue", seed=2).image.crop((100, 0, 348, 250))
    photo.paste(masked.resize((198, 200)), (537, 100))
    return photo


@pytest.mark.parametrize("direction", ["mask", "unmask"])
def test_one_face_is_the_pipelines_own(astronaut, tiny_pipeline, direction):
    photo = astronaut if direction == "mask" else wear(astronaut, style="kn95", seed=1).image
    done, expected = translate(tiny_pipeline, photo), tiny_pipeline(photo, direction, details=True)
    assert done.directions == [direction] and done.boxes == expected.boxes[0]
    assert np.array_equal(np.asarray(done.image), np.asarray(expected.images[0]))
    assert np.array_equal(done.region, expected.regions[0])


def test_each_face_goes_its_own_way(couple, tiny_pipeline):
    done = translate(tiny_pipeline, couple)
    assert done.directions == ["mask", "unmask"]
    made, before = np.asarray(done.image), np.asarray(couple)
    for direction, columns in (("mask", slice(0, 512)), ("unmask", slice(512, 760))):
        assert np.array_equal(made[:, columns], np.asarray(tiny_pipeline(couple, direction))[:, columns])
        assert (made[:, columns] != before[:, columns]).any()
    assert said(done).startswith("2 faces found: 1 with a mask, taken off; 1 without, put on (least sure: ")


def test_alpha_is_kept_and_no_face_is_said(astronaut, tiny_pipeline):
    photo = astronaut.copy()
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    made = translate(tiny_pipeline, photo).image
    assert made.mode == "RGBA" and np.array_equal(np.asarray(made)[..., 3], np.asarray(photo)[..., 3])
    with pytest.raises(NoFaceError, match="no face was found"):
        translate(tiny_pipeline, Image.new("RGB", (200, 200), "grey"))


def test_the_words():
    box = (0, 0, 9, 9)
    assert said(Automatic(None, None, [box], [0.98], ["unmask"])) == (
        "1 face found: it wears a mask, so the mask was taken off (mask detector: 0.98 of 1)."
    )
    assert "it wears none, so one was put on (mask detector: 0.02 of 1)" in said(
        Automatic(None, None, [box], [0.02], ["mask"])
    )
    text = said(Automatic(None, None, [box] * 3, [0.1, 0.6, 0.9], ["mask", None, "unmask"]))
    assert "1 that could not be translated" in text and "least sure: 0.60 of 1" in text
