"""The static site in headless Chromium, by WASM: load size, time to the first result, photos, camera, memory.

    python benchmarks/bench_web.py --photos 100 --output web.json        # after `npm ci && npm run build` in web/

The goals on two quiet cores: a photo of 640×480 with one face in under 250 ms, the camera at 8 frames a second or
more, no task of the main thread over 50 ms. Times are wall times: on a busy machine they measure the others' work too,
so the load average before and after stands beside them.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WEB = Path(__file__).parents[1] / "web"
ARGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
SECONDS = re.compile(r"([\d.]+) s\.$")
WATCH = """
window.longest = 0;
new PerformanceObserver(list => {
  for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({type: 'longtask', buffered: true});
"""


class Handler(SimpleHTTPRequestHandler):
    """Files with the headers of the static Space; counts what it sends."""

    sent = 0

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def copyfile(self, source, outputfile):
        data = source.read()
        Handler.sent += len(data)
        outputfile.write(data)

    def log_message(self, *args):
        pass


def photo_of(folder, name, seed):
    """A photo of 640×480 with one face of 220 pixels."""
    with Image.open(WEB / "examples" / name) as image:
        face = image.convert("RGB").resize((300, 300), Image.Resampling.LANCZOS)
    photo = Image.new("RGB", (640, 480), (205, 210, 208))
    photo.paste(face, (100 + 20 * (seed % 7), 90))
    path = folder / f"{seed}-{name}"
    photo.save(path, quality=92)
    return path


def film_of(folder):
    """A film of 640×480 for the fake camera: a face that moves slowly."""
    path = folder / "camera.y4m"
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F30:1 Ip C420jpeg\n")
        for number in range(30):
            with Image.open(photo_of(folder, "bare.jpg", min(number, 30 - number) // 5)) as frame:
                y, cb, cr = frame.convert("YCbCr").split()
            chroma = b"".join(plane.resize((320, 240)).tobytes() for plane in (cb, cr))
            file.write(b"FRAME\n" + y.tobytes() + chroma)
    return path


def translated(page, path):
    """Seconds that the page says it took for a photo, without its detection."""
    if page.locator("#clear").is_visible():
        page.click("#clear")
    start = time.perf_counter()
    page.set_input_files("#file", path)
    page.locator("#status", has_text=SECONDS).wait_for()
    wall = time.perf_counter() - start
    return float(SECONDS.search(page.inner_text("#status"))[1]), wall


def camera_rate(page, direction, seconds=6):
    page.check(f"input[value={direction}]")
    page.wait_for_timeout(1000 * seconds)
    return float(page.inner_text("#rate").split()[0])


def memory(page):
    """Megabytes of the page and its workers."""
    return page.evaluate("async () => (await performance.measureUserAgentSpecificMemory()).bytes") / 1e6


def measure(browser, url, folder, photos):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"])
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.add_init_script(WATCH)
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    figures = {"ready_s": time.perf_counter() - start}
    translated(page, photo_of(folder, "masked.jpg", 0))
    figures["first_result_s"] = time.perf_counter() - start
    page.wait_for_selector("html[data-offline]")
    figures["load_mb"] = Handler.sent / 1e6
    for direction, name in (("unmask", "masked.jpg"), ("mask", "bare.jpg")):
        page.check(f"input[value={direction}]")
        times = [translated(page, photo_of(folder, name, seed)) for seed in range(9)][2:]
        figures[f"photo_{direction}_ms"] = 1000 * statistics.median(made for made, _ in times)
        figures[f"photo_{direction}_with_detection_ms"] = 1000 * statistics.median(wall for _, wall in times)
    before = memory(page)
    for seed in range(photos):
        translated(page, photo_of(folder, "bare.jpg", seed))
    figures |= {"memory_mb": before, f"memory_after_{photos}_photos_mb": memory(page)}
    page.click("#mode-camera")
    page.click("#start")
    page.locator("#rate", has_text=re.compile("frames/s, 1 face")).wait_for()
    for direction in ("unmask", "mask"):
        figures[f"camera_{direction}_fps"] = camera_rate(page, direction)
    figures["longest_main_thread_task_ms"] = page.evaluate("window.longest")
    context.close()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100, help="photos between the two measures of memory")
    parser.add_argument("--output", type=Path, default=Path("web.json"))
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="maskhub-web-") as name, sync_playwright() as playwright:
        folder = Path(name)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=WEB / "dist"))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        args = [*ARGS, f"--use-file-for-fake-video-capture={film_of(folder)}"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=args)
        figures = measure(browser, f"http://127.0.0.1:{server.server_port}/", folder, options.photos)
        browser.close()
        server.shutdown()
    figures = {name: round(value, 2) for name, value in figures.items()}
    figures["load_average"] = [round(load, 1), round(os.getloadavg()[0], 1)]
    options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
