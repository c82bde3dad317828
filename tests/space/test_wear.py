"""The tab that puts on masks by rule, as scripts use it: what is picked is what is worn."""

import numpy as np
import pytest
from app_process import ROOT
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from maskhub.data.masked import Wearing, mask_faces
from space.tabs import drawn

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def wear(app, tmp_path_factory):
    client = Client(app.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    yield lambda path, *options: client.predict(handle_file(str(path)), *options, api_name="/wear")
    client.close()


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_what_is_picked_is_worn(wear):
    masked, region, faces = wear(ASTRONAUT, "cloth", "navy", "nose-out", True, 7)
    before = pixels(ASTRONAUT)
    expected = mask_faces(before, Wearing(style="cloth", seed=7, colour="navy", worn="nose-out"), "")
    assert np.array_equal(pixels(masked), expected.image)
    assert np.array_equal(pixels(masked)[pixels(region) == 0], before[pixels(region) == 0])
    assert [(face["style"], face["colour"], face["worn"]) for face in faces] == [("cloth", "navy", "nose-out")]


def test_everyone_or_the_largest(wear, astronaut, tmp_path):
    head = astronaut.crop((120, 20, 330, 230))
    group = Image.new("RGB", (420, 210))
    group.paste(head, (0, 0))
    group.paste(head.resize((150, 150)), (230, 30))
    group.save(tmp_path / "group.png")
    assert [face["worn"] for face in wear(tmp_path / "group.png")[2]] == ["correctly", "correctly"]
    largest = wear(tmp_path / "group.png", "random", "random", "correctly", False, 0)[2]
    assert [face["worn"] for face in largest] == ["correctly", "unmasked"]


def test_another_seed_is_another_mask(wear):
    first, second = (pixels(wear(ASTRONAUT, "random", "random", "correctly", True, seed)[0]) for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_problems_are_said_in_plain_words(wear, bad_files):
    for name in ("text", "no face"):
        path, words = bad_files[name]
        with pytest.raises(AppError, match=words):
            wear(path)
    with pytest.raises(AppError, match="cloth masks come in"):
        wear(ASTRONAUT, "cloth", "no colour", "correctly", True, 0)


def test_page_treats_the_colour_of_another_style_as_any(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    problem, status, *_ = drawn.show(str(ASTRONAUT), "kn95", "navy", "correctly", True, 0, False)
    assert (problem, "KN95" in status) == ("", True)
