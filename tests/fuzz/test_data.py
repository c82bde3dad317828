"""Tables, journals and shards: whatever is broken is refused in one line, soon, in bounds."""

import pytest
from fuzzing import run_target


@pytest.mark.parametrize("count", [60, pytest.param(5_000, marks=pytest.mark.slow)])
def test_broken_data(count):
    result = run_target("fuzz_data.py", count, seed=count, timeout=3600)
    assert result["cases"] == count
    assert 0 < result["refused"] < count
    assert result["slowest"] < 30  # seconds
