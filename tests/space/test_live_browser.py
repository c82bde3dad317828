"""Webcam and Video in a browser, with a camera that shows the example's head."""

import re

import av
import pytest
from app_process import PATIENCE
from films import camera_file, film, written
from playwright.sync_api import expect
from visit import Visit, open_tab

from maskhub.provenance import read_provenance

expect.set_options(timeout=1000 * PATIENCE)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def context(launch, astronaut, tmp_path_factory):
    """A phone's browser whose camera shows the example's head."""
    camera = camera_file(tmp_path_factory.mktemp("camera") / "camera.y4m", film(astronaut, 8, size=(320, 240)))
    browser = launch(f"--use-file-for-fake-video-capture={camera}")
    yield browser.new_context(viewport={"width": 390, "height": 844}, permissions=["camera"])
    browser.close()


@pytest.fixture(scope="module")
def before_camera(app, context):
    """A visit by someone before that camera, who does all that the tests do."""
    here = Visit(context.new_page(), app.url)
    yield here
    here.page.close()
    assert here.strayed == []
    # gradio's page sends frames a little before its server knows of the stream, and after it is closed
    assert [words for words in here.complaints if "404 (Not Found)" not in words] == []


def test_a_mask_goes_on_before_the_camera(before_camera):
    here = before_camera
    # another visitor, ready before the turn of the first one begins: on a busy machine it may be over in a minute
    other = here.page.context.browser.new_page(permissions=["camera"])
    other.set_default_timeout(1000 * PATIENCE)
    other.goto(here.url)
    open_tab(other, "Webcam")
    other.click("#webcam-camera [title='grant webcam access']")
    open_tab(here.page, "Webcam")
    here.page.click("#webcam-camera [title='grant webcam access']")
    here.page.get_by_label("Put on").check()
    button = here.page.locator("#webcam-camera .button-wrap button").first
    assert button.inner_text().strip() == "Start"
    button.click()
    here.page.get_by_text(re.compile(r"\d frames/s · \d+ ms each · \d+ s left · 1 face")).wait_for()
    picture = here.page.locator("#webcam-result img")
    # nothing is written: the picture is in its address
    assert picture.get_attribute("src").startswith("data:image/jpeg;base64,")
    assert picture.evaluate("img => [img.naturalWidth, img.naturalHeight]") == [320, 240]
    assert here.fits()
    # whoever waits is told for how long
    other.locator("#webcam-camera .button-wrap button").first.click()
    other.locator("#webcam-rate", has_text="The camera is in use: one other visitor is ahead of you").wait_for()
    other.close()
    here.page.get_by_label("Original").click()
    here.page.get_by_text(re.compile(r"s left$")).wait_for()
    here.page.click("#webcam-snap")
    here.page.wait_for_selector("#webcam-snapshot img[src$='snapshot.jpg']")
    button.click()
    # no frame and no rate stay
    here.page.locator("#webcam-rate", has_text="Stopped.").wait_for()
    expect(picture).to_have_count(0)


def test_a_film_is_uploaded_masked_and_downloaded(before_camera, astronaut, tmp_path):
    here = before_camera
    clip = written(tmp_path / "clip.mp4", film(astronaut, 6), sound="aac")
    open_tab(here.page, "Video")
    here.page.set_input_files("#video-film input[type=file]", clip)
    here.page.locator("#video-status", has_text="0 seconds, 6 frames, 320×240.").wait_for()
    here.page.click("#video")
    here.page.locator("#video-status", has_text=re.compile(r"Masks swapped in 6 of 6 frames, \d+\.\d s")).wait_for()
    source = here.page.locator("#video-result video").get_attribute("src")
    (tmp_path / "made.mp4").write_bytes(here.page.request.get(source).body())
    assert read_provenance(tmp_path / "made.mp4").direction == "translate"
    with av.open(str(tmp_path / "made.mp4")) as made:
        assert sorted(stream.type for stream in made.streams) == ["audio", "video"]
    assert here.fits()


def test_a_film_that_takes_too_long_is_cancelled(before_camera, astronaut, tmp_path):
    here = before_camera
    clip = written(tmp_path / "long.mp4", film(astronaut, 400))
    open_tab(here.page, "Video")
    if here.page.locator("#video-film video").count():  # of the test before
        here.page.click("#video-film button[aria-label='Clear']")
        here.page.locator("#video-status p").wait_for(state="detached")
    here.page.set_input_files("#video-film input[type=file]", clip)
    here.page.wait_for_selector("#video-film video")
    begin, cancel = here.page.locator("#video"), here.page.locator("#video-cancel")
    assert cancel.is_disabled()
    begin.click()
    here.page.get_by_text(re.compile(r"Frame \d+ of 400")).wait_for()
    cancel.click()
    here.page.get_by_text("Cancelled.").wait_for()
    expect(cancel).to_be_disabled()
    expect(begin).to_be_enabled()
    expect(here.page.locator("#video-result video")).to_have_count(0)
    # each click counts, however soon after another
    for _ in range(3):
        begin.click()
        cancel.click()
    begin.click()
    here.page.get_by_text(re.compile(r"Frame \d+ of 400")).wait_for()
    # so does another film in its place
    here.page.click("#video-film button[aria-label='Clear']")
    here.page.locator("#video-status p").wait_for(state="detached")
    expect(cancel).to_be_disabled()
    begin.click()
    here.page.locator("#video-problem", has_text="There is no film yet").wait_for()
    expect(begin).to_be_enabled()
