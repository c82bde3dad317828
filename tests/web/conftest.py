"""The static site, built once for all processes of tests: npm's packages, the graphs, the bundles."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
FACES = ROOT.parent / "shared" / "faces"
GRAPHS = (WEB / "export.py", WEB / "tflite_graph.py")
WEIGHTS = ("light-256", "mask-detector")


def hash_of(paths):
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def run(*command):
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=WEB, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def make(stamp, state, action):
    """Do something where the stamp says that it was last done for another state."""
    if stamp.is_file() and stamp.read_text() == state:
        return
    action()
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(state)


@pytest.fixture(scope="session")
def site():
    """``web/`` with its packages, ``models/``, ``build/node.mjs`` and ``dist/``; made where anything has changed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node.js here: apt-get install nodejs npm runs the tests of the static site")
    lock, build = WEB / "package-lock.json", WEB / "build"
    sources = [path for path in (WEB / "src").rglob("*") if path.is_file()]
    sources += [lock, WEB / "build.mjs", WEB / "space.md", *(WEB / "examples").iterdir()]
    weights = [path for name in WEIGHTS for path in (ROOT / "maskhub" / "weights" / name).rglob("*.safetensors")]
    code = [path for name in ("faces", "masks", "models") for path in (ROOT / "maskhub" / name).glob("*.py")]
    build.mkdir(exist_ok=True)
    with FileLock(build / "lock"):
        packages, graphs = hash_of([lock]), hash_of([*GRAPHS, *weights, *code])
        make(build / "packages", packages, lambda: run("npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"))
        make(build / "graphs", graphs, lambda: run(sys.executable, "export.py"))
        make(build / "site", graphs + hash_of(sources), lambda: run("npm", "run", "build"))
    return WEB
