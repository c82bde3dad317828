"""The app in a browser, as a visitor uses it: Chromium, headless, nothing but the app within reach."""

import io
import re
import time

import numpy as np
import pytest
from app_process import PATIENCE, ROOT, start_app, stop_app
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"
BUNDLED = ROOT / "maskhub" / "weights" / "light-256" / "model_index.json"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


class Visit:
    """A page of the app, and the few things that a visitor does there."""

    def __init__(self, page, url):
        self.page, self.url = page, url
        self.strayed, self.complaints = [], []
        page.set_default_timeout(1000 * PATIENCE)
        page.on("request", self._request)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.goto(url)
        page.wait_for_selector("#mask")

    def _request(self, request):
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.strayed.append(request.url)

    def upload(self, path, tab="translate"):
        # a second photo takes the place of the first one
        clear = self.page.locator(f"#{tab}-photo button[aria-label='Remove Image']")
        if clear.count():
            clear.click()
        self.page.set_input_files(f"#{tab}-photo input[type=file]", path)

    def shown(self, tab="translate"):
        """Wait for the uploaded photo to be shown."""
        self.page.wait_for_selector(f"#{tab}-photo img[src]")

    def said(self, place):
        return self.page.locator(f"#{place} p").inner_text()

    def picture(self, selector):
        """The picture of an ``img``, as its file is."""
        source = self.page.locator(selector).get_attribute("src")
        return Image.open(io.BytesIO(self.page.request.get(source).body())).convert("RGB")

    def download(self):
        with self.page.expect_download() as download:
            self.page.click("#translate-download")
        return download.value

    def fits(self):
        return self.page.evaluate("document.documentElement.scrollWidth") <= self.page.viewport_size["width"]


@pytest.fixture
def visit(chromium, app):
    """Opens the app; afterwards no request has left it and the console has no errors."""
    contexts, visits = [], []

    def open_app(viewport=DESKTOP, url=app.url, **options):
        contexts.append(chromium.new_context(viewport=viewport, **options))
        visits.append(Visit(contexts[-1].new_page(), url))
        return visits[-1]

    yield open_app
    for context in contexts:
        context.close()
    for made in visits:
        assert made.strayed == []
        assert made.complaints == []


def until(page, check):
    """Wait for what was heard from the page."""
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(20)


def numbers(picture):
    return np.asarray(picture.convert("RGB")).astype(int)


@pytest.mark.parametrize(("button", "direction"), [("Put a mask on", "mask"), ("Take it off", "unmask")])
def test_a_photo_is_uploaded_translated_compared_and_downloaded(visit, pipe, masked_file, tmp_path, button, direction):
    here, photo = visit(), ASTRONAUT if direction == "mask" else masked_file
    here.upload(photo)
    here.shown()
    here.page.get_by_role("button", name=button).click()
    assert re.match(r"1 face found: mask (put on|taken off)\. \d+\.\d s\.", here.said("translate-status"))

    file = here.download()
    assert file.suggested_filename == f"astronaut-{direction}ed.png"
    file.save_as(tmp_path / "result.png")
    with Image.open(photo) as image:
        before = numbers(image)
    with Image.open(tmp_path / "result.png") as image:
        assert (image.format, image.size) == ("PNG", (512, 512))
        after = numbers(image)
    expected = pipe(photo, direction, details=True)
    changed = np.abs(after - before).max(2) > 0
    left, top, width, height = (round(value) for value in expected.boxes[0][0])
    assert changed[top : top + height, left : left + width].mean() > 0.5
    assert not changed[expected.regions[0] == 0].any()

    sides = here.page.locator("#translate-result img")
    assert sides.count() == 2
    assert np.array_equal(numbers(here.picture("#translate-result img >> nth=0")), before)
    assert np.array_equal(numbers(here.picture("#translate-result img >> nth=1")), after)


@pytest.mark.parametrize(
    ("title", "tab", "button", "photo", "place"),
    [
        ("Translate", "translate", "mask", "sixteen.tif", "status"),  # which the app then shows as a PNG
        ("Translate", "translate", "unmask", "no face", "problem"),
        ("Wear a mask", "wear", "wear", "astronaut", "status"),
        ("Cycle", "cycle", "cycle", "astronaut", "status"),
    ],
    ids=["tif", "no face", "wear", "cycle"],
)
def test_an_answer_stays_where_the_button_is_heard_before_its_photo(
    visit, odd_files, bad_files, title, tab, button, photo, place
):
    here, held, over = visit(), [], []
    for event in ("requestfinished", "requestfailed"):  # the page ends the stream of answers, or its server does
        here.page.on(event, lambda request: "queue/data" in request.url and over.append(request))
    open_tab(here.page, title)
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


def test_the_change_is_outlined_on_request(visit):
    here = visit()
    here.upload(ASTRONAUT)
    here.shown()
    here.page.click("#mask")
    here.page.wait_for_selector("#translate-status p")
    after = "#translate-result img >> nth=1"
    plain, source = numbers(here.picture(after)), here.page.locator(after).get_attribute("src")
    here.page.check("#outline input")
    here.page.wait_for_function("([s]) => document.querySelectorAll('#translate-result img')[1].src != s", arg=[source])
    lined = np.abs(numbers(here.picture(after)) - plain).max(2) > 0
    assert 0.001 < lined.mean() < 0.05
    here.page.uncheck("#outline input")
    here.page.wait_for_function("([s]) => document.querySelectorAll('#translate-result img')[1].src == s", arg=[source])


def test_the_example_goes_there_and_back(visit, pipe, masked_file):
    here = visit()
    open_tab(here.page, "Cycle")
    here.page.locator("button.gallery-item:visible").click()
    here.shown("cycle")
    here.page.get_by_role("button", name="Round trip").click()
    expected = pipe.cycle(ASTRONAUT, details=True)
    assert here.said("cycle-status").startswith(f"Cycle error {expected.cycle_errors[0][0]:.1f} of 255: ")
    assert np.array_equal(numbers(here.picture("#cycle-there img")), numbers(expected.there[0]))
    assert np.array_equal(numbers(here.picture("#cycle-back img")), numbers(expected.images[0]))

    here.page.get_by_label("Mask off → on").check()
    here.page.get_by_role("button", name="Round trip").click()
    assert "stays as it is (no mask worn)" in here.said("cycle-problem")
    here.upload(masked_file, "cycle")
    here.shown("cycle")
    here.page.get_by_role("button", name="Round trip").click()
    here.page.get_by_text("And put on again").wait_for()


def test_what_is_no_photo_is_said_in_plain_words(visit, bad_files):
    here = visit()
    here.page.click("#mask")
    assert here.said("translate-problem").startswith("There is no photo yet")
    for case in ("text", "truncated", "1x1"):
        path, words = bad_files[case]
        here.upload(path)
        here.page.locator("#translate-problem", has_text=words).wait_for()
        here.page.locator("#translate-photo img").wait_for(state="detached")
    path, words = bad_files["no face"]
    here.upload(path)
    here.shown()
    here.page.locator("#translate-problem p").wait_for(state="detached")
    here.page.click("#unmask")
    assert here.said("translate-problem").startswith(words)
    assert here.page.locator("#translate-result img").count() == 0
    assert here.page.locator("#translate-download").is_disabled()


def test_photos_that_a_browser_cannot_show_are_shown(visit, odd_files):
    here = visit()
    for name in ("sixteen.tif", "cmyk.jpg"):
        here.upload(odd_files[name])
        here.page.wait_for_selector("#translate-photo img[src$='.png']")
        assert here.picture("#translate-photo img").size == (256, 256)
        here.page.click("#mask")
        here.page.wait_for_selector("#translate-status p")


def test_the_webcam_takes_a_photo(visit):
    here = visit(permissions=["camera"])
    here.page.click("#translate-photo button[aria-label='Capture from camera']")
    here.page.get_by_text("Click to Access Webcam").click()
    here.page.wait_for_function("document.querySelector('#translate-photo video').videoWidth > 0")
    here.page.click("#translate-photo button[aria-label='capture photo']")
    here.shown()
    here.page.click("#mask")
    # Chromium's stand-in for a camera shows a drawing
    assert here.said("translate-problem").startswith("No face was found")


def test_the_automatic_direction_says_what_it_decided(visit):
    here = visit()
    here.upload(ASTRONAUT)
    here.shown()
    here.page.click("#automatic")
    said = here.said("translate-status")
    assert re.match(r"1 face found: mask put on\. \d+\.\d s\.", said)
    assert here.download().suggested_filename == "astronaut-translated.png"


def open_tab(page, name):
    """A tab of the row, or of the menu behind its dots where a phone has no room for it."""
    page.wait_for_selector("[role=tab]")
    if page.get_by_role("tab", name=name).count() == 0:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=name).click()
    else:
        page.get_by_role("tab", name=name).click()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_quiz_is_played_to_its_end(visit, viewport):
    here = visit(viewport)
    open_tab(here.page, "Quiz")
    here.page.click("#quiz-begin")
    for number in range(1, 23):
        here.page.get_by_text(f"Picture {number} of 22").wait_for()
        assert here.page.locator("#quiz-picture img").get_attribute("src").endswith(f"quiz-{number:02d}.png")
        here.page.click("#quiz-real")
    here.page.get_by_text("11 of 22 right; 11 of 11 made ones fooled you.").wait_for()
    here.page.locator("#quiz-answers button.thumbnail-lg >> nth=21").wait_for()
    assert here.page.locator("#quiz-crowd tr", has_text="round trip").count() == 1
    assert here.fits()
    here.page.get_by_role("button", name="Again").click()
    here.page.get_by_text("Picture 1 of 22").wait_for()
    assert here.page.locator("#quiz-answers img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(visit, scheme):
    here = visit(PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    assert here.fits()
    here.upload(ASTRONAUT)
    here.shown()
    here.page.tap("#mask")
    here.page.wait_for_selector("#translate-status p")
    assert here.fits()
    # the result is brought into view
    here.page.wait_for_function("document.querySelector('#translate-result').getBoundingClientRect().top < 800")
    open_tab(here.page, "Cycle")
    here.page.wait_for_selector("#cycle-photo")
    assert here.fits()


@pytest.mark.skipif(not BUNDLED.is_file(), reason="no checkpoint is bundled yet")
def test_the_bundled_checkpoint_masks_the_lower_face(visit, tmp_path):
    app = start_app()
    here = visit(url=app.url)
    try:
        here.upload(ASTRONAUT)
        here.shown()
        here.page.click("#mask")
        here.page.wait_for_selector("#translate-status p")
        here.download().save_as(tmp_path / "masked.png")
        with Image.open(tmp_path / "masked.png") as after, Image.open(ASTRONAUT) as before:
            change = np.abs(numbers(after) - numbers(before)).mean(2)
        # mouth and chin, and nothing away from the head
        assert change[140:180, 205:245].mean() > 20
        assert change[250:].max() == 0
        assert change[:, :100].max() == change[:, 350:].max() == 0
    finally:
        here.page.close()  # before its app goes
        stop_app(app)
