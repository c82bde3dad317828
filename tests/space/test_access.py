"""The app for everyone: axe-core finds nothing on any tab, light and dark, and everything works by keyboard."""

from functools import cache

import pytest
from app_process import PATIENCE
from visit import DESKTOP, LAB, PHONE, Visit, open_tab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

VISITORS = ("Photo", "Drawn masks", "Webcam", "Video", "Compare", "Quiz")
ALL = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
SIGHT = {"type": "rule", "values": ["color-contrast", "target-size", "meta-viewport"]}
"""What may differ in the dark and on a phone: the rest is checked once."""


@pytest.fixture(scope="module")
def page(chromium, app):
    """A function of a colour scheme and a viewport that opens the app, once for each."""
    contexts = []

    @cache
    def start(scheme, phone):
        options = {"viewport": PHONE if phone else DESKTOP, "color_scheme": scheme, "bypass_csp": True}
        contexts.append(chromium.new_context(**options))
        return Visit(contexts[-1].new_page(), app.url).page

    yield start
    for context in contexts:
        context.close()


SHARE = "document.querySelector('#photo-result [role=slider]')?.ariaValueNow"
"""JavaScript: the share of the photo before, in per cent; 0 while its picture loads."""
SETTLED = """new Promise(done => {
    let due;
    const wait = () => (clearTimeout(due), (due = setTimeout(done, 2000)));
    new MutationObserver(wait).observe(document, {childList: true, subtree: true});
    wait();
})"""
"""JavaScript: the page has not changed for two seconds."""


def test_keys_that_come_before_the_picture_leave_the_slider_in_its_place(chromium, app):
    context, held, over = chromium.new_context(viewport=DESKTOP), [], []
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.route(lambda url: "/file=" in url, lambda route: route.continue_() if over else held.append(route))
    page.goto(app.url, wait_until="commit")
    slider = page.get_by_role("slider", name="Share of the photo before")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuenow") == "0"
    over.append(True)
    for route in held:
        route.continue_()
    page.wait_for_function(f"{SHARE} > 0")
    context.close()


def test_the_slider_and_the_thumbnails_work_by_keyboard(page):
    page = page("light", False)
    slider = page.get_by_role("slider", name="Share of the photo before")
    page.wait_for_function(f"{SHARE} > 0")
    slider.focus()
    before = int(slider.get_attribute("aria-valuenow"))
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"before => {SHARE} >= before + 13", arg=before)
    assert page.locator("#photo-result img").evaluate_all("images => images.map(image => image.alt)") == [
        "Before",
        "After",
    ]
    page.get_by_role("button", name="No mask").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#photo-photo img[src*=astronaut]")
    page.locator("#photo-status", has_text="Mask put on in").wait_for()


def test_the_slider_says_where_mouse_and_finger_leave_it(chromium, app):
    context = chromium.new_context(viewport=DESKTOP, has_touch=True)
    page = Visit(context.new_page(), app.url).page
    page.wait_for_function(f"{SHARE} > 0")
    page.evaluate(SETTLED)  # any other change of the page would bring the value up to date, too
    box = page.locator("#photo-result img >> nth=0").bounding_box()
    y = box["y"] + box["height"] / 2

    def at(share):
        return box["x"] + share * box["width"] / 100

    page.mouse.move(at(int(page.evaluate(SHARE))), y)
    page.mouse.down()
    page.mouse.move(at(50), y)
    page.wait_for_function(f"Math.abs({SHARE} - 50) <= 1")  # while it is dragged
    page.mouse.move(at(70), y)
    page.mouse.up()
    page.wait_for_function(f"Math.abs({SHARE} - 70) <= 1")
    finger = context.new_cdp_session(page)
    for kind, share in (("touchStart", 70), ("touchMove", 40), ("touchMove", 30), ("touchEnd", None)):
        points = [] if share is None else [{"x": at(share), "y": y}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function(f"Math.abs({SHARE} - 30) <= 1")
    context.close()


def test_pictures_have_names_and_captions_stay_readable(page):
    page = page("light", False)
    page.locator("#photo-examples button >> nth=3").hover()
    page.wait_for_timeout(500)  # gradio's fading
    caption = page.locator("#photo-examples .caption-label >> nth=3")
    assert caption.evaluate("caption => getComputedStyle(caption).opacity") == "1"
    open_tab(page, "Quiz")
    page.click("#quiz-begin")
    page.locator("#quiz-picture").get_by_role("button", name="Picture").wait_for()


TABS = (*VISITORS, *LAB)


@pytest.mark.parametrize(
    ("scheme", "phone", "rules", "tabs"),
    [
        ("light", False, ALL, TABS),
        ("dark", True, SIGHT, ("Photo", "Train")),
        pytest.param("dark", True, SIGHT, TABS, marks=pytest.mark.slow),
    ],
    ids=["desktop", "phone, two tabs", "phone"],
)
def test_tabs_are_accessible_and_fit(page, axe, scheme, phone, rules, tabs):
    page = page(scheme, phone)
    page.add_script_tag(path=axe)
    for tab in tabs:
        open_tab(page, tab)
        page.locator("[role=tabpanel]:visible").first.wait_for()
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        # what is around the tabs is checked with the first one
        place = "document" if tab == tabs[0] else "{include: ['[role=tabpanel]']}"
        run = f"async rules => (await axe.run({place}, {{runOnly: rules, resultTypes: ['violations']}})).violations"
        found = page.evaluate(run, rules)
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == [], tab
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], tab
    # with those of a Space that has the browser edition
    more = """nav => ["In your browser", "Code"].forEach(
        text => nav.append(Object.assign(nav.firstElementChild.cloneNode(), {textContent: text})))"""
    page.locator("#links").evaluate(more)
    boxes = [link.bounding_box() for link in page.locator("#links a").all()]
    assert max(box["x"] + box["width"] for box in boxes) <= page.viewport_size["width"]
