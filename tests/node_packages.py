"""The packages of npm that tests need, installed once in ``web/`` for all processes of tests."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

__all__ = ["WEB", "install", "make"]

WEB = Path(__file__).parents[1] / "web"


def make(stamp, state, action):
    """Do something where the stamp says that it was last done for another state."""
    if stamp.is_file() and stamp.read_text() == state:
        return
    action()
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(state)


def install():
    """Run ``npm ci`` in ``web/`` if its lockfile has changed since; skips the test where there is no npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node.js here: apt-get install nodejs npm runs these tests")
    build = WEB / "build"
    build.mkdir(exist_ok=True)
    with FileLock(build / "packages.lock"):
        state = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
        make(build / "packages", state, _npm)


def _npm():
    command = ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
