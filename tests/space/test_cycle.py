"""A round trip whose start does not fit the photo takes the other one."""

from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from maskhub.errors import NoFaceError, NothingToDoError
from space.tabs import cycle


class Pipe:
    """A pipeline for photos on which only some starts are possible; ``searched`` counts how often it was given one."""

    def __init__(self, *possible, wrong=NothingToDoError):
        self.possible, self.wrong, self.searched = possible, wrong, 0

    def cycle(self, image, start, details):
        self.searched += 1
        if start not in self.possible:
            raise self.wrong(f"no way to {start}.")
        return SimpleNamespace(there=[image], images=[image], cycle_errors=[[3.0]])


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.mark.parametrize(("start", "other"), [("mask", "unmask"), ("unmask", "mask")])
def test_the_other_start_is_taken_and_reported(photo, start, other):
    problem, said, there, back, taken = cycle.show(Pipe(other), photo, start)
    assert (problem, taken) == ("", other)
    assert cycle.INSTEAD[other] in said and "Cycle error 3.0" in said
    assert (there["label"], back["label"]) == cycle.LABELS[other]


def test_a_start_that_fits_is_kept(photo):
    _, said, _, _, taken = cycle.show(Pipe("mask", "unmask"), photo, "unmask")
    assert taken == gr.skip() and "first" not in said


def test_without_any_way_the_first_problem_is_shown(photo):
    problem, *rest, taken = cycle.show(Pipe(), photo, "mask")
    assert "No way to mask." in problem
    assert (tuple(rest), taken) == (cycle.CLEARED, gr.skip())


def test_a_photo_without_a_face_is_searched_once(photo):
    pipe = Pipe("unmask", wrong=NoFaceError)
    problem, *_ = cycle.show(pipe, photo, "mask")
    assert "No way to mask." in problem and pipe.searched == 1
