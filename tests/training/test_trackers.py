"""``--report-to``: losses, sheets and curves in tensorboard and trackio, offline; one line where that can't be."""

import json
import os
import sqlite3
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from maskhub.errors import ConfigError
from maskhub.training.options import TrainingOptions


def test_a_run_reports_to_two_trackers_and_goes_on_in_both(here, small, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    options = small("reimaging", tmp_path / "run", max_steps=2, checkpoint_every=2, report_to="tensorboard,trackio")
    options |= {"sample_every": 2}
    code, text = here("reimaging", options)
    assert code == 0, text
    code, text = here("reimaging", options | {"max_steps": 4}, "--resume", "latest")
    assert code == 0, text

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "maskhub"), size_guidance={"images": 0}).Reload()
    losses = [name for name in events.Tags()["scalars"] if name.startswith("loss/")]
    assert losses and [event.step for event in events.Scalars(losses[0])] == [1, 2, 3, 4]
    assert {"samples", "curves"} == {name.split("/")[0] for name in events.Tags()["images"]}

    with sqlite3.connect(Path(os.environ["TRACKIO_DIR"], "maskhub.db")) as found:
        rows = found.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
    rows = [(name, step, json.loads(metrics)) for name, step, metrics in rows]
    assert len({name for name, *_ in rows}) == 1 and rows[0][0].startswith("run-")  # one run, continued
    assert [step for _, step, metrics in rows if losses[0] in metrics] == [1, 2, 3, 4]
    assert [step for _, step, metrics in rows if "samples" in metrics] == [2, 4]
    assert len(list(Path(os.environ["TRACKIO_DIR"]).rglob("*.png"))) == 4


@pytest.mark.parametrize("given", ["mlflow", "tensorboard,all", ["x"]])
def test_an_unknown_tracker_is_one_line(given):
    with pytest.raises(ConfigError, match=r"--report-to is .*; it must be one of tensorboard, trackio, wandb"):
        TrainingOptions(report_to=given)


def test_a_missing_package_is_one_line(here, small, tmp_path, monkeypatch):
    monkeypatch.setattr("maskhub.training.trackers.find_spec", lambda name: None)
    code, text = here("reimaging", small("reimaging", tmp_path / "run", report_to="wandb"))
    assert code == 2 and text.strip().splitlines()[-1] == (
        "error: --report-to wandb needs the package wandb: pip install wandb"
    )


def test_a_tracker_that_cannot_start_is_one_line(here, small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("a file where the folder should be")
    code, text = here("reimaging", small("reimaging", tmp_path / "run", report_to="tensorboard"))
    assert code == 2 and "error: --report-to tensorboard can't start: " in text and "Traceback" not in text
