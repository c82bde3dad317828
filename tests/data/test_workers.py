"""Jobs in processes: one that kills its process costs itself alone."""

import os
import signal
import subprocess
import sys
import threading

import cv2
import pytest

from maskhub import ConfigError, PhotoError
from maskhub.data.workers import processors, run_jobs, useful_threads


def job(value):
    if value == "error":
        raise PhotoError("can't be")
    if value == "bug":
        raise KeyError("oh")
    if value == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if value == "leave":
        os._exit(3)
    return value * 2


@pytest.mark.parametrize(("workers", "threads"), [(0, 1), (0, 3), (1, 1)])
def test_results_and_errors(workers, threads):
    answers = list(run_jobs(job, [1, "error", "bug", 2], workers, threads))
    assert answers == [
        (1, 2, None),
        ("error", None, "can't be"),
        ("bug", None, "unexpected KeyError: 'oh'"),
        (2, 4, None),
    ]


def test_the_dead_cost_only_themselves():
    answers = {key: (result, reason) for key, result, reason in run_jobs(job, [1, "kill", 2, "leave", 3], 2)}
    assert [answers[key] for key in (1, 2, 3)] == [(2, None), (4, None), (6, None)]
    assert "killed" in answers["kill"][1]
    assert "ended with code 3" in answers["leave"][1]


def test_jobs_are_read_as_they_are_done():
    read = []
    answers = run_jobs(job, (read.append(n) or n for n in range(100)), 1)
    next(answers)
    answers.close()
    assert len(read) < 5


def test_threads_work_at_the_same_time_and_answer_in_order():
    both, threads = threading.Barrier(2, timeout=20), cv2.getNumThreads()
    answers = run_jobs(lambda number: (both.wait() >= 0, number, cv2.getNumThreads()), range(20), threads=2)
    assert [result for _, result, _ in answers] == [(True, number, 1) for number in range(20)]
    assert cv2.getNumThreads() == threads


def test_threads_that_nobody_waits_for_leave_nothing():
    started, dropped = [], []
    answers = run_jobs(lambda number: started.append(number) or number, range(100), threads=2, drop=dropped.append)
    assert next(answers)[1] == 0
    answers.close()
    assert len(started) <= 4 and sorted([0, *dropped]) == sorted(started)


def test_an_apple_gpu_is_used_by_one_thread(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("maskhub.data.workers.processors", lambda: 96)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert useful_threads() == 8
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert useful_threads() == 1


def test_a_negative_number_of_workers():
    with pytest.raises(ConfigError):
        list(run_jobs(job, [1], -1))


UNGUARDED = """
import sys
from maskhub.data.masked_files import mask_source
from maskhub.errors import ConfigError
try:
    report = mask_source(sys.argv[1], sys.argv[2], workers=2, progress=False)
    print(report)
except ConfigError as error:
    print("error:", error)
"""


def test_a_script_without_its_guard_is_one_error(tmp_path):
    from PIL import Image

    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "in" / "a.png")
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "in"), str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert result.stdout.count("error:") == 1
    assert 'if __name__ == "__main__":' in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({}, 6),
        ({"SLURM_CPUS_ON_NODE": "1"}, 1),  # a job of an array
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"}, 2),  # srun
        ({"SLURM_CPUS_ON_NODE": "64"}, 6),  # bound to fewer
        ({"SLURM_CPUS_ON_NODE": "2", "SLURM_STEP_TASKS_PER_NODE": "8"}, 1),  # shared cores
        ({"SLURM_CPUS_ON_NODE": "many", "SLURM_STEP_TASKS_PER_NODE": "2"}, 6),
    ],
)
def test_a_task_of_slurm_uses_its_share_of_the_cores(monkeypatch, environment, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processors() == cores
