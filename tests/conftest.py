"""What every test may use: the loopback Hub, a photo, a pipeline of seconds.

The Hub's clients read their settings once, when they are first imported. So one loopback Hub is started here, before
any test or package, and serves the whole session; each test that asks for ``hub_user`` gets a user of its own on it.
"""

import atexit
import gc
import itertools
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves the tests' own modules unfindable

gc.disable()  # until the tests begin: it takes a fifth of the time of their imports, which make hardly any garbage
sys.dont_write_bytecode = False  # else each of a hundred processes compiles maskhub again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from hub_server import LoopbackHub  # noqa: E402

_FOLDER = Path(tempfile.mkdtemp(prefix="maskhub-tests-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_HUB = LoopbackHub(_FOLDER / "hub", tokens={}).start()

for _name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE"):
    os.environ.pop(_name, None)  # nobody's own token or cache is touched
os.environ |= {
    "HF_ENDPOINT": _HUB.url,
    "HF_HOME": str(_FOLDER / "home"),
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # the processes of tests share the cores
    "GRADIO_ANALYTICS_ENABLED": "False",
    "ORT_DISABLE_TELEMETRY": "1",  # forked scripts lost sockets to the files of its database, which they had closed
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "MPLBACKEND": "Agg",
    "TRACKIO_DIR": str(_FOLDER / "trackio"),
    "XDG_DATA_HOME": str(_FOLDER / "data"),  # nobody's own models and answers either
    "MPLCONFIGDIR": str(_FOLDER / "matplotlib"),
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread for torch: the sums of two runs are the same bits only with as many threads, and runs in processes of
    their own have one, since more would wait for each other on a busy machine (ten times as long, where two run).
    """
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_flushing():
    """Nothing is flushed to the disk by this process, which takes milliseconds a file: what a power cut leaves is
    computed by ``crash_disk``. Fresh interpreters that tests start do flush.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def no_accelerator_left():
    """accelerate keeps the precision of a process's first run: the next file of tests begins without it."""
    yield
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def astronaut():
    """The example photo, RGB ``PIL.Image`` of 512×512 with one face."""
    from PIL import Image

    with Image.open(ROOT / "space" / "examples" / "astronaut.jpg") as photo:
        return photo.convert("RGB")


@pytest.fixture(scope="session")
def masked_astronaut(astronaut):
    """The same in a surgical mask, which the mask detector is sure of."""
    from maskhub.masks import wear

    return wear(astronaut, style="surgical", colour="blue", seed=2).image


@pytest.fixture(scope="session")
def shaded_astronaut(masked_astronaut):
    """The same at a quarter of its brightness on one side of the face: a result that is likely poor."""
    import numpy as np
    from PIL import Image

    from maskhub.faces.detect import detect

    pixels = np.array(masked_astronaut)
    left, _, width, _ = detect(pixels)[0].box
    pixels[:, int(left + width / 2) :] //= 4
    return Image.fromarray(pixels)


@pytest.fixture
def tiny_pipeline():
    """A seeded, untrained ``FaceMaskPipeline`` both ways, of the smallest networks, at 64 pixels."""
    return make_tiny_pipeline(seed=0)


def make_tiny_pipeline(seed):
    import torch

    from maskhub import FaceMaskPipeline, ResnetGenerator

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = {name: ResnetGenerator(width=8, blocks=1) for name in ("masker", "unmasker")}
    return FaceMaskPipeline(**networks, resolution=64)


@dataclass
class HubUser:
    """A user of the loopback Hub, logged in with ``token``."""

    name: str
    token: str
    read_token: str

    def repo(self, name):
        return f"{self.name}/{name}"


@pytest.fixture
def hub():
    """The session's :class:`hub_server.LoopbackHub`; faults and the CDN redirect are off again after the test."""
    start = len(_HUB.log)
    yield _HUB
    _HUB.faults.clear()
    _HUB.cdn = False
    del _HUB.log[start:]


@pytest.fixture
def hub_user(hub, monkeypatch):
    """A new user, whose write token is in ``HF_TOKEN`` during the test."""
    number = len(hub.tokens) // 2
    user = HubUser(f"user{number}", f"hf_write_{number}", f"hf_read_{number}")
    hub.tokens |= {user.token: (user.name, "write"), user.read_token: (user.name, "read")}
    monkeypatch.setenv("HF_TOKEN", user.token)
    return user


@pytest.fixture
def run(capsys):
    """Run maskhub's command line in this process; returns exit code, output and errors."""
    from maskhub.cli import main

    def call(*args):
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        out = capsys.readouterr()
        return stop.value.code, out.out, out.err

    return call


@pytest.fixture
def no_waiting(monkeypatch):
    """Let the Hub's client try again at once instead of after 1 to 8 seconds."""
    import types

    from huggingface_hub.utils import _http

    from maskhub import hub_errors

    hurried = types.SimpleNamespace(**{**vars(_http.time), "sleep": lambda seconds: None})
    for module in (_http, hub_errors):
        monkeypatch.setattr(module, "time", hurried)


@pytest.fixture
def hook(monkeypatch):
    """The address of a webhook on this machine, which may be called, and the list of what it is told."""
    import json
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    told = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(302 if self.path == "/away" else 204)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MASKHUB_WEBHOOK_PRIVATE", "1")
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def detector_photos(astronaut, tmp_path_factory):
    """A folder with ``unmasked``, four variations of the example's head, and ``masked``, aligned crops in masks."""
    import numpy as np
    from PIL import Image, ImageEnhance, ImageOps

    from maskhub.data.masked import Wearing, mask_faces
    from maskhub.faces import align

    root, head = tmp_path_factory.mktemp("detector"), astronaut.crop((120, 20, 330, 230))
    photos = [head, ImageOps.mirror(head), ImageEnhance.Brightness(head).enhance(0.7), ImageOps.grayscale(head)]
    for name in ("unmasked", "masked"):
        (root / name).mkdir()
    for number, photo in enumerate(photos):
        photo = photo.convert("RGB")
        photo.save(root / "unmasked" / f"bare_{number}.png")
        made = mask_faces(np.asarray(photo), Wearing(seed=number), str(number))
        crop = align.crop(made.image, align.alignment(made.found[0], 128), 128)
        Image.fromarray(crop).save(root / "masked" / f"masked_{number}.png")
    return root


BROWSERS = []
"""The browsers that :func:`launch` started."""


@pytest.fixture(scope="session")
def launch():
    """A function of further arguments that starts Debian's Chromium, headless; there is one Playwright in a process.

    The headless shell is the same engine and loads a page in two thirds of the processor time, but can't measure a
    page's memory and has no notifications: ``full=True`` starts Chromium itself.
    """
    chromium, shell = shutil.which("chromium"), shutil.which("chromium-headless-shell")
    if not (chromium or shell):
        pytest.skip("no Chromium here: apt-get install chromium-headless-shell runs the browser tests")
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    plain = ["--no-sandbox", "--no-first-run", *quiet, *camera]

    def start(*more, gpu=False, full=False):
        if full and not chromium:
            pytest.skip("the headless shell can't do this: apt-get install chromium runs it")
        how = [] if gpu else ["--disable-gpu"]
        path = chromium if full else shell or chromium
        BROWSERS.append(playwright.chromium.launch(executable_path=path, args=[*plain, *how, *more]))
        return BROWSERS[-1]

    with sync_playwright() as playwright:
        yield start
        # the driver ends when its pipe closes: a forked worker of a data loader that is not yet collected keeps it open
        gc.collect()


SAID = """(() => {
  const shown = [...document.querySelectorAll(".line p, [role=alert], [role=status], .toast-body")];
  const said = shown.filter(box => box.checkVisibility() && box.innerText.trim());
  const place = box => box.closest(".block[id]")?.id ?? "";
  return [`scrolled by ${scrollY}`, ...said.map(box => `#${place(box)}: ${box.innerText.trim().slice(0, 200)}`)];
})()"""
"""JavaScript: what the boxes for messages of a page say, and how far it is scrolled."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """The report of a failed browser test says what its pages said."""
    report = yield
    if report.failed:
        pages = [page for browser in BROWSERS for context in browser.contexts for page in context.pages]
        text = "\n".join(_told(page) for page in pages if not page.is_closed())
        report.sections += [("Pages in the browser", text)] * bool(text)
    return report


def _asked(page):
    """The events that a page of the app last sent, and its streams of answers: one whose click was lost sent none, and
    one whose answer was lost has no stream that is open or ended after it."""
    queue = [request for request in page.requests() if "/queue/" in request.url]
    for request in queue[-16:]:
        start, end = request.timing["startTime"], request.timing["responseEnd"]
        kind, got = request.url.partition("/queue/")[2].partition("?")[0], request.existing_response
        event = f" fn {request.post_data_json['fn_index']}" if kind == "join" else ""
        ended = "still open" if end < 0 else f"ended after {end / 1000:.2f} s"
        yield f"queue: {start / 1000 % 1000:.2f}: {kind}{event}, {got and got.status}, {request.failure or ended}"


def _told(page):
    """Address, messages, the last events, and the last lines of the console of a page."""
    lines = [page.url]
    try:
        lines += page.wait_for_function(SAID, timeout=5000).json_value()
        lines += _asked(page)
        lines += [f"error: {error}" for error in page.page_errors()[-5:]]
        lines += [f"console: {message.type}: {message.text[:200]}" for message in page.console_messages()[-10:]]
    except Exception as error:  # whatever state the page is in: the test's own error matters more
        lines += [f"{type(error).__name__}: {error}"]
    return "\n  ".join(lines)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    """Forked scripts start from this process as it is before the first test."""
    from forked import prepare

    if session.config.pluginmanager.hasplugin("dsession"):  # that process only hands out the tests
        gc.enable()
    else:
        prepare()


TOGETHER = [
    ("space/test_service_browser", "space/test_reimage_browser", "space/test_share"),  # a service, a browser
    (
        "space/test_photo_browser",
        "space/test_uploads_browser",
        "space/test_tabs_browser",
        "space/test_access",
        "space/test_two_visitors",
        "space/test_live_browser",
    ),  # an app too
    ("web/test_page", "web/test_app"),
    ("space/test_app", "space/test_guarded", "space/test_gate", "space/test_tools", "space/test_wear"),
    ("pipelines/test_onnx_face_mask", "models/test_int8", "pipelines/test_backends"),  # torch's exporter
]
"""Files that share what takes seconds to make are run by one process, after each other."""
LONGEST = [
    *itertools.chain(*TOGETHER),
    "hub/test_hub", "web/test_parity", "training/test_runs", "training/test_trainer", "training/test_resume",
    "service/test_jobs", "evaluation/test_measures", "pipelines/test_film_reading", "training/test_documents",
    "data/test_held_out", "training/test_reimaging", "training/test_smoke_recipes", "crash/test_crashes",
    "data/test_lanes", "test_cli", "data/test_sources", "data/test_shards", "data/test_masked",
    "evaluation/test_peers", "evaluation/test_paired", "service/test_uploads", "training/test_gpu_scripts",
]  # fmt: skip
"""The files that take longest, first."""


def pytest_xdist_make_scheduler(config, log):
    """A process of tests takes one file at a time, or those of TOGETHER."""
    from xdist.scheduler import LoadFileScheduling

    first = {f"tests/{name}.py": f"tests/{files[0]}.py" for files in TOGETHER for name in files}

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return first.get(file, file)

    return Together(config, log)


def pytest_collection_modifyitems(items):
    """An hour for a slow test; the files that take longest first, so that the processes of tests end together."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600), append=False)  # before that of a file of browser tests
    files = [ROOT / "tests" / f"{name}.py" for name in LONGEST]
    place = {path: number for number, path in enumerate(files)}
    items.sort(key=lambda item: place.get(item.path, len(files)))
