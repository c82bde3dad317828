"""Pictures of the app: the README's, or each tab on a screen and on a phone.

    python tests/space/screenshot.py            # writes docs/images/app.png
    python tests/space/screenshot.py FOLDER     # writes FOLDER/photo-1280-light.png, FOLDER/photo-390-dark.png, ...

``MASKHUB_MODEL`` names the model if set.
"""

import itertools
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from app_process import PATIENCE, ROOT, start_app, stop_app

sys.path.insert(0, str(Path(__file__).parent))
from visit import LAB, open_tab

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
    """The Photo tab with the group, swapped, and the looks of one face."""
    with browser() as (url, chromium):
        page = chromium.new_page(viewport={"width": 1120, "height": 860})
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(url)
        page.click("#photo-examples button >> nth=1")
        page.locator("#photo-faces button >> nth=5").wait_for()
        page.click("#photo-faces button >> nth=2")
        page.locator("#photo-looks button >> nth=7").wait_for()
        page.mouse.move(0, 0)
        page.wait_for_timeout(3000)
        page.screenshot(path=PICTURE, full_page=True)
    # 256 colours are a third of the bytes, and hardly to be told from the full palette
    with Image.open(PICTURE) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(PICTURE, optimize=True)
    print(f"wrote {PICTURE}, {PICTURE.stat().st_size // 1000} kB")


def tabs(folder):
    """Every tab as it is opened, whole pages, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as (url, chromium):
        for (width, height), scheme in itertools.product(SIZES, ("light", "dark")):
            page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(url)
            for name in ("Photo", "Drawn masks", "Webcam", "Video", "Compare", "Quiz", *LAB):
                open_tab(page, name)
                page.wait_for_timeout(4000)  # pictures come one by one
                file = f"{name.lower().replace(' ', '-')}-{width}-{scheme}.png"
                page.screenshot(path=folder / file, full_page=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        tabs(Path(sys.argv[1]))
    else:
        readme()
