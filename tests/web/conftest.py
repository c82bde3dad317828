"""The static site, built once for all processes of tests: npm's packages, the graphs, the bundles."""

import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from node_packages import WEB, install, make
from PIL import Image

ROOT = Path(__file__).parents[2]
WEIGHTS = ("light-256", "mask-detector")


def hash_of(paths):
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def run(*command):
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "GZIP_LEVEL": "1"}
    done = subprocess.run(command, cwd=WEB, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="session")
def site():
    """``web/`` with its packages, ``models/``, ``build/node.mjs`` and ``dist/``; made where anything has changed."""
    install()
    lock, build = WEB / "package-lock.json", WEB / "build"
    sources = [path for path in (WEB / "src").rglob("*") if path.is_file()]
    sources += [lock, WEB / "build.mjs", WEB / "space.md", *(WEB / "examples").iterdir()]
    folders = [ROOT / "maskhub" / "weights" / name for name in WEIGHTS]
    weights = [path for folder in folders for kind in ("*.safetensors", "*.onnx") for path in folder.rglob(kind)]
    code = [path for name in ("faces", "masks", "models") for path in (ROOT / "maskhub" / name).glob("*.py")]
    with FileLock(build / "lock"):
        graphs = hash_of([*WEB.glob("*.py"), *weights, *code])
        make(build / "graphs", graphs, lambda: run(sys.executable, "export.py"))
        make(build / "site", graphs + hash_of(sources), lambda: run("npm", "run", "build"))
    return WEB


class _Handler(SimpleHTTPRequestHandler):
    """Files with the headers of the static Space, and without a word."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".js": "text/javascript"}
    isolated = True

    def end_headers(self):
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *args):
        pass


class _PlainHandler(_Handler):
    isolated = False


def _serve(handler, folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def served(site):
    """The site's address, served with the headers that a static Space sends."""
    yield from _serve(_Handler, site / "dist")


@pytest.fixture(scope="session")
def plainly_served(site):
    """The site's address, served as any file server does."""
    yield from _serve(_PlainHandler, site / "dist")


@pytest.fixture(scope="session")
def camera_file(tmp_path_factory):
    """A film for Chromium's fake camera: the bare example, moving slowly through 320×240 pixels."""
    frames, path = 20, tmp_path_factory.mktemp("camera") / "face.y4m"
    with Image.open(WEB / "examples" / "bare.jpg") as image:
        face = image.convert("RGB").resize((200, 200))
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F10:1 Ip C420jpeg\n")
        for number in range(frames):
            frame = Image.new("RGB", (320, 240), (205, 210, 208))
            frame.paste(face, (50 + 2 * min(number, frames - number), 20))
            y, cb, cr = frame.convert("YCbCr").split()
            file.write(b"FRAME\n" + y.tobytes() + b"".join(c.resize((160, 120)).tobytes() for c in (cb, cr)))
    return path


@pytest.fixture(scope="session")
def chromium(launch, camera_file):
    """Debian's Chromium, headless, with the film for a camera."""
    browser = launch(f"--use-file-for-fake-video-capture={camera_file}")
    yield browser
    browser.close()
