"""The Space's app in a process of its own, as ``python app.py`` starts it."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from forked import ROOT, Forked

__all__ = ["PATIENCE", "ROOT", "App", "app_environment", "free_port", "start_app", "stop_app"]

PATIENCE = 240
"""Seconds that anything of the app may take; a free core needs a twentieth of it."""


@dataclass
class App:
    """A served app; ``process`` is a ``Popen`` or :class:`Forked`, ``log`` the file that takes what it prints."""

    url: str
    process: object
    log: Path

    @property
    def output(self):
        return self.log.read_text(errors="replace")


def app_environment(**settings):
    unset = ("MASKHUB_MODEL", "SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "GRADIO_TEMP_DIR")
    unset += ("MASKHUB_HOME", "MASKHUB_QUIZ", "MASKHUB_WEB_URL")
    # pictures are compared with the pipeline's own, bit for bit
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return kept | {"MASKHUB_BACKEND": "torch", "MASKHUB_WEB_DIST": "none"} | settings


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_app(fresh=False, **settings):
    """Start the app and wait until it answers.

    Args:
        fresh: start a new interpreter, which takes seconds, instead of forking one that has imported everything.
        settings: environment variables.
    """
    port = free_port()
    environment = app_environment(GRADIO_SERVER_PORT=str(port), OMP_NUM_THREADS="1", **settings)
    handle, name = tempfile.mkstemp(prefix="maskhub-tests-app-", suffix=".log")
    if fresh:
        command = [sys.executable, "app.py"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=handle, stderr=handle)
    else:
        process = Forked(ROOT / "app.py", output=name, environment=environment)
    os.close(handle)
    app = App(f"http://127.0.0.1:{port}/", process, Path(name))
    end = time.monotonic() + PATIENCE
    with httpx.Client(verify=False) as client:  # the certificates of the world take a tenth of a second
        while time.monotonic() < end and process.poll() is None:
            try:
                client.get(app.url).raise_for_status()
                return app
            except httpx.HTTPError:
                time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"the app did not start: {app.output}")


def stop_app(app):
    app.process.terminate()
    try:
        return app.process.wait(PATIENCE)
    finally:
        app.process.kill()
