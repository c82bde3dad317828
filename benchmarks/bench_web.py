"""The static site in headless Chromium, by WASM: load, photos, camera, stages, main thread, memory.

    python benchmarks/bench_web.py                        # after `npm ci && npm run build` in web/
    python benchmarks/bench_web.py --memory 100 --limit 400 --output web.json

Each figure is printed as soon as it is known, and the file is written again; what the time limit cut off is named at
the end. The goals are for two quiet cores. Wall times on a busy machine measure others' work too: see the load average.
Processor time, of all of Chromium's processes, depends on it less.
"""

import argparse
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import sync_playwright

WEB = Path(__file__).parents[1] / "web"
ARGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--enable-blink-features=ForceEagerMeasureMemory",
]  # fmt: skip
WAYS = {"unmask": "masked.jpg", "mask": "bare.jpg"}
WARM = 3
"""Photos before those that are timed: the browser compiles its code meanwhile."""
CAMERA_WARM, CAMERA_SECONDS, CAMERA_TIMES = 3, 2, 5
"""Photos before the camera is timed, seconds of each timing, and number of timings; the rate is their median."""
WATCH = """
window.tasks = [];
new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(task => task.duration)))
    .observe({type: 'longtask', buffered: true});
document.addEventListener('change', event => {
    if (event.target.id === 'file') window.began = performance.now();
}, true);
document.addEventListener('DOMContentLoaded', () => {
    const done = () => / s\\.$/.test(document.getElementById('status').textContent);
    const { dataset } = document.documentElement;
    const show = () => requestAnimationFrame(() => { dataset.took ||= performance.now() - window.began; });
    new MutationObserver(() => done() && show()).observe(document.getElementById('status'), {childList: true});
});
"""
LONGEST = "Math.max(0, ...window.tasks)"
MEMORY = """async limit => {
    const measured = performance.measureUserAgentSpecificMemory().then(found => found.bytes / 1e6);
    return Promise.race([measured, new Promise(resolve => setTimeout(resolve, limit, null))]);
}"""
ROWS = {
    "load_mb": ("loaded at the first visit, compressed", "MB", "16 or less"),
    "ready_s": ("ready", "s", ""),
    "first_result_s": ("first result, from the address on", "s", ""),
    "ready_again_s": ("ready at the second visit", "s", ""),
    "unmask_ms": ("mask off: a photo of 640×480, from the file to the result", "ms", "under 250"),
    "unmask_cpu_ms": ("the same, processor time", "ms", ""),
    "mask_ms": ("mask on: a photo of 640×480, from the file to the result", "ms", "under 250"),
    "mask_cpu_ms": ("the same, processor time", "ms", ""),
    "camera_mask_fps": ("camera, mask on", "frames/s", "8 or more"),
    "camera_mask_cpu_ms": ("processor time of a frame", "ms", ""),
    "camera_unmask_fps": ("camera, mask off", "frames/s", "8 or more"),
    "camera_unmask_cpu_ms": ("processor time of a frame", "ms", ""),
    "longest_task_ms": ("longest task of the main thread while it works", "ms", "50 or less"),
    "photos_per_second": ("photos a second, off and on in turn", "", ""),
    "memory_mb": ("memory of the page and its workers", "MB", ""),
    "memory_after_mb": ("the same, so many photos later", "MB", "the same"),
    "load_average": ("load average before; after", "", ""),
}
"""Figure → what it is, its unit, the goal."""
STAGES = {
    "frame": "the whole frame",
    "decode": "decode",
    "follow": "faces followed or found (YuNet and its arrays)",
    "find": "faces found (YuNet and its arrays)",
    "yunet": "YuNet",
    "mask-detector": "mask detector",
    "align": "alignment",
    "landmarks": "landmark network",
    "draw": "drawing",
    "unmasker": "unmasker",
    "region": "changed region",
    "paste": "paste",
    "show": "pictures for the page, before and after",
    "encode": "PNG, for a download",
}


class OutOfTimeError(Exception):
    """The limit has been reached."""


class Record:
    """The figures so far: printed and written one by one."""

    def __init__(self, path, limit):
        self.path, self.end, self.figures = path, time.monotonic() + limit, {}

    def left(self):
        """Seconds until the limit.

        Raises:
            OutOfTimeError: no time is left.
        """
        seconds = self.end - time.monotonic()
        if seconds <= 0:
            raise OutOfTimeError
        return seconds

    def note(self, **figures):
        """Add figures, which are numbers or lists of them."""
        for name, value in figures.items():
            value = [round(one, 1) for one in value] if isinstance(value, list) else round(value, 2)
            self.figures[name] = value
            what, unit, goal = ROWS[name]
            shown = "; ".join(map(str, value)) if isinstance(value, list) else f"{value:g} {unit}".strip()
            print(f"{what}: {shown}{goal and f' (goal: {goal})'}", flush=True)
        self.write()

    def stages(self, name, title, spent, columns):
        """Add the times of stages: a table of milliseconds."""
        self.figures[name] = spent
        print(f"\n{title}\n| stage | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        for stage in (stage for stage in STAGES if stage in spent):
            shown = [f"{value:.1f}" for value in spent[stage]]
            print(f"| {STAGES[stage]} | {' | '.join(shown + [''] * (len(columns) - len(shown)))} |")
        print(flush=True)
        self.write()

    def write(self):
        self.path.write_text(json.dumps(self.figures, indent=2) + "\n", encoding="utf-8")


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
    path = folder / f"{seed}-{name}"
    if not path.exists():
        with Image.open(WEB / "examples" / name) as image:
            face = image.convert("RGB").resize((300, 300), Image.Resampling.LANCZOS)
        photo = Image.new("RGB", (640, 480), (205, 210, 208))
        photo.paste(face, (100 + 20 * (seed % 7), 90))
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


class Bench:
    """Chromium on the site, and the record."""

    def __init__(self, playwright, url, folder, record):
        self.playwright, self.url, self.folder, self.record = playwright, url, folder, record

    def browser(self, *more):
        return self.playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*ARGS, *more])

    def opened(self, browser, until="offline"):
        """The page, ready or with everything loaded."""
        page = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"]).new_page()
        page.set_default_timeout(1000 * self.record.left())
        page.add_init_script(WATCH)
        page.goto(self.url)
        page.wait_for_selector(f"html[data-{until}]")
        return page

    def translated(self, page, path):
        """Upload a photo and wait for its result; returns the milliseconds from the file to the frame that shows it."""
        page.set_default_timeout(1000 * self.record.left())
        if page.locator("#clear").is_visible():
            page.click("#clear")
        page.evaluate("delete document.documentElement.dataset.took")
        page.set_input_files("#file", path)
        page.wait_for_selector("html[data-took]")
        return float(page.get_attribute("html", "data-took"))

    def load(self):
        """A first and a second visit."""
        browser, start = self.browser(), time.perf_counter()
        page = self.opened(browser, until="ready")
        self.record.note(ready_s=time.perf_counter() - start)
        self.translated(page, photo_of(self.folder, "masked.jpg", 0))
        self.record.note(first_result_s=time.perf_counter() - start)
        page.wait_for_selector("html[data-offline]")
        self.record.note(load_mb=Handler.sent / 1e6)
        start = time.perf_counter()
        page.reload()
        page.wait_for_selector("html[data-ready]")
        self.record.note(ready_again_s=time.perf_counter() - start)
        browser.close()

    def photos(self, count):
        """Photos in each direction: medians, and their stages."""
        browser = self.browser()
        page = self.opened(browser)
        worker = next(worker for worker in page.workers if worker.url.endswith("worker.js"))
        for direction, name in WAYS.items():
            page.check(f"input[value={direction}]")
            walls, works, stages = [], [], []
            for seed in range(WARM + count):
                path = photo_of(self.folder, name, seed)
                worker.evaluate("for (const name of Object.keys(stages)) delete stages[name]")
                start = processor_seconds()
                walls.append(self.translated(page, path))
                works.append(processor_seconds() - start)
                with page.expect_download():
                    page.click("#png")
                stages.append(worker.evaluate("stages"))
            wall, work = statistics.median(walls[WARM:]), 1000 * statistics.mean(works[WARM:])
            self.record.note(**{f"{direction}_ms": wall, f"{direction}_cpu_ms": work})
            self.stages_of(direction, stages[WARM:])
        self.record.note(longest_task_ms=page.evaluate(LONGEST))
        browser.close()

    def stages_of(self, direction, stages):
        """Wall time in Chromium, and processor time of the same code in Node, which can read it."""
        jobs, size = [], {"width": 640, "height": 480}
        for seed in range(WARM + len(stages)):
            raw = self.folder / f"{seed}.raw"
            with Image.open(photo_of(self.folder, WAYS[direction], seed)) as photo:
                raw.write_bytes(photo.convert("RGB").tobytes())
            jobs.append({"input": str(raw), "output": os.devnull, "direction": direction, "seed": seed, **size})
        (self.folder / "jobs.json").write_text(json.dumps(jobs))
        command = ["node", "build/node.mjs", self.folder / "jobs.json"]
        limit = self.record.left()
        done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=True, timeout=limit)
        alone = [json.loads(line)["stages"] for line in done.stdout.splitlines()][WARM:]
        spent = {}
        for stage in stages[0]:
            walls, works = [one[stage]["wall"] for one in stages], [one[stage]["work"] for one in alone if stage in one]
            spent[stage] = [statistics.median(walls), min(walls), *([statistics.median(works)] if works else [])]
        columns = ["ms in Chromium, median", "least", "ms of processor time in Node, one thread"]
        self.record.stages(f"{direction}_stages", f"Stages of a photo, `{direction}`", spent, columns)

    def camera(self, direction):
        """Frames a second that the page shows, and their cost."""
        browser = self.browser(f"--use-file-for-fake-video-capture={film_of(self.folder, WAYS[direction])}")
        page = self.opened(browser)
        page.click("#mode-camera")
        page.check(f"input[value={direction}]")
        page.click("#start")
        page.locator("#rate", has_text=re.compile("frames/s, 1 face")).wait_for()
        page.wait_for_timeout(1000 * CAMERA_WARM)
        page.evaluate("window.tasks.length = 0")
        worker = next(worker for worker in page.workers if worker.url.endswith("worker.js"))
        worker.evaluate("for (const name of Object.keys(stages)) delete stages[name]")
        work, rates, frames, name = processor_seconds(), [], 0, f"camera_{direction}"
        for _ in range(CAMERA_TIMES):
            start, before = time.perf_counter(), frames
            page.wait_for_timeout(1000 * CAMERA_SECONDS)
            stages = worker.evaluate("stages")
            frames = stages["frame"]["runs"]
            rates.append((frames - before) / (time.perf_counter() - start))
        work = processor_seconds() - work
        self.record.note(**{f"{name}_fps": statistics.median(rates), f"{name}_cpu_ms": 1000 * work / frames})
        spent = {stage: [one["wall"] / frames] for stage, one in stages.items()}
        title = f"Stages of a camera frame, `{direction}`"
        self.record.stages(f"{name}_stages", title, spent, ["ms in Chromium, mean"])
        longest = max(page.evaluate(LONGEST), self.record.figures.get("longest_task_ms", 0))
        self.record.note(longest_task_ms=longest)
        browser.close()

    def memory(self, count):
        """Memory before and after photos."""
        browser = self.browser()
        page = self.opened(browser)

        def work(photos):
            for seed in range(photos):
                self.translated(page, photo_of(self.folder, tuple(WAYS.values())[seed % 2], seed % 14))

        def used():
            found = page.evaluate(MEMORY, 1000 * self.record.left())
            self.record.left()
            return found

        work(4)
        self.record.note(memory_mb=used())
        start = time.perf_counter()
        work(count)
        self.record.note(photos_per_second=count / (time.perf_counter() - start))
        self.record.note(memory_after_mb=used())
        browser.close()


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=8, help="photos that are timed in each direction")
    parser.add_argument("--memory", type=int, default=30, help="photos between the two measures of memory; 0: none")
    parser.add_argument("--limit", type=float, default=160, help="seconds after which it stops")
    parser.add_argument("--output", type=Path, default=Path("web.json"))
    options = parser.parse_args()
    record, load = Record(options.output, options.limit), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="maskhub-web-") as name, sync_playwright() as playwright:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=WEB / "dist"))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bench = Bench(playwright, f"http://127.0.0.1:{server.server_port}/", Path(name), record)
        try:
            bench.load()
            bench.photos(options.photos)
            for direction in ("mask", "unmask"):
                bench.camera(direction)
            if options.memory:
                bench.memory(options.memory)
        except (OutOfTimeError, PlaywrightTimeout, subprocess.TimeoutExpired):
            missing = [what for name, (what, *_) in ROWS.items() if name not in {*record.figures, "load_average"}]
            sys.exit(f"{options.limit:g} s are over; missing: {', '.join(missing)}")
        finally:
            record.note(load_average=[load, os.getloadavg()[0]])
            server.shutdown()


if __name__ == "__main__":
    main()
