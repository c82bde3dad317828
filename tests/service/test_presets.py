"""Lengths of training in words, and how long they take here."""

import json
import time
from dataclasses import replace

import pytest

from maskhub.service.jobs import Jobs, Request, max_steps
from maskhub.service.presets import NAMES, SPEED, Presets


@pytest.fixture
def jobs(home):
    return Jobs(home)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dataset", ["builtin:pixel-faces/light", "builtin:portraits"])
def test_a_preset_can_be_asked_for_and_fits_the_pictures(jobs, name, dataset, monkeypatch):
    fields = Presets(jobs).all(dataset)[name]
    paper = name == "As in the paper"
    photos = dataset.endswith("portraits")
    assert (fields["architecture"], fields["resolution"]) == (("dcgan", 64) if photos and not paper else ("dense", 32))
    assert fields["max_steps"] == 98_000 if paper else fields["max_steps"] < 10_000
    job = jobs.submit(Request(dataset, **fields), key="me")
    assert job.options["max_steps"] == fields["max_steps"]
    monkeypatch.setenv("MASKHUB_MAX_STEPS", "70")
    assert Presets(jobs).all(dataset)[name]["max_steps"] == max_steps() == 70


def test_the_time_is_that_of_the_last_jobs(jobs):
    presets = Presets(jobs)
    first = presets.seconds("dense", 32, 32, 1000)
    assert 1 < first < 10_000 and presets.seconds("dense", 32, 32, 2000) == pytest.approx(2 * first)
    job = jobs.submit(Request("builtin:pixel-faces"), key="me")
    jobs.write(replace(job, state="finished", ended=time.time()))
    run = jobs.folder(job.id) / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text(json.dumps({"step": 50, "images_per_second": 64.0}))
    assert presets.seconds("dense", 32, 32, 1000) == pytest.approx(32 * 1000 / 64)
    slower = SPEED["dense", 32] / 64
    assert presets.seconds("dcgan", 64, 32, 1000) == pytest.approx(slower * 32 * 1000 / SPEED["dcgan", 64])
