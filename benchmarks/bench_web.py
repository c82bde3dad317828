"""The static site in headless Chromium, by WASM: load size, first result, photos, camera, memory, main thread.

    python benchmarks/bench_web.py --photos 100 --output web.json        # after `npm ci && npm run build` in web/

Prints a table and writes the figures. The goals are for two quiet cores. Times are wall times, which on a busy machine
measure others' work too: see the load average in the table. Processor time, of all of Chromium's processes, depends on
it less.
"""

import argparse
import gzip
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
TIMED = 9
"""Photos that are timed each way, after two that are not."""
CAMERA_SECONDS = 8
WATCH = """
window.tasks = [];
new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(task => task.duration)))
    .observe({type: 'longtask', buffered: true});
"""
LONGEST = "Math.max(0, ...window.tasks)"
ROWS = {
    "load_mb": ("loaded at the first visit, compressed", "MB", "16 or less"),
    "ready_s": ("ready", "s", ""),
    "first_result_s": ("first result, from the address on", "s", ""),
    "ready_again_s": ("ready at the second visit", "s", ""),
    "photo_unmask_ms": ("mask off: faces found, translated, shown", "ms", "under 250"),
    "photo_unmask_cpu_ms": ("the same, processor time", "ms", ""),
    "photo_mask_ms": ("mask on: faces found, translated, shown", "ms", "under 250"),
    "photo_mask_cpu_ms": ("the same, processor time", "ms", ""),
    "photos_per_second": ("photos a second, off and on in turn", "", ""),
    "memory_mb": ("memory before", "MB", ""),
    "memory_after_mb": ("memory after {photos} photos", "MB", "the same"),
    "camera_mask_fps": ("camera, mask on", "frames/s", "8 or more"),
    "camera_unmask_fps": ("camera, mask off", "frames/s", "8 or more"),
    "longest_task_ms": ("longest task of the main thread while it works", "ms", "50 or less"),
    "load_average": ("load average before; after", "", ""),
}
"""Figure → what it is, its unit, the goal."""


class Handler(SimpleHTTPRequestHandler):
    """Files with the headers of the static Space; counts what it sends, text as if compressed."""

    sent = 0

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def copyfile(self, source, outputfile):
        data = source.read()
        Handler.sent += len(data if self.path.endswith(".gz") else gzip.compress(data))
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


def film_of(folder, name):
    """A film of 640×480 for the fake camera: a face that moves slowly."""
    path = folder / f"{name}.y4m"
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F30:1 Ip C420jpeg\n")
        for number in range(30):
            with Image.open(photo_of(folder, name, min(number, 30 - number) // 5)) as frame:
                y, cb, cr = frame.convert("YCbCr").split()
            chroma = b"".join(plane.resize((320, 240)).tobytes() for plane in (cb, cr))
            file.write(b"FRAME\n" + y.tobytes() + chroma)
    return path


def translated(page, path):
    """Upload a photo and wait for its result; returns the seconds that took."""
    if page.locator("#clear").is_visible():
        page.click("#clear")
    start = time.perf_counter()
    page.set_input_files("#file", path)
    page.locator("#status", has_text=SECONDS).wait_for()
    return time.perf_counter() - start


def timed(page, folder, direction, name):
    """Medians for photos in one direction: milliseconds of wall time and of processor time."""
    page.check(f"input[value={direction}]")
    walls, works = [], []
    for seed in range(TIMED + 2):
        start = processor_seconds()
        walls.append(translated(page, photo_of(folder, name, seed)))
        works.append(processor_seconds() - start)
    return {
        f"photo_{direction}_ms": 1000 * statistics.median(walls[2:]),
        f"photo_{direction}_cpu_ms": 1000 * statistics.median(works[2:]),
    }


def processor_seconds():
    """Processor time so far of all Chromium processes that this one started."""
    parents, times = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:  # it has ended
            continue
        fields = rest.split()
        parents[int(stat.parent.name)] = int(fields[1])
        if "chrom" in name:
            times[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    return sum(ticks for process, ticks in times.items() if _started_here(process, parents)) / os.sysconf("SC_CLK_TCK")


def _started_here(process, parents):
    while process > 1:
        if process == os.getpid():
            return True
        process = parents.get(process, 0)
    return False


def camera(launch, url, folder, direction, name):
    """Frames a second that the page shows after some seconds of a camera, and its main thread's longest task."""
    browser = launch(f"--use-file-for-fake-video-capture={film_of(folder, name)}")
    page = opened(browser, url)
    page.click("#mode-camera")
    page.check(f"input[value={direction}]")
    page.click("#start")
    page.locator("#rate", has_text=re.compile("frames/s, 1 face")).wait_for()
    page.evaluate("window.tasks.length = 0")
    page.wait_for_timeout(1000 * CAMERA_SECONDS)
    rate, longest = float(page.inner_text("#rate").split()[0]), page.evaluate(LONGEST)
    browser.close()
    return rate, longest


def opened(browser, url):
    """The page, with everything loaded."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"]).new_page()
    page.set_default_timeout(300_000)
    page.add_init_script(WATCH)
    page.goto(url)
    page.wait_for_selector("html[data-offline]")
    return page


def memory(page):
    """Megabytes of the page and its workers."""
    return page.evaluate("async () => (await performance.measureUserAgentSpecificMemory()).bytes") / 1e6


def measure(browser, url, folder, photos):
    """The figures of photos."""
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
    start = time.perf_counter()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    figures["ready_again_s"] = time.perf_counter() - start
    page.wait_for_selector("html[data-offline]")
    page.evaluate("window.tasks.length = 0")
    for direction, name in (("unmask", "masked.jpg"), ("mask", "bare.jpg")):
        figures |= timed(page, folder, direction, name)
    page.check("input[value=auto]")
    before, start = memory(page), time.perf_counter()
    for seed in range(photos):
        translated(page, photo_of(folder, ("bare.jpg", "masked.jpg")[seed % 2], seed))
    figures["photos_per_second"] = photos / (time.perf_counter() - start)
    figures |= {"memory_mb": before, "memory_after_mb": memory(page)}
    figures["longest_task_ms"] = page.evaluate(LONGEST)
    context.close()
    return figures


def table(figures, photos):
    """The figures as Markdown."""
    lines = ["| | measured | goal |", "|---|---|---|"]
    for name, (what, unit, goal) in ROWS.items():
        value = figures[name]
        shown = "; ".join(map(str, value)) if isinstance(value, list) else f"{value:.4g} {unit}".strip()
        lines.append(f"| {what.format(photos=photos)} | {shown} | {goal} |")
    return "\n".join(lines)


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100, help="photos between the two measures of memory")
    parser.add_argument("--output", type=Path, default=Path("web.json"))
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="maskhub-web-") as name, sync_playwright() as playwright:
        folder = Path(name)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=WEB / "dist"))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"

        def launch(*more):
            return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*ARGS, *more])

        browser = launch()
        figures = measure(browser, url, folder, options.photos)
        browser.close()
        for direction, name in (("mask", "bare.jpg"), ("unmask", "masked.jpg")):
            rate, longest = camera(launch, url, folder, direction, name)
            figures[f"camera_{direction}_fps"] = rate
            figures["longest_task_ms"] = max(figures["longest_task_ms"], longest)
        server.shutdown()
    figures = {name: round(value, 2) for name, value in figures.items()}
    figures["load_average"] = [round(load, 1), round(os.getloadavg()[0], 1)]
    options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures, options.photos))


if __name__ == "__main__":
    main()
