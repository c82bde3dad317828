"""Take the README's picture of the app anew: ``python tests/space/screenshot.py``, with ``MASKHUB_MODEL`` if set."""

import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
from app_process import ROOT, start_app, stop_app

PICTURE = ROOT / "docs" / "images" / "app.png"


def main():
    app = start_app(MASKHUB_MODEL=os.environ.get("MASKHUB_MODEL", ""))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1120, "height": 860})
            page.goto(app.url)
            page.set_input_files("#translate-photo input[type=file]", ROOT / "space" / "examples" / "astronaut.jpg")
            page.wait_for_selector("#translate-photo img[src]")
            page.click("#mask")
            page.wait_for_selector("#translate-status p")
            page.wait_for_selector("#translate-result img >> nth=1")
            page.mouse.move(0, 0)
            page.wait_for_timeout(1000)
            page.screenshot(path=PICTURE, full_page=True)
    finally:
        stop_app(app)
    # 256 colours are a third of the bytes, and hardly to be told from the full palette
    with Image.open(PICTURE) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(PICTURE, optimize=True)
    print(f"wrote {PICTURE}, {PICTURE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
