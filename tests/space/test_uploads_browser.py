"""Photos that arrive in the app in a browser: odd ones, late ones, the camera's, and files that are not photos."""

import pytest
from app_process import ROOT
from visit import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ASTRONAUT = ROOT / "space" / "examples" / "astronaut.jpg"
SLOW = pytest.mark.slow


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
