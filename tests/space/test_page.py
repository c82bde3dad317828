"""The script of the page on its own, in pages that gradio has no part in."""

from pathlib import Path

import pytest
from visit import until

SCRIPT = (Path(__file__).parents[2] / "space" / "page.js").read_text(encoding="utf-8")
REFUSED = "throw new DOMException('refused', 'SecurityError')"
pytestmark = pytest.mark.browser


@pytest.fixture
def blank(chromium):
    """A function of an address, and of a script to run first, that opens an empty page with the app's script. Requests
    for ``http://photos/`` wait in ``page.held``. No page may throw an error."""
    context, errors, held = chromium.new_context(), [], []

    def answer(route):
        if route.request.url.startswith("http://photos/"):
            held.append(route)
        else:
            route.fulfill(body="", content_type="text/html")

    def start(address="http://127.0.0.1/", first=""):
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route("**/*", answer)
        page.add_init_script(first)
        page.goto(address)
        page.add_script_tag(content=SCRIPT)
        page.held = held
        return page

    yield start
    context.close()
    assert errors == []


def test_the_script_runs_where_an_app_is_served_without_https(blank):
    page = blank("http://192.0.2.7/")  # as GRADIO_SERVER_NAME serves it to a network
    assert page.evaluate("[isSecureContext, maskhub.key.length]") == [False, 32]


def test_a_visitor_has_a_key_that_stays(blank):
    key = blank().evaluate("maskhub.key")
    assert blank().evaluate("maskhub.key") == key


@pytest.mark.parametrize(
    "off",
    [
        f"""for (const storage of ['localStorage', 'sessionStorage'])
            Object.defineProperty(window, storage, {{ get() {{ {REFUSED} }} }})""",
        f"Storage.prototype.setItem = () => {{ {REFUSED} }}",
        f"IDBFactory.prototype.open = () => {{ {REFUSED} }}",
    ],
    ids=["storage refused", "storage full", "database refused"],
)
def test_the_script_runs_where_the_browser_stores_nothing(blank, off):
    page = blank(first=off)
    assert page.evaluate("maskhub.key.length") == 32
    assert page.evaluate("maskhub.restored('shown')") == "shown"
    page.evaluate("maskhub.keep({ url: 'data:,', path: 'a.png' })")
    assert page.evaluate("maskhub.last(null).path") == "a.png"


STORED = """new Promise((resolve) => {
    const request = indexedDB.open("maskhub", 1);
    request.onsuccess = () => {
        const all = request.result.transaction("photos").objectStore("photos").getAll();
        all.onsuccess = () => resolve(all.result.map((entry) => entry.name));
    };
})"""


@pytest.mark.parametrize("then", [None, {"url": "data:,", "path": "second.png"}])
def test_a_photo_that_was_taken_away_or_replaced_while_it_was_read_is_not_kept(blank, then):
    page = blank()
    first = {"url": "http://photos/first.png", "path": "first.png"}
    page.evaluate("first => { window.first = maskhub.keep(first) }", first)
    page.evaluate("then => maskhub.keep(then)", then)
    until(page, lambda: page.held)
    page.held[0].fulfill(body="first", headers={"access-control-allow-origin": "*"})
    page.evaluate("window.first")
    assert page.evaluate(STORED) == ([then["path"]] if then else [])
