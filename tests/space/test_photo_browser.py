"""The Photo tab in a browser, as a visitor uses it: Chromium, headless, nothing but the app within reach."""

import re

import numpy as np
import pytest
from app_process import ROOT, start_app, stop_app
from PIL import Image
from visit import DESKTOP, PHONE, numbers

from maskhub.provenance import read_provenance

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"
SLOW = pytest.mark.slow


def viewports(quick):
    """Parametrize with both viewports: the other one in the slow tests."""
    both = {"desktop": DESKTOP, "phone": PHONE}
    marked = [pytest.param(both[name], marks=() if name == quick else SLOW, id=name) for name in both]
    return pytest.mark.parametrize("viewport", marked)


def result(here):
    """The two pictures of the Photo tab's slider."""
    return [numbers(here.picture(f"#photo-result img >> nth={side}")) for side in (0, 1)]


@viewports(quick="desktop")
def test_the_page_opens_with_a_finished_before_and_after(photo_page, phone_page, viewport):
    here = photo_page if viewport is DESKTOP else phone_page  # which no other test has used yet
    before, after = result(here)
    assert before.shape == after.shape and (before != after).any()
    assert re.match(r"(Mask taken off|Nothing was changed)", here.said("photo-status"))
    here.page.wait_for_function(
        "[...document.querySelectorAll('#photo-result img')].every(image => image.naturalWidth)"
    )
    box = here.page.locator("#photo-result img >> nth=1").bounding_box()
    assert box["y"] + 0.8 * box["height"] < viewport["height"]
    # the slider starts left of the face
    left = here.page.locator("#photo-result [data-testid=slider]").bounding_box()["x"] - box["x"]
    assert left < 0.25 * box["width"]
    names = here.page.locator("#tabs > .tab-wrapper [role=tab]").all_inner_texts()
    assert names[:2] == ["Photo", "Drawn masks"] and names[-1] == "Lab"
    assert all(tab.is_visible() for tab in here.page.locator("#tabs > .tab-wrapper [role=tab]").all())
    for address in ("model-card", "papers"):
        assert "<main><h1>" in here.page.request.get(f"{here.url}{address}").text()
    icon = here.page.request.get(f"{here.url}favicon.ico").body()
    assert icon == (ROOT / "space" / "favicon.png").read_bytes()
    preview = here.page.locator("meta[property='og:title']").last
    assert preview.get_attribute("content") == "maskhub"


def test_labels_do_not_cover_the_slider_of_a_panorama(here, tmp_path):
    with Image.open(ASTRONAUT) as photo:
        panorama = Image.new("RGB", (10 * photo.height, photo.height), "gray")
        panorama.paste(photo)
    panorama.save(tmp_path / "panorama.jpg")
    here.upload(tmp_path / "panorama.jpg")
    here.shown()
    here.page.click("#mask")
    here.page.locator("#photo-status", has_text="Mask put on in").wait_for()
    for viewport in (DESKTOP, PHONE):
        here.page.set_viewport_size(viewport)
        here.page.wait_for_function(
            "Math.abs(document.querySelector('#photo-result img').clientWidth - "
            "document.querySelector('#photo-result').clientWidth) < 4"
        )
        label = here.page.locator("#photo-result > label").bounding_box()
        for part in ("img >> nth=1", "[data-testid=slider]"):
            assert here.page.locator(f"#photo-result {part}").bounding_box()["y"] >= label["y"] + label["height"]
    here.page.set_viewport_size(DESKTOP)


@viewports(quick="phone")
def test_a_masked_example_is_swapped_in_one_click_and_ones_own_photo_in_two(visit, phone_page, viewport):
    here = phone_page if viewport is PHONE else visit(viewport)
    here.page.click("#photo-examples button >> nth=1")
    here.page.wait_for_function("document.querySelectorAll('#photo-faces button').length == 6")
    with here.page.expect_file_chooser() as chooser:
        here.page.click("#upload")
    chooser.value.set_files(ASTRONAUT)
    here.page.wait_for_selector("#photo-photo img[src*=astronaut]")
    here.page.click("#swap")
    here.page.locator("#photo-status", has_text="Mask put on in").wait_for()
    here.page.wait_for_function("document.querySelectorAll('#photo-faces button').length == 1")
    # the result and its buttons are on screen after a run
    here.page.wait_for_function(
        "['#photo-result', '#photo-download'].map(place => document.querySelector(place).getBoundingClientRect())"
        ".every(box => box.top > -40 && box.bottom < innerHeight + 40)"
    )
    assert here.fits()


@pytest.mark.parametrize(("button", "direction"), [("Put masks on", "mask"), ("Take masks off", "unmask")])
def test_a_photo_is_uploaded_translated_compared_and_downloaded(here, pipe, masked_file, tmp_path, button, direction):
    photo = ASTRONAUT if direction == "mask" else masked_file
    here.chooses("photo-format", "As uploaded")
    here.upload(photo)
    here.page.wait_for_selector("#photo-photo img[src*=astronaut]")
    here.page.get_by_role("button", name=button).click()
    here.page.locator("#photo-faces button").wait_for()
    # a JPEG for a JPEG, a PNG by choice
    like = here.download()
    assert like.suggested_filename == f"astronaut-{direction}ed.{'jpg' if direction == 'mask' else 'png'}"
    like.save_as(tmp_path / "like")
    assert (tmp_path / "like").stat().st_size < 1.2 * photo.stat().st_size
    if direction == "mask":
        here.chooses("photo-format", "PNG")
        here.page.locator("#photo-download", has_text="Download PNG").wait_for()
    file = here.download()
    file.save_as(tmp_path / "result.png")
    with Image.open(photo) as image:
        before = numbers(image)
    with Image.open(tmp_path / "result.png") as image:
        assert (image.format, image.size) == ("PNG", (512, 512))
        after = numbers(image)
    expected = pipe(photo, direction, details=True)
    assert np.array_equal(after, numbers(expected.images[0]))
    assert (
        read_provenance(tmp_path / "result.png").direction == read_provenance(tmp_path / "like").direction == direction
    )
    shown = result(here)
    assert np.array_equal(shown[0], before) and np.abs(shown[1] - after).mean() < 2


def test_the_change_is_outlined_on_request(here):
    here.upload(ASTRONAUT)
    here.shown()
    here.page.click("#mask")
    here.page.locator("#photo-status", has_text="Mask put on in").wait_for()
    after = "#photo-result img >> nth=1"
    plain, source = numbers(here.picture(after)), here.page.locator(after).get_attribute("src")
    here.page.check("#outline input")
    here.page.wait_for_function("([s]) => document.querySelectorAll('#photo-result img')[1].src != s", arg=[source])
    lined = np.abs(numbers(here.picture(after)) - plain).max(2) > 0
    assert 0.001 < lined.mean() < 0.05
    here.page.uncheck("#outline input")
    here.page.wait_for_function("([s]) => document.querySelectorAll('#photo-result img')[1].src == s", arg=[source])


def test_what_changes_nothing_is_said_with_the_button_that_helps(here):
    here.upload(ASTRONAUT)
    here.page.wait_for_selector("#photo-photo img[src*=astronaut]")
    here.page.click("#unmask")
    here.page.locator("#photo-status", has_text="Nothing was changed. This face wears no mask").wait_for()
    assert here.page.locator("#photo-status .done").count() == 0
    here.page.click("#photo-instead")
    here.page.locator("#photo-status .done", has_text="Mask put on in").wait_for()
    here.page.locator("#photo-instead").wait_for(state="hidden")


def test_a_face_is_given_another_look_and_the_result_used_as_photo(here):
    here.upload(ASTRONAUT)
    here.page.wait_for_selector("#photo-photo img[src*=astronaut]")
    here.page.click("#swap")
    here.page.locator("#photo-status", has_text="Mask put on in").wait_for()
    after = here.page.locator("#photo-result img >> nth=1")
    sources = [after.get_attribute("src")]

    def look(text):
        here.page.locator("#photo-looks button", has_text=text).click()
        here.page.wait_for_function(
            "sources => !sources.includes(document.querySelectorAll('#photo-result img')[1].src)", arg=sources
        )
        sources.append(after.get_attribute("src"))

    here.page.click("#photo-faces button")
    look("surgical")
    drawn = result(here)[1]
    here.page.locator("#photo-faces", has_text="mask put on").wait_for()
    look("as it was")
    assert np.abs(result(here)[1] - result(here)[0]).max() < 20  # a JPEG of the photo
    look("surgical")
    assert np.array_equal(result(here)[1], drawn)
    asked, shown = [], here.page.locator("#photo-looks button:has-text('surgical') img").get_attribute("src")
    here.page.on("request", lambda made: "queue/join" in made.url and asked.append(made.post_data_json["fn_index"]))
    here.chooses("photo-colour", "Black")
    here.page.locator(f"#photo-looks button:has-text('surgical') img:not([src='{shown}'])").wait_for()
    look("surgical")
    assert len(set(asked)) == len(asked) == 2
    here.chooses("photo-format", "Side by side")
    here.page.locator("#photo-download", has_text="Download both").wait_for()
    assert here.download().suggested_filename == "astronaut-before-and-after.jpg"
    here.chooses("photo-format", "GIF")
    here.page.locator("#photo-download", has_text="Download GIF").wait_for()
    here.page.click("#photo-onward")
    here.page.wait_for_selector("#photo-photo img[src*='astronaut-swapped']")
    here.page.locator("#photo-faces").wait_for(state="detached")
    here.page.click("#mask")
    here.page.locator("#photo-status", has_text="This face already wears a mask").wait_for()


@SLOW
def test_the_bundled_checkpoint_masks_the_lower_face(visit, tmp_path):
    app = start_app()
    here = visit(url=app.url)
    try:
        here.upload(ASTRONAUT)
        here.shown()
        here.page.wait_for_selector("#photo-photo img[src*=astronaut]")
        here.page.click("#mask")
        here.page.locator("#photo-status", has_text="Mask put on in").wait_for()
        here.download().save_as(tmp_path / "masked.jpg")
        with Image.open(tmp_path / "masked.jpg") as after, Image.open(ASTRONAUT) as before:
            change = np.abs(numbers(after) - numbers(before)).mean(2)
        # mouth and chin, and nothing away from the head
        assert change[140:180, 205:245].mean() > 20
        assert change[250:].max() < 12
        assert max(change[:, :100].max(), change[:, 350:].max()) < 12
    finally:
        here.page.close()  # before its app goes
        stop_app(app)
