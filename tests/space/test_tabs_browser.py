"""The tabs Cycle and Quiz in a browser, and the photo that follows a visitor from tab to tab."""

import numpy as np
import pytest
from app_process import ROOT
from visit import numbers, open_tab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"


def test_the_example_goes_there_and_back(here, pipe, masked_file):
    open_tab(here.page, "Cycle")
    here.page.click("#cycle-examples button >> nth=2")
    expected = pipe.cycle(ASTRONAUT, details=True)
    assert here.said("cycle-status").startswith(f"Cycle error {expected.cycle_errors[0][0]:.1f} of 255: ")
    assert np.array_equal(numbers(here.picture("#cycle-there img")), numbers(expected.there[0]))
    assert np.array_equal(numbers(here.picture("#cycle-back img")), numbers(expected.images[0]))

    here.page.get_by_label("Mask off → on").check()
    here.page.get_by_role("button", name="Round trip").click()
    here.page.locator("#cycle-status", has_text="No mask is worn in this photo, so one was put on first.").wait_for()
    assert here.page.get_by_label("Mask on → off").is_checked()
    here.page.get_by_label("Mask off → on").check()
    here.upload(masked_file, "cycle")
    here.shown("cycle")
    here.page.get_by_role("button", name="Round trip").click()
    here.page.get_by_text("And put on again").wait_for()


def test_an_example_follows_from_tab_to_tab(here):
    open_tab(here.page, "Cycle")
    here.page.click("#cycle-examples button >> nth=4")
    here.page.wait_for_selector("#cycle-photo img[src*='tilted']")
    here.page.wait_for_function("maskhub.last(null)?.url.includes('tilted')")
    open_tab(here.page, "Compare")
    here.page.wait_for_selector("#compare-photo img[src*='tilted']")


def test_the_photo_stays_when_the_tab_changes_and_after_a_reload(visit, odd_files):
    here = visit()
    here.upload(odd_files["turned.jpg"])
    here.page.wait_for_selector("#photo-photo img[src*=turned]")
    for tab, place in (("Drawn masks", "wear"), ("Cycle", "cycle")):
        open_tab(here.page, tab)
        here.page.wait_for_selector(f"#{place}-photo img[src*=turned]")
    assert here.page.url.endswith("?tab=cycle")
    here.page.reload()
    here.page.wait_for_selector("#cycle-photo", state="visible")  # the tab of the address
    here.complaints.clear()  # about the stream that the reload has cut
    here.page.get_by_role("tab", name="Photo", exact=True).click()
    here.page.wait_for_selector("#photo-photo img[src*=turned]")
    here.page.click("#mask")
    here.page.locator("#photo-status", has_text="Mask put on in").wait_for()


def test_the_quiz_is_played_to_its_end(phone_page):
    here, right = phone_page, 0
    open_tab(here.page, "Quiz")
    here.page.click("#quiz-begin")
    for number in range(1, 11):
        here.page.get_by_text(f"Picture {number} of 10").wait_for()
        here.page.locator(f"#quiz-picture img[src$='quiz-{number:02d}.png']").wait_for()
        here.page.click("#quiz-real")
        here.page.locator("#quiz-verdict p").wait_for()
        right += here.said("quiz-verdict").startswith("Right!")
        # a redrawn face is compared with its photo
        compared = 0 if here.said("quiz-verdict").startswith("R") else 2
        here.page.wait_for_function(f"document.querySelectorAll('#quiz-compared img').length == {compared}")
        here.page.click("#quiz-next")
        here.page.locator("#quiz-verdict p").wait_for(state="detached")
    here.page.get_by_text("5 of 10 right. You took 5 of 5 redrawn faces for photos.").wait_for()
    assert right == 5
    here.page.locator("#quiz-answers button >> nth=9").wait_for()
    here.page.locator("#quiz-crowd li >> nth=10").wait_for()
    assert "5 of 10" in here.page.locator("#quiz-share textarea").input_value()
    assert here.fits()
    here.page.get_by_role("button", name="Play again").click()
    here.page.get_by_text("Picture 1 of 10").wait_for()
    here.page.locator("#quiz-answers img").first.wait_for(state="detached")
