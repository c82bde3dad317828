"""Scripts in processes of their own that are forked from one which has already imported torch, gradio and maskhub.

Such a process starts in tenths of a second instead of several seconds. Tests of the start itself use
``subprocess`` and a fresh interpreter.

They are forked from a copy of pytest's process, which :func:`prepare` makes once the tests are collected: by then it
has imported nearly everything, and has hardly any threads that a fork could break.
"""

import atexit
import faulthandler
import gc
import importlib
import logging
import multiprocessing
import os
import resource
import runpy
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path

from maskhub.training.registry import TASKS

__all__ = ["ROOT", "Forked", "prepare", "run_code"]

ROOT = Path(__file__).parents[1]
IMPORTED = ("accelerate", "space.demo", "maskhub.service.worker", *(f"maskhub.training.{name}" for name in TASKS))


class _Forks:
    """The copy of this process, and the pipe to it."""

    def __init__(self):
        self.lock, self.pipe = threading.Lock(), None

    def prepare(self):
        """Copy this process, if that has not been done."""
        if self.pipe is not None:
            return
        gc.collect()  # what would close its files in the copy, where their numbers are those of others
        gc.freeze()  # half a million objects that stay: later collections are quick
        gc.enable()  # conftest turns it off
        self.pipe, theirs = multiprocessing.Pipe()
        if os.fork() == 0:
            status = 1
            with suppress(BaseException):
                _serve(theirs)
                status = 0
            os._exit(status)
        theirs.close()

    def ask(self, *request):
        with self.lock:
            self.prepare()
            self.pipe.send(request)
            return self.pipe.recv()


_FORKS = _Forks()
prepare = _FORKS.prepare


def _serve(pipe):
    """Fork scripts, and tell how they ended, until pytest is gone."""
    faulthandler.disable()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    kept = pipe.fileno()
    os.closerange(3, kept)  # pytest's pipes and sockets, which would not close while this process has them
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    sys.stdin = os.fdopen(0)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, errors="backslashreplace") for stream in (1, 2))
    logging.root.handlers.clear()  # pytest's
    context, running = multiprocessing.get_context("fork"), {}
    with suppress(EOFError):
        while True:
            what, *given = pipe.recv()
            if what == "start":
                for name in IMPORTED:
                    importlib.import_module(name)
                process = context.Process(target=_run, args=given)
                process.start()
                running[process.pid] = process
                pipe.send(process.pid)
            else:  # it has ended
                process = running.pop(given[0])
                process.join()
                pipe.send(process.exitcode)


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
        words = [str(word) for word in words]
        given = (str(script), words, str(output), dict(environment or os.environ), session, file_size)
        self.pid, self._code = _FORKS.ask("start", *given), None
        self._handle = os.pidfd_open(self.pid)
        atexit.register(self.kill)

    @property
    def returncode(self):
        return self._ended(0)

    poll = returncode.fget

    def _ended(self, timeout):
        """The exit code, None if it still runs after ``timeout`` seconds (None: without end)."""
        if self._code is None and connection.wait([self._handle], timeout):
            self._code = _FORKS.ask("end", self.pid)
            os.close(self._handle)
            atexit.unregister(self.kill)
        return self._code

    def wait(self, timeout=None):
        if self._ended(timeout) is None:
            raise TimeoutError(f"process {self.pid} did not end within {timeout} seconds")
        return self._code

    def communicate(self, timeout=None):
        self.wait(timeout)
        return self.text(), None

    def text(self):
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


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
    tempfile.tempdir = None  # TMPDIR may be another
    os.fsync = lambda handle: None  # as in the tests' own process: what is killed here loses nothing
    os.chdir(ROOT)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    sys.argv = [script, *words]
    runpy.run_path(script, run_name="__main__")
