"""The app in a browser, as a visitor uses it: Chromium, headless, nothing but the app within reach."""

import re

import numpy as np
import pytest
from app_process import ROOT, start_app, stop_app
from PIL import Image
from visit import DESKTOP, PHONE, Visit, numbers, open_tab, until

from maskhub.provenance import read_provenance

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"
SLOW = pytest.mark.slow


def viewports(quick):
    """Parametrize with both viewports: the other one in the slow tests."""
    both = {"desktop": DESKTOP, "phone": PHONE}
    marked = [pytest.param(both[name], marks=() if name == quick else SLOW, id=name) for name in both]
    return pytest.mark.parametrize("viewport", marked)


@pytest.fixture(scope="module")
def contexts(chromium):
    """Browser contexts by their options: pages of one share a cache, which saves most of a page's seconds."""
    made = {}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def visit(chromium, app, contexts):
    """Opens the app; afterwards no request has left it and the console has no errors."""
    visits = []

    def open_app(viewport=DESKTOP, url=app.url, **options):
        key = str((viewport, options))
        if key not in contexts:
            contexts[key] = chromium.new_context(viewport=viewport, **options)
        visits.append(Visit(contexts[key].new_page(), url))
        return visits[-1]

    yield open_app
    for made in visits:
        made.page.close()
    for made in visits:
        assert made.strayed == []
        assert made.complaints == []


@pytest.fixture(scope="module")
def photo_page(chromium, app):
    """The page that most tests of the Photo tab share: to open one takes seconds."""
    context = chromium.new_context(viewport=DESKTOP, permissions=["camera"])
    made = Visit(context.new_page(), app.url)
    yield made
    context.close()
    assert made.strayed == []


@pytest.fixture(scope="module")
def phone_page(chromium, app):
    """A phone's page, for all tests of one."""
    context = chromium.new_context(viewport=PHONE)
    made = Visit(context.new_page(), app.url)
    yield made
    context.close()
    assert made.strayed == [] and made.complaints == []


@pytest.fixture
def here(photo_page):
    """That page without a photo; afterwards the console has no errors."""
    photo_page.open_photo_tab("Photo", "photo")
    photo_page.clear()
    photo_page.page.locator("#photo-problem p").wait_for(state="detached")
    yield photo_page
    complaints, photo_page.complaints = photo_page.complaints, []  # those of one test fail no other
    assert complaints == []


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


@pytest.mark.parametrize(
    ("title", "tab", "button", "photo", "place"),
    [
        ("Photo", "photo", "mask", "sixteen.tif", "status"),  # which the app then shows as a PNG
        ("Photo", "photo", "unmask", "no face", "problem"),
        ("Drawn masks", "wear", "wear", "astronaut", "status"),
        pytest.param("Cycle", "cycle", "cycle", "astronaut", "status", marks=SLOW),
    ],
    ids=["tif", "no face", "wear", "cycle"],
)
def test_an_answer_stays_where_the_button_is_heard_before_its_photo(
    visit, request, odd_files, bad_files, title, tab, button, photo, place
):
    here, held, over = visit() if tab == "cycle" else request.getfixturevalue("here"), [], []
    for event in ("requestfinished", "requestfailed"):  # the page ends the stream of answers, or its server does
        here.page.on(event, lambda request: "queue/data" in request.url and over.append(request))
    here.open_photo_tab(title, tab)
    here.clear(tab)
    # a browser has several connections: of two requests that follow at once the second may arrive first
    here.page.route("**/queue/join*", lambda route: held.append(route), times=1)
    here.upload({"astronaut": ASTRONAUT, "no face": bad_files["no face"][0]}.get(photo) or odd_files[photo], tab)
    here.page.wait_for_selector(f"#{tab}-photo img[src]", state="attached")
    here.page.click(f"#{button}")
    said = here.said(f"{tab}-{place}")
    until(here.page, lambda: over)
    over.clear()
    held[0].continue_()
    until(here.page, lambda: over)
    if photo.endswith("tif"):
        here.page.wait_for_selector(f"#{tab}-photo img[src$='.png']")
    here.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shown = here.page.locator(f"#{tab}-{place} p")
    assert shown.count() == 1 and shown.inner_text() == said


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


def test_what_is_no_photo_is_said_in_plain_words(here, bad_files):
    here.page.click("#mask")
    assert here.said("photo-problem").startswith("There is no photo yet")
    for case in ("text", "truncated", "1x1"):
        path, words = bad_files[case]
        here.upload(path)
        here.page.locator("#photo-problem", has_text=words).wait_for()
        here.page.locator("#photo-photo img[src]").wait_for(state="detached")
        here.page.wait_for_timeout(200)  # the message stays
        assert words in here.said("photo-problem")
    path, words = bad_files["no face"]
    here.upload(path)
    here.page.locator("#photo-problem .notice", has_text=words).wait_for()  # before any button
    here.page.click("#unmask")
    here.page.locator("#photo-problem .problem", has_text=words).wait_for()
    assert here.page.locator("#photo-result img").count() == 0
    assert here.page.locator("#photo-download").is_disabled()


def test_photos_that_a_browser_cannot_show_are_shown(here, odd_files):
    for name, shown in (("sixteen.tif", "sixteen.png"), ("cmyk.jpg", "cmyk.png"), ("phone.heic", "phone.jpg")):
        here.upload(odd_files[name])
        here.page.wait_for_function(
            "name => { const shown = document.querySelector('#photo-photo img'); "
            "return shown?.src.endsWith(name) && shown.naturalWidth == 256 }",
            arg=shown,
        )
        here.page.click("#mask")
        here.page.locator("#photo-status", has_text="Mask put on in").wait_for()
    here.upload(odd_files["moving.gif"])
    here.page.locator("#photo-problem", has_text="an animation of 2 pictures: only the first one is used").wait_for()


@SLOW
def test_an_upload_that_arrives_late_is_shown(here):
    def held(route):
        here.page.wait_for_timeout(4000)
        route.continue_()

    here.page.route("**/upload?*", held, times=1)
    with here.page.expect_response("**/upload_progress?*") as progress:  # which gradio awaits for three seconds
        here.upload(ASTRONAUT)
    assert progress.value.status == 404
    here.page.wait_for_selector("#photo-photo img[src*=astronaut]")
    here.page.click("#mask")
    here.page.locator("#photo-status .done", has_text="Mask put on in").wait_for()


def test_the_webcam_takes_a_photo(here):
    here.page.click("#photo-photo button[aria-label='Capture from camera']")
    here.page.get_by_text("Click to Access Webcam").click()
    here.page.wait_for_function("document.querySelector('#photo-photo video').videoWidth > 0")
    here.page.click("#photo-photo button[aria-label='capture photo']")
    # Chromium's stand-in for a camera shows a drawing
    here.page.locator("#photo-problem", has_text="No face was found").wait_for()


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
