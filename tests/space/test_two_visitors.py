"""Two visitors at once on every tab with a state: nobody gets what is somebody else's."""

import re

import numpy as np
import pytest
from app_process import ROOT
from films import film, written
from visit import DESKTOP, Visit, numbers, open_tab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def pair(chromium, app):
    """Two browsers, each with the app."""
    contexts = [chromium.new_context(viewport=DESKTOP) for _ in range(2)]
    visits = [Visit(context.new_page(), app.url) for context in contexts]
    yield visits
    for context in contexts:
        context.close()
    for here in visits:
        assert here.strayed == [] and here.complaints == []


@pytest.fixture
def photos_of(odd_files, astronaut, tmp_path):
    """A photo for each: the astronaut, and its mirror image in another size."""
    other = tmp_path / "other.png"
    astronaut.resize((300, 300)).transpose(0).save(other)
    return ASTRONAUT, other


def test_photo(pair, masked_file):
    first, second = pair
    first.upload(ASTRONAUT)
    second.upload(masked_file)
    for here in (first, second):
        here.page.wait_for_selector("#photo-photo img[src*=astronaut]")
    first.page.click("#swap")
    second.page.click("#swap")
    first.page.locator("#photo-faces", has_text="mask put on").wait_for()
    second.page.locator("#photo-faces", has_text=re.compile("mask (taken off|still there)")).wait_for()
    first.page.click("#photo-faces button")
    first.page.locator("#photo-looks button", has_text="neoprene").wait_for()
    second.page.click("#photo-faces button")
    second.page.locator("#photo-looks button", has_text="candidate 3").wait_for()
    assert first.page.locator("#photo-looks button", has_text="candidate").count() == 0


def test_drawn_masks(pair, photos_of):
    for here, photo in zip(pair, photos_of, strict=True):
        here.open_photo_tab("Drawn masks", "wear")
        here.upload(photo, "wear")
        here.page.wait_for_selector(f"#wear-photo img[src*={photo.stem}]")
    for here in pair:
        here.page.click("#wear")
    for here, photo in zip(pair, photos_of, strict=True):
        here.page.locator("#wear-status p").wait_for()
        before, after = (numbers(here.picture(f"#wear-result img >> nth={side}")) for side in (0, 1))
        assert before.shape == after.shape == ((512, 512, 3) if photo is ASTRONAUT else (300, 300, 3))
        assert np.abs(after - before).max() > 50


def test_compare(pair, photos_of):
    for here, photo in zip(pair, photos_of, strict=True):
        here.open_photo_tab("Compare", "compare")
        here.upload(photo, "compare")
        here.page.wait_for_selector(f"#compare-photo img[src*={photo.stem}]")
    for here, what in zip(pair, ("Put masks on", "On and off again"), strict=True):
        here.page.locator("#compare-what").get_by_label(what).check()
        here.page.click("#compare")
    for here, photo in zip(pair, photos_of, strict=True):
        here.page.locator("#compare-table table").wait_for()
        here.page.locator("#compare-pictures img >> nth=1").wait_for()
        sources = here.page.locator("#compare-pictures img").evaluate_all("images => images.map(image => image.src)")
        assert len(sources) >= 2 and all(photo.stem in source for source in sources)
        assert all(("cycle" if photo is not ASTRONAUT else "mask") in source for source in sources[1:])


def test_quiz(pair):
    for here in pair:
        open_tab(here.page, "Quiz")
    pair[1].page.locator("#quiz-length").get_by_label("22").check()
    for here in pair:
        here.page.click("#quiz-begin")
    for here, length in zip(pair, (10, 22), strict=True):
        here.page.get_by_text(f"Picture 1 of {length}").wait_for()
    pair[0].page.click("#quiz-real")
    pair[0].page.locator("#quiz-verdict p").wait_for()
    pair[0].page.click("#quiz-next")
    pair[0].page.get_by_text("Picture 2 of 10").wait_for()
    assert pair[1].page.get_by_text("Picture 1 of 22").is_visible()
    assert pair[1].page.locator("#quiz-verdict p").count() == 0


def test_video(pair, astronaut, tmp_path):
    for here, frames in zip(pair, (4, 6), strict=True):
        open_tab(here.page, "Video")
        clip = written(tmp_path / f"clip-{frames}.mp4", film(astronaut, frames, size=(160, 120)))
        here.page.set_input_files("#video-film input[type=file]", clip)
        here.page.locator("#video-status", has_text=f"{frames} frames").wait_for()
    for here in pair:
        here.page.click("#video")
    for here, frames in zip(pair, (4, 6), strict=True):
        here.page.locator("#video-status", has_text=re.compile(rf"in \d of {frames} frames")).wait_for()
        assert f"clip-{frames}" in here.page.locator("#video-result video").get_attribute("src")
