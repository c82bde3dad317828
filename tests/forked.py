"""Scripts in processes of their own that are forked from one which has already imported torch, gradio and maskhub.

Such a process starts in tenths of a second instead of several seconds. Tests of the start itself use
``subprocess`` and a fresh interpreter.
"""

import atexit
import multiprocessing
import os
import resource
import runpy
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from maskhub.training.registry import TASKS

__all__ = ["ROOT", "Forked", "run_code"]

ROOT = Path(__file__).parents[1]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["forked", "accelerate", "space.demo", "maskhub.service.worker", *(f"maskhub.training.{name}" for name in TASKS)]
)


class Forked:
    """A running script, with those methods of ``subprocess.Popen`` that tests use.

    Args:
        script: path of a Python file, run as ``__main__``.
        words: its command line.
        output: file to which its output is appended, standard error included.
        environment: all its environment variables; this process's by default.
        session: whether it leads a session and process group of its own.
        file_size: the largest file it may write, in bytes.
    """

    def __init__(self, script, *words, output, environment=None, session=False, file_size=None):
        self.output = Path(output)
        given = (str(script), [str(word) for word in words], str(output), dict(environment or os.environ))
        self._process = _CONTEXT.Process(target=_run, args=(*given, session, file_size))
        self._process.start()
        self.pid = self._process.pid
        atexit.register(self._end)  # else multiprocessing would wait for it when pytest ends

    @property
    def returncode(self):
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.poll() is None:
            raise TimeoutError(f"process {self.pid} did not end within {timeout} seconds")
        return self.returncode

    def communicate(self, timeout=None):
        self.wait(timeout)
        return self.text(), None

    def text(self):
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def _end(self):
        with suppress(OSError, ValueError):
            self._process.kill()

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()


def run_code(code, *words, timeout=240):
    """Run code as a script with these words; returns its exit code and what it printed, standard error included."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "code.py"
        script.write_text(code, encoding="utf-8")
        process = Forked(script, *words, output=Path(folder) / "output.txt")
        return process.wait(timeout), process.text()


def _run(script, words, output, environment, session, file_size):
    if session:
        os.setsid()
    with open(output, "ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # a child of the server has "forkserver"
    tempfile.tempdir = None  # TMPDIR may be another
    os.fsync = lambda handle: None  # as in the tests' own process: what is killed here loses nothing
    os.chdir(ROOT)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    sys.argv = [script, *words]
    runpy.run_path(script, run_name="__main__")
