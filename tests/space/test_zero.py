"""ZeroGPU: crops are pickled on their way to the GPU's process and back, and pictures are the same."""

import contextvars
import pickle

import numpy as np
import pytest
from gradio.context import LocalContext

from space.zero import is_zero, lent

spaces = pytest.importorskip("spaces")


def test_only_the_network_runs_there(tiny_pipeline, astronaut, monkeypatch):
    calls = []

    def between_processes(task, duration):
        assert 0 < duration <= 60

        def call(*given):
            calls.append(given)
            return pickle.loads(pickle.dumps(task(*pickle.loads(pickle.dumps(given)))))

        return call

    monkeypatch.setattr(spaces, "GPU", between_processes)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    pipe = lent(tiny_pipeline, "cpu")
    pipe(astronaut, "mask")
    assert not calls  # no visitor yet
    visitor = contextvars.copy_context()
    visitor.run(LocalContext.request.set, "a visitor's")
    for call in (lambda pipe: pipe(astronaut, "mask", details=True), lambda pipe: pipe.cycle(astronaut, details=True)):
        far, near = visitor.run(call, pipe), call(tiny_pipeline)
        assert np.array_equal(np.asarray(far.images[0]), np.asarray(near.images[0]))
        assert np.array_equal(far.regions[0], near.regions[0])
    assert len(calls) >= 3 and all(crop.shape == (64, 64, 3) for _, crops, *_ in calls for crop in crops)


def test_elsewhere_it_is_the_pipeline_itself(tiny_pipeline, monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert not is_zero() and lent(tiny_pipeline) is tiny_pipeline
