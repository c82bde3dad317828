"""The app on a home with datasets, models and jobs, and what a visitor does on its Lab tabs."""

import base64
import contextlib
import io
import json
import os
import signal
import time

import numpy as np
from app_process import PATIENCE, start_app, stop_app
from PIL import Image
from playwright.sync_api import TimeoutError

__all__ = ["ME", "STEPS", "Service", "choose", "steps_of", "wait_for"]

STEPS = 80
ME = "the key of this browser"
CHOSEN = """([id, text]) => {
  const box = document.getElementById(id);
  return (box.querySelector("input").value + box.innerText).includes(text);
}"""
"""JavaScript: whether a dropdown shows this choice."""


class Service:
    """The app on a home that outlives it."""

    def __init__(self, home, **settings):
        self.home, self.settings, self.apps = home, settings, []

    def start(self):
        self.apps.append(start_app(MASKHUB_HOME=str(self.home.root), **self.settings))

    @property
    def app(self):
        return self.apps[-1]

    def stop(self):
        if self.app.process.poll() is None:
            stop_app(self.app)
        for record in self.home.jobs.glob("*/process.json"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(json.loads(record.read_text())["pid"], signal.SIGKILL)
        for app in self.apps:
            printed = app.output
            assert "Traceback" not in printed, printed


def choose(page, elem_id, text):
    """Pick from a dropdown by the beginning of what it shows; again, if its choices were reloaded just then."""
    # in the middle of the screen, where there is room for its list
    page.locator(f"#{elem_id}").evaluate("element => element.scrollIntoView({block: 'center'})")
    for _ in range(10):
        with contextlib.suppress(TimeoutError):  # the list may close again
            page.click(f"#{elem_id} input")
            page.locator(".options [role=option]", has_text=text).first.click(timeout=1000 * PATIENCE / 10)
            page.wait_for_function(CHOSEN, arg=[elem_id, text], timeout=1000 * PATIENCE / 10)
            page.wait_for_timeout(300)
            if page.evaluate(CHOSEN, [elem_id, text]):
                page.keyboard.press("Escape")
                return
    raise AssertionError(f"{text} can't be chosen in {elem_id}")


def _picture(page, selector):
    """A picture of the page as numbers."""
    data = page.locator(selector).get_attribute("src").removeprefix("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


def steps_of(page):
    """The five pictures of a re-imaged face."""
    assert page.locator("#reimage-steps figure").count() == 5
    return [_picture(page, f"#reimage-steps figure >> nth={number} >> img") for number in range(5)]


def wait_for(check):
    """Wait for something on the disk."""
    end = time.monotonic() + PATIENCE
    while not (found := check()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found
