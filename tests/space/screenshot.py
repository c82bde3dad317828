"""Pictures of the app: the README's, or each tab on a screen and on a phone.

    python tests/space/screenshot.py            # writes docs/images/app.png
    python tests/space/screenshot.py FOLDER     # writes FOLDER/translate-1280.png, FOLDER/translate-390.png, ...

``MASKHUB_MODEL`` names the model if set.
"""

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from app_process import PATIENCE, ROOT, start_app, stop_app

PICTURE = ROOT / "docs" / "images" / "app.png"
SIZES = ((1280, 900), (390, 844))


@contextmanager
def browser():
    """The app's address, and a Chromium."""
    app = start_app(MASKHUB_MODEL=os.environ.get("MASKHUB_MODEL", ""))
    try:
        with sync_playwright() as playwright:
            yield app.url, playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    finally:
        stop_app(app)


def readme():
    """The Translate tab with a masked astronaut."""
    with browser() as (url, chromium):
        page = chromium.new_page(viewport={"width": 1120, "height": 860})
        page.goto(url)
        page.set_input_files("#translate-photo input[type=file]", ROOT / "space" / "examples" / "astronaut.jpg")
        page.wait_for_selector("#translate-photo img[src]")
        page.click("#mask")
        page.wait_for_selector("#translate-status p")
        page.wait_for_selector("#translate-result img >> nth=1")
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)
        page.screenshot(path=PICTURE, full_page=True)
    # 256 colours are a third of the bytes, and hardly to be told from the full palette
    with Image.open(PICTURE) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(PICTURE, optimize=True)
    print(f"wrote {PICTURE}, {PICTURE.stat().st_size // 1000} kB")


def tabs(folder):
    """Every tab as it is opened, whole pages."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as (url, chromium):
        for width, height in SIZES:
            page = chromium.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(url)
            for name in (
                "Translate",
                "Wear a mask",
                "Webcam",
                "Video",
                "Cycle",
                "Dataset",
                "Train",
                "Re-image",
                "Quiz",
            ):
                page.wait_for_selector("[role=tab]")
                if page.get_by_role("tab", name=name).count():
                    page.get_by_role("tab", name=name).click()
                else:  # a phone has no room for it in the row
                    page.locator(".overflow-menu > button").click()
                    page.locator(".overflow-dropdown button", has_text=name).click()
                page.wait_for_timeout(4000)  # pictures come one by one
                page.screenshot(path=folder / f"{name.lower().replace(' ', '-')}-{width}.png", full_page=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        tabs(Path(sys.argv[1]))
    else:
        readme()
