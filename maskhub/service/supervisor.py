"""Runs the jobs of a home, one at a time, and resumes them after restarts and crashes.

    Supervisor(Jobs(Home())).start()

A job is a process in a separate group with low priority, which survives the app. The next supervisor checks the job's
lock: if the process is alive, it is adopted; otherwise the job resumes from its last checkpoint. If several apps share
a home, only one of them supervises; when it ends, another one takes over.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

import maskhub
from maskhub.errors import MaskHubError
from maskhub.json_file import read_json
from maskhub.service.home import held
from maskhub.service.jobs import why
from maskhub.service.mail import VARIABLE as MAIL
from maskhub.service.mail import mail_server
from maskhub.service.webhook import post
from maskhub.service.worker import EXIT, LOCK, PROCESS, TAKEN
from maskhub.training.status import RECORD, read_status

__all__ = ["Supervisor", "max_hours"]

EVERY = 0.5
"""Seconds between two checks of the jobs."""
PATIENCE = 20
"""Seconds between asking a job to end and killing it."""
ATTEMPTS = 3
"""Number of starts without a new step after which a job fails."""


def max_hours():
    """``MASKHUB_MAX_HOURS``, the maximum time of a job; 2 by default."""
    try:
        hours = float(os.environ.get("MASKHUB_MAX_HOURS") or 2)
    except ValueError:
        return 2.0
    return hours if hours > 0 else 2.0


class Supervisor:
    """See the module; ``jobs`` is a :class:`~maskhub.service.jobs.Jobs`."""

    def __init__(self, jobs):
        self.jobs = jobs
        self._children, self._ending = {}, {}
        self._stop, self._thread = threading.Event(), None
        self._lock = FileLock(jobs.home.root / ".supervisor", timeout=0, thread_local=False)

    def start(self):
        """Run the jobs in a background thread; ConfigError if another process keeps the home locked for too long."""
        self.jobs.datasets.settle()
        self._thread = threading.Thread(target=self._run, name="maskhub-supervisor", daemon=True)
        self._thread.start()
        return self

    def stop(self):
        """Stop supervising; running jobs continue."""
        self._stop.set()
        if self._thread:
            self._thread.join(PATIENCE)
        self._lock.release()

    def _run(self):
        said = ""
        while not self._stop.is_set():
            try:
                self.tick()
            except Exception as error:  # the next check may succeed
                if said != why(error):
                    said = why(error)
                    print(f"maskhub: supervising jobs: {said}", file=sys.stderr, flush=True)
            self._stop.wait(EVERY)

    def tick(self):
        """Check all jobs once: notice ended ones, resume interrupted ones, start waiting ones."""
        try:
            if not self._lock.is_locked:
                self._lock.acquire()
        except Timeout:
            return
        jobs = sorted((job for job in self.jobs.list() if job.active), key=lambda job: job.created)
        busy = False
        for job in jobs:
            if job.state == "running":
                busy = self._look_after(job) or busy
        waiting = [job for job in jobs if job.state == "queued"]
        if waiting and not busy:
            self._launch(waiting[0].id)

    def _look_after(self, job):
        """Check a running job; returns whether it is still running."""
        folder = self.jobs.folder(job.id)
        if self._alive(job, folder):
            if job.cancel or self._hours(folder) > max_hours():
                self._end_process(job, folder)
            return True
        child = self._children.pop(job.id, None)
        code = child.poll() if child else None
        status, ended = read_status(folder / "run") or {}, (read_json(folder / EXIT) or {}).get("code")
        if status.get("state") == "finished":
            self._publish(job)
        elif job.cancel:
            if not (job.keep and self._publish(job, "it was stopped early.")):
                self._ended(job.id, "cancelled")
        elif job.id in self._ending:
            late = f"it took longer than {max_hours():g} hours, the limit here."
            if not self._publish(job, late):
                self._ended(job.id, "failed", late)
        elif ended in (1, 2):
            self._ended(job.id, "failed", _last_words(folder))
        elif code != TAKEN or not self._alive(job, folder):
            return self._launch(job.id, status.get("step", 0))
        else:
            return True
        return False

    def _alive(self, job, folder):
        child = self._children.get(job.id)
        return (child is not None and child.poll() is None) or held(folder / LOCK)

    def _launch(self, id, step=0):
        """Start or restart a job's process; returns whether it was started."""
        with self.jobs.home.lock():
            job, folder = self.jobs.get(id), self.jobs.folder(id)
            if not job.active:
                return False
            attempts = 1 if step > job.last_step else job.attempts + 1
            if attempts <= ATTEMPTS:
                (folder / EXIT).unlink(missing_ok=True)
                self.jobs.write(replace(job, state="running", attempts=attempts, last_step=step))
                self._children[id] = _start(folder)
                return True
        self._ended(id, "failed", f"its process ended {ATTEMPTS} times without a new step. {_last_words(folder)}")
        return False

    def _end_process(self, job, folder):
        """Ask a job's process to end, and kill it if it doesn't."""
        patient = time.monotonic() - self._ending.setdefault(job.id, time.monotonic()) < PATIENCE
        process = _process(folder)
        if process is not None:
            with suppress(psutil.Error):
                process.terminate() if patient else process.kill()

    def _hours(self, folder):
        return (time.time() - (read_json(folder / PROCESS) or {}).get("since", time.time())) / 3600

    def _publish(self, job, early=""):
        """Publish the model of a finished job, or of one that was stopped ``early`` (why). Returns False if it was
        stopped before it had learnt anything."""
        folder, models = self.jobs.folder(job.id), self.jobs.models
        run = folder / "run"
        result = run / ("classifier" if job.kind == "classifier" else "pipeline")
        steps = job.options["max_steps"]
        if early:
            steps = (read_json(result / RECORD) or {}).get("step", 0)
            if not steps:
                return False
        try:
            there = (models.root / job.name).is_dir()
            if not there or models.get(job.name).facts.get("job") != job.id:  # not yet published before a restart
                newest = sorted((run / "samples").glob("step-*.png"))[-1:]
                pictures = {"samples.png": newest, "curves.png": [run / "curves.png"]}
                for name, found in pictures.items():
                    for picture in filter(Path.is_file, found):
                        shutil.copy(picture, result / name)
                models.add(
                    job.name, result, dataset=job.dataset, steps=steps, owner=job.owner,
                    init_from=job.init_from, job=job.id,
                )  # fmt: skip
        except (MaskHubError, OSError) as error:
            self._ended(job.id, "failed", why(error))
            return True
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        shutil.rmtree(result, ignore_errors=True)
        self._ended(job.id, "finished", early, model=job.name)
        return True

    def _ended(self, id, state, message="", model=""):
        self._ending.pop(id, None)
        with self.jobs.home.lock():
            # don't publish local paths
            message = message.replace(f"{self.jobs.home.root}{os.sep}", "")
            job = replace(self.jobs.get(id), state=state, message=message, model=model, ended=time.time())
            self.jobs.write(job)
        if job.webhook or job.email:
            threading.Thread(target=self._tell, args=(job,), daemon=True).start()

    def _tell(self, job):
        record = {"job": job.id, "state": job.state, "model": job.model, "dataset": job.dataset, "message": job.message}
        steps, problems = self.jobs.progress(job.id).step, []
        if job.webhook:
            problems.append(post(job.webhook, record | {"steps": steps}))
        if job.email:
            problems.append(self._write_to(job, steps))
        with self.jobs.home.lock():
            told = {"email": "", "notice_problem": ", ".join(filter(None, problems))}
            self.jobs.write(replace(self.jobs.get(job.id), **told))

    def _write_to(self, job, steps):
        try:
            server = mail_server()
        except MaskHubError as error:
            return why(error)
        return server.send(job.email, job, steps) if server else "this app sends no e-mail any more"


def _start(folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [
        str(Path(maskhub.__file__).parents[1]), os.environ.get("PYTHONPATH", "")
    ]))}  # fmt: skip
    # small networks: more threads are slower
    environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "TQDM_DISABLE": "1"} | environment
    for secret in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", MAIL):
        environment.pop(secret, None)  # jobs of visitors don't need it
    with open(folder / "log.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "maskhub.service.worker", str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
        )  # fmt: skip


def _process(folder):
    """The living process of a job, if it is still the one that took the lock."""
    known = read_json(folder / PROCESS) or {}
    try:
        process = psutil.Process(known["pid"])
        return process if abs(process.create_time() - known["started"]) < 1 else None
    except (psutil.Error, KeyError, TypeError):
        return None


def _last_words(folder):
    """Why a job failed, from its log."""
    try:
        lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["its log is empty."])[-1][:400]
