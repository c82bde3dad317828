"""Jobs in processes: one that kills its process costs itself alone."""

import os
import signal

import pytest

from maskhub import ConfigError, PhotoError
from maskhub.data.workers import run_jobs


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


@pytest.mark.parametrize("workers", [0, 1])
def test_results_and_errors(workers):
    answers = list(run_jobs(job, [1, "error", "bug", 2], workers))
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


def test_a_negative_number_of_workers():
    with pytest.raises(ConfigError):
        list(run_jobs(job, [1], -1))
