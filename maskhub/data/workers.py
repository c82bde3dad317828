"""Run jobs in worker processes or threads; a job that kills its process does not affect the others.

A photo may be too large for the memory. ``multiprocessing.Pool`` waits forever for a worker that the system killed;
``concurrent.futures`` and joblib's loky give up all jobs, and do not tell which job it was, or whether its process was
killed, crashed or could not start.
"""

import multiprocessing
import os
import re
import signal
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import islice
from multiprocessing.connection import wait

from maskhub.errors import ConfigError, MaskHubError
from maskhub.onnx_session import limited_threads

__all__ = ["check_main_guard", "processors", "run_jobs", "useful_threads"]

TRIES = 2
"""Number of attempts for a job whose process dies: the first time, another process may have used the memory."""
MOST_THREADS = 8
"""More threads of one process would wait for each other, since Python runs one at a time between the networks."""
UNGUARDED = 87
"""Exit code of a worker that would run an unguarded script again."""
READY = "ready"


def check_main_guard():
    """Exit a worker process that is about to run its parent's script again; call it before anything is written.

    A worker imports the script that started it. If the script does its work at import, each worker would do it too.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(UNGUARDED)  # silently: the parent reports it once


def processors():
    """The number of cores that this process may use, in a Slurm job its share, even if it isn't bound to one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allotted = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if allotted.isdigit():
        tasks = re.match(r"\d*", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))[0]  # as in 2(x3),1
        cores = min(cores, int(allotted) // int(tasks or 1))
    return max(1, cores)


def useful_threads():
    """The number of ``threads`` for :func:`run_jobs` on photos that pass through networks: 1 if torch can run them on
    an Apple GPU, which several threads can't share."""
    torch = sys.modules.get("torch")
    return 1 if torch and torch.backends.mps.is_available() else min(processors(), MOST_THREADS)


def run_jobs(work, jobs, workers=0, threads=1, drop=None):
    """Run ``work(job)`` for each job; yields ``(job, result, None)``, or ``(job, None, reason)`` where it failed: with
    workers as they are done, in no fixed order, else in the order of the jobs. ConfigError if the script that calls
    lacks ``if __name__ == "__main__":``.

    Args:
        work: function of a module (or a ``functools.partial`` of one), so that another process can import it; without
            workers any function, which several threads may call at a time.
        jobs: iterable, read only as fast as the jobs are done.
        workers: worker processes; 0: work in this process, where a crash ends everything. ConfigError if negative.
        threads: without workers, the number of jobs to work on at a time.
        drop: called with each result of a thread that nobody will get, because the run has ended early.
    """
    check_main_guard()
    if workers < 0:
        raise ConfigError(f"the number of workers is {workers}; it must be 0 or more.")
    if workers == 0 and threads > 1:
        with limited_threads(1):
            yield from _in_threads(work, jobs, threads, drop)
        return
    if workers == 0:
        for job in jobs:
            yield job, *_answer(work, job)
        return
    with closing(_Crew(work, jobs, workers)) as crew:
        while busy := crew.employ():
            for pipe in wait(list(busy)):
                answer = crew.answer(busy[pipe])
                if answer is not None:
                    yield answer


def _in_threads(work, jobs, threads, drop):
    waiting, jobs = deque(), iter(jobs)
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                # some more than threads, so that they go on while the first job takes long
                for job in islice(jobs, 2 * threads - len(waiting)):
                    waiting.append((job, pool.submit(_answer, work, job)))
                if not waiting:
                    return
                job, answer = waiting[0][0], waiting[0][1].result()
                waiting.popleft()
                yield job, *answer
        finally:
            pool.shutdown(cancel_futures=True)
            for _, future in waiting:
                if drop and not future.cancelled() and future.result()[1] is None:
                    drop(future.result()[0])


_END = object()


class _Crew:
    """At most ``size`` workers, and the jobs that they have still to do."""

    def __init__(self, work, jobs, size):
        self.work, self.jobs, self.size = work, iter(jobs), size
        self.workers, self.again = [], []
        # a fork would copy the locks of OpenCV's threads in their current state
        self.context = multiprocessing.get_context("spawn")

    def employ(self):
        """Give idle workers jobs, and start workers as needed: pipe → busy worker."""
        for worker in [*self.workers, *([None] * (self.size - len(self.workers)))]:
            if worker is not None and worker.job is not None:
                continue
            tries, job = self.again.pop() if self.again else (0, next(self.jobs, _END))
            if job is _END:
                break
            if worker is None:
                worker = _Worker(self.context, self.work)
                self.workers.append(worker)
            worker.begin(job, tries + 1)
        return {worker.pipe: worker for worker in self.workers if worker.job is not None}

    def answer(self, worker):
        """Job, result and reason from a worker whose pipe is readable; None if its job is not done."""
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            return self._died(worker)
        if answer == READY:
            worker.ready = True
            return None
        job, worker.job = worker.job, None
        return job, *answer

    def _died(self, worker):
        self.workers.remove(worker)
        if not worker.ready:
            worker.refuse_start()
        if worker.tries < TRIES:
            self.again.append((worker.tries, worker.job))
            worker.end()
            return None
        return worker.job, None, f"the process that worked on it {worker.end()}."

    def close(self):
        for worker in self.workers:
            worker.end(kill=True)


class _Worker:
    """A process and the pipe to it; ``job`` is what it works on."""

    def __init__(self, context, work):
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _no_interrupt():
            self.process.start()
        theirs.close()
        self.job, self.tries, self.ready = None, 0, False

    def begin(self, job, tries):
        self.job, self.tries = job, tries
        with suppress(OSError):  # it died idle: reading from it reports that
            self.pipe.send(job)

    def refuse_start(self):
        """Raise if a process ended before it could start, since the next one would too."""
        how = self.end()
        if self.process.exitcode == UNGUARDED:
            raise ConfigError(
                "this script starts worker processes, which import it: "
                'put its code under `if __name__ == "__main__":`, or set workers=0.'
            )
        if self.process.exitcode > 0:
            raise ConfigError(f"a worker process {how} before it could start (its error is above): set workers=0.")

    def end(self, kill=False):
        """Wait for the process's end; returns how it ended."""
        self.pipe.close()
        if kill:
            self.process.terminate()
        self.process.join()
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            return "was killed, as the system does when memory runs out: use fewer workers or a smaller photo"
        return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"


def _serve(pipe, work):
    import cv2

    # one process per core: more threads would only slow each other down
    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for jobs that load torch
    # Ctrl-C reaches the whole group; the parent ends the others between two photos
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe.send(READY)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        answer = _answer(work, job)
        with suppress(BrokenPipeError):
            pipe.send(answer)


def _answer(work, job):
    try:
        return work(job), None
    except MaskHubError as error:
        return None, str(error)
    except Exception as error:  # an error in one photo must not end the others
        return None, f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"


@contextmanager
def _no_interrupt():
    """Processes started within the block ignore Ctrl-C from the start."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
