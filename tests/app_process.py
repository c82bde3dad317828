"""The Space's app in a process of its own, as ``python app.py`` starts it."""

import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

__all__ = ["PATIENCE", "ROOT", "App", "app_environment", "free_port", "start_app", "stop_app"]

ROOT = Path(__file__).parents[1]
PATIENCE = 240
"""Seconds that anything of the app may take; a free core needs a twentieth of it."""


@dataclass
class App:
    """A served app; ``output`` gathers what it prints."""

    url: str
    process: subprocess.Popen
    output: list


def app_environment(**settings):
    unset = ("MASKHUB_MODEL", "SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "GRADIO_TEMP_DIR")
    unset += ("MASKHUB_HOME", "MASKHUB_QUIZ")
    # pictures are compared with the pipeline's own, bit for bit
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return kept | {"MASKHUB_BACKEND": "torch", "MASKHUB_WEB_DIST": "none"} | settings


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_app(**settings):
    port = free_port()
    environment = app_environment(GRADIO_SERVER_PORT=str(port), OMP_NUM_THREADS="1", **settings)
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    app = App(f"http://127.0.0.1:{port}/", process, [])
    # the pipe is emptied all the time, or a full one would stop the app
    threading.Thread(target=lambda: app.output.extend(process.stdout), daemon=True).start()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(app.url).raise_for_status()
            return app
        except httpx.HTTPError:
            time.sleep(0.2)
    process.kill()
    raise RuntimeError(f"the app did not start: {''.join(app.output)}")


def stop_app(app):
    app.process.terminate()
    try:
        return app.process.wait(PATIENCE)
    finally:
        app.process.kill()
