"""A visitor of the app in a browser, and the few things that one does there."""

import io
import time

import numpy as np
from app_process import PATIENCE
from PIL import Image

__all__ = ["DESKTOP", "LAB", "PHONE", "Visit", "numbers", "open_tab", "until"]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LAB = ("Cycle", "Dataset", "Train", "Re-image")


class Visit:
    """A page of the app, and the few things that a visitor does there."""

    def __init__(self, page, url):
        self.page, self.url = page, url
        self.strayed, self.complaints, self._late = [], [], 0
        page.set_default_timeout(1000 * PATIENCE)
        page.on("request", self._request)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._console)
        page.goto(url)
        page.wait_for_selector("#mask")

    def _request(self, request):
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.strayed.append(request.url)

    def _console(self, message):
        """Collect errors, but for gradio's of an upload that took three seconds to arrive, as on a busy machine: it
        then answers 404 to the request for the upload's progress, which the page reports twice; the upload goes on."""
        if message.type != "error":
            return
        if "/upload_progress?" in message.location["url"]:
            self._late += 1
        elif message.text == "Response" and self._late:
            self._late -= 1
        else:
            self.complaints.append(message.text)

    def open_photo_tab(self, name, tab):
        """Open a tab, and wait until the last photo of another tab has come along."""
        open_tab(self.page, name)
        if self.page.evaluate("Boolean(maskhub.last(null))"):
            self.shown(tab)

    def clear(self, tab="photo"):
        """Take the photo away, and wait until its result is gone too."""
        clear = self.page.locator(f"#{tab}-photo button[aria-label='Remove Image']")
        if clear.count():
            clear.click()
            # after a photo from the camera, the camera comes back, with a picture that has no source
            self.page.locator(f"#{tab}-photo img[src]").wait_for(state="detached")
            self.page.locator(f"#{tab}-status p").wait_for(state="detached")

    def upload(self, path, tab="photo"):
        """Upload a photo in place of the one that is there."""
        self.clear(tab)
        self.page.set_input_files(f"#{tab}-photo input[type=file]", path)

    def shown(self, tab="photo"):
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
            self.page.click("#photo-download")
        return download.value

    def fits(self):
        return self.page.evaluate("document.documentElement.scrollWidth") <= self.page.viewport_size["width"]

    def chooses(self, elem_id, text):
        """Pick from a dropdown."""
        self.page.click(f"#{elem_id} input")
        self.page.locator(".options [role=option]", has_text=text).first.click()


def until(page, check):
    """Wait for what was heard from the page."""
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(20)


def numbers(picture):
    return np.asarray(picture.convert("RGB")).astype(int)


def open_tab(page, name):
    """Open a tab, or one of the Lab."""
    page.locator("#tab-photo-button").wait_for()
    if name in LAB:
        page.get_by_role("tab", name="Lab", exact=True).click()
    page.get_by_role("tab", name=name, exact=True).click()
