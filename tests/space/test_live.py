"""What the Webcam and Video tabs do, without a browser."""

import base64
import copy
import io

import gradio as gr
import numpy as np
import pytest
from films import film, written
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from maskhub import FaceMaskPipeline
from maskhub.errors import ConfigError, VideoError
from maskhub.image_file import data_url, encoded
from maskhub.provenance import read_provenance
from space.tabs import video, webcam


def test_a_session_translates_measures_and_changes_its_way(astronaut, tiny_pipeline):
    session = copy.deepcopy(webcam.Session(tiny_pipeline))
    assert session.pipe is tiny_pipeline
    frames = list(film(astronaut, 4))
    for frame in frames:
        (made, way), text = session(frame, "mask")
    assert made.shape == frames[0].shape and not np.array_equal(made, frames[-1]) and way == "mask"
    assert "frames/s" in text and "s left" in text and text.endswith("1 face found: mask put on")
    (made, way), text = session(frames[0], "original")
    assert np.array_equal(made, frames[0]) and "face" not in text and way is None
    first = session.translator
    assert first is None
    (made, way), text = session(frames[0], "unmask")
    assert session.translator.direction == "unmask" and way is None  # nothing was changed
    assert np.array_equal(made, frames[0]) and text.endswith("1 face found: left as it is (no mask worn)")


def test_a_way_that_the_pipeline_lacks_is_an_error_at_every_frame(astronaut, tiny_pipeline):
    session = webcam.Session(FaceMaskPipeline(unmasker=tiny_pipeline.unmasker, resolution=64))
    frame = next(film(astronaut, 1))
    for way in ("auto", "auto", "unmask", "mask", "mask", "unmask"):
        if way == "unmask":
            session(frame, way)
        else:
            with pytest.raises(ConfigError, match="this pipeline has no masker"):
                session(frame, way)


@pytest.mark.parametrize(
    ("given", "shown"), [((480, 640), (480, 640)), ((1080, 1920), (360, 640)), ((800, 600), (480, 360))]
)
def test_large_frames_are_scaled_down(given, shown):
    assert webcam.fitted(np.zeros((*given, 3), np.uint8)).shape == (*shown, 3)


def test_a_live_picture_is_in_its_address(astronaut):
    frame = next(film(astronaut, 1))
    data = webcam.LiveImage().postprocess(webcam.Live(frame))
    assert data.path is None
    with Image.open(io.BytesIO(base64.b64decode(data.url.split(",", 1)[1]))) as image:
        assert np.abs(np.asarray(image).astype(int) - frame).mean() < 4
    assert webcam.LiveImage().postprocess(None) is None


@pytest.mark.parametrize("way", [None, "auto", "mask", "unmask"])
def test_a_snapshot_is_tagged_if_the_live_picture_was_changed(astronaut, tiny_pipeline, way):
    frame = next(film(astronaut, 1))
    shown = webcam.LiveImage().postprocess(webcam.Live(frame, way)).url
    problem, update = webcam.snapshot(tiny_pipeline, shown)
    found = read_provenance(update["value"])
    assert not problem and (found and found.direction) == {"auto": "translate"}.get(way, way)
    with Image.open(update["value"]) as picture:
        assert np.abs(np.asarray(picture).astype(int) - frame).mean() < 5 and "comment" not in picture.info


def test_a_comment_of_a_strange_picture_is_no_way(tiny_pipeline):
    given = data_url(encoded(Image.new("RGB", (64, 48)), "JPEG", comment="a\xff"))
    assert webcam.decoded(given).way is None
    text = PngInfo()
    text.add_text("comment", "a")
    assert webcam.decoded(data_url(encoded(Image.new("RGB", (64, 48)), pnginfo=text), "png")).way is None
    assert "no live picture" in webcam.snapshot(tiny_pipeline, None)[0]


def test_a_film_over_the_limits_is_refused_in_words(astronaut, tmp_path, monkeypatch):
    clip = written(tmp_path / "clip.mp4", film(astronaut, 5))
    video.check(clip)
    monkeypatch.setattr(video, "MOST_FRAMES", 4)
    with pytest.raises(VideoError, match="has 5 frames: cut it to 4"):
        video.check(clip)
    assert "has 5 frames" in video.about(clip)[0]  # before it is started
    with pytest.raises(VideoError, match=r"lasts 40 seconds: cut it to 30"):
        video.check(written(tmp_path / "long.mp4", film(astronaut, 2), [0, 39_960], rate=25))


class Recording:
    """A file to write a film to as browsers record one: nothing before the end is changed, such as its length."""

    def __init__(self, path):
        self.path = path

    def write(self, data):
        with open(self.path, "ab") as file:
            return file.write(data)


def test_a_film_of_unknown_length_is_bounded_too(astronaut, tmp_path, monkeypatch, tiny_pipeline):
    clip = tmp_path / "recorded.webm"
    written(Recording(clip), film(astronaut, 8, size=(64, 48)), codec="libvpx", kind="webm")
    assert "Length unknown, 64×48." in video.about(clip)[1]
    monkeypatch.setattr(video, "MOST_FRAMES", 4)
    *_, last = video.show(tiny_pipeline, video.begin(clip, "mask", None)[0])
    assert "This film has more than 4 frames: cut it." in last[0] and last[2] is None
    assert not list(tmp_path.rglob("*-masked.mp4"))


def test_a_camera_whose_turn_begins_waits_for_nobody():
    assert webcam.wait_words(None) == webcam.wait_words((0, 0.0)) == gr.skip()
    assert "one other visitor is ahead of you" in webcam.wait_words((1, 20.0))


@pytest.fixture
def begun(astronaut, tmp_path):
    """The job of a click on Start, with a film of 5 frames."""
    clip = written(tmp_path / "clip.mp4", film(astronaut, 5))
    return video.begin(clip, "mask", None)[0]


def test_of_two_clicks_the_newer_one_runs(begun, tiny_pipeline):
    newer, *shown = video.begin(begun.path, "unmask", begun)
    assert "Starting" in shown[1] and begun.ending == tuple(shown)
    # gradio's state holds the newest job, whichever click's turn it is
    *_, last = video.show(tiny_pipeline, newer)
    assert "wears a mask" in last[0] and last[3]["interactive"]
    assert list(video.show(tiny_pipeline, newer)) == [(gr.skip(),) * 5]


@pytest.mark.parametrize("steps", [0, 1], ids=["while it waits", "while it runs"])
def test_a_stopped_film_shows_no_result(steps, begun, tiny_pipeline, monkeypatch):
    monkeypatch.setattr(video, "TELL_EVERY", 0)
    running = video.show(tiny_pipeline, begun)
    for _ in range(steps):
        next(running)
    assert video.stop(("", "Cancelled.", None, {}, {}), begun) == begun.ending
    assert list(running) == [begun.ending]


def test_without_a_film_nothing_waits_for_its_turn(tiny_pipeline):
    job, *shown = video.begin(None, "auto", None)
    assert "There is no film yet" in shown[0] and shown[3]["interactive"]
    assert list(video.show(tiny_pipeline, job)) == [tuple(shown)]
