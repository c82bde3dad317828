"""Photos, films, safetensors headers, configurations: whatever is broken is refused in one line, soon, in bounds."""

import pytest
from fuzzing import run_target

TARGETS = {"photos": (400, 15_000), "films": (40, 1_500), "headers": (100, 5_000), "configurations": (40, 2_000)}
"""Cases in the suite, and in the slow run."""


def check(result, count):
    assert result["cases"] == count
    assert 0 < result["refused"] < count  # the mutations neither break everything nor nothing
    assert result["slowest"] < 30  # seconds of the processor; the worst is a frame of the largest size


@pytest.mark.parametrize("target", TARGETS)
def test_broken_inputs(target):
    count = TARGETS[target][0]
    check(run_target(f"fuzz_{target}.py", count, seed=0), count)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_broken_inputs(target):
    count = TARGETS[target][1]
    check(run_target(f"fuzz_{target}.py", count, seed=1, timeout=3600), count)
