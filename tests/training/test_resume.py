"""The one loop stopped and resumed, with every task: exact to the bit, in its own folder, with its own options."""

import json
import os
import signal

import pytest
import torch

from maskhub.cards import ModelCard
from maskhub.hold import hold
from maskhub.training.checkpoint import latest_checkpoint
from maskhub.training.registry import TASKS
from maskhub.training.status import read_metrics, read_status

from .conftest import ADVERSARIAL, SMALL, quick, same_weights, task_of, weights

STAGES = """
stages:
- {steps: 3, lr_schedule: constant%s}
- {steps: 3, learning_rate: 1e-3%s}
"""
SECOND = {"cyclegan": "lambda_cycle", "simgan": "lambda_image", "pix2pix": "lambda_reconstruction",
          "attentiongan": "lambda_nmc", "unmasker": "lambda_l1", "mask_detector": "lambda_region"}  # fmt: skip


@pytest.mark.parametrize("name", quick(SMALL, *TASKS))
def test_a_run_resumed_inside_a_stage_ends_with_the_same_bits(name, small, here, tmp_path):
    """Two stages of three and three steps, resumed inside the second, for one task also inside the first."""
    base, task = name.split("-")[0], task_of(name)
    first = ", discriminator_updates: 2" if name in ADVERSARIAL else ""
    second = f", {SECOND[base]}: 3" if base in SECOND else ""
    recipe = tmp_path / "stages.yaml"
    recipe.write_text(STAGES % (first, second))

    def run(output, *more):
        options = small(name, output)
        del options["max_steps"]
        if base == "simgan":
            options |= {"pretrain_generator": 0, "pretrain_discriminator": 0}
        code, text = here(name, options, "--recipe", recipe, *more)
        assert code == 0, text
        return output

    whole = run(tmp_path / "whole", "--checkpoint-every", 2, "--keep-checkpoints", 9, "--sample-every", 3)
    lines = read_metrics(whole)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[2]["learning_rate"] != lines[3]["learning_rate"] <= 1e-3
    assert read_status(whole) | {"pid": 0} == {
        "state": "finished", "method": task.name, "step": 6, "max_steps": 6, "pid": 0,
    }  # fmt: skip
    assert json.loads((whole / task.result / "training.json").read_text()) == {"method": task.name, "step": 6}
    card = ModelCard.load(whole / task.result)
    assert "6 steps so far" in card.render() and {section.title for section in card.sections} >= {"Training", "Limits"}
    assert str(tmp_path) not in card.render() and "/drawn" not in card.render()
    assert (whole / "curves.png").is_file()
    if name != "classifier":
        assert {path.name for path in (whole / "samples").iterdir()} >= {"step-00000003.png", "step-00000006.png"}
    for step in (2, 4) if name == "cyclegan" else (4,):
        again = run(tmp_path / f"from-{step}", "--resume", whole / "checkpoints" / f"step-{step:08d}")
        assert same_weights(again / "checkpoints" / "step-00000006", whole / "checkpoints" / "step-00000006")
        assert same_weights(again / task.result, whole / task.result)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("name", ["cyclegan", "reimaging"])
def test_a_signal_stops_it_with_a_checkpoint(name, number, code, small, here, tmp_path, monkeypatch):
    task = task_of(name)
    plain, steps = task.step, []

    def step(self, batch, turn):
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), number)
        yield from plain(self, batch, turn)

    monkeypatch.setattr(task, "step", step)
    before = signal.getsignal(number)
    got, text = here(name, small(name, tmp_path / "run", max_steps=50))
    assert got == code and "stopped at step 3; continue with --resume latest" in text
    assert latest_checkpoint(tmp_path / "run" / "checkpoints").name == "step-00000003"
    assert read_status(tmp_path / "run")["state"] == "stopped"
    assert signal.getsignal(number) == before


def test_a_run_needs_its_own_folder(small, here, tmp_path):
    assert here("reimaging", small("reimaging", tmp_path, max_steps=2))[0] == 0
    code, text = here("reimaging", small("reimaging", tmp_path, max_steps=4))
    assert code == 2 and "already holds a run" in text
    code, text = here("reimaging", small("reimaging", tmp_path, max_steps=4, latent=9), "--resume", "latest")
    assert code == 2 and "latent 8 → 9" in text
    other = small("reimaging", tmp_path, max_steps=4, source="builtin:pixel-faces/dark:all")
    code, text = here("reimaging", other, "--resume", "latest")
    assert code == 2 and "source 'builtin:pixel-faces/dark' → 'builtin:pixel-faces/dark:all'" in text
    code, text = here("classifier", small("classifier", tmp_path), "--resume", "latest")
    assert code == 2 and "a run of reimaging" in text
    assert len(text.strip().splitlines()) == 1


def test_more_steps_may_be_asked_for(small, here, tmp_path):
    options = small("reimaging", tmp_path / "run", max_steps=2)
    assert here("reimaging", options)[0] == 0
    assert here("reimaging", options | {"max_steps": 4}, "--resume", "latest")[0] == 0
    assert here("reimaging", small("reimaging", tmp_path / "whole", max_steps=4))[0] == 0
    assert same_weights(tmp_path / "run" / "pipeline", tmp_path / "whole" / "pipeline")


def test_a_run_that_goes_back_keeps_its_own_checkpoints(small, here, tmp_path):
    run = tmp_path / "run"
    options = small("reimaging", run, max_steps=12) | {"checkpoint_every": 3, "keep_checkpoints": 4}
    assert here("reimaging", options)[0] == 0
    options |= {"keep_checkpoints": 2, "max_steps": 7}
    assert here("reimaging", options, "--resume", run / "checkpoints" / "step-00000003")[0] == 0
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"step-00000006", "step-00000007"}
    assert latest_checkpoint(run / "checkpoints").name == "step-00000007"
    assert [line["step"] for line in read_metrics(run)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_result_of_an_older_step_is_written_again(small, here, tmp_path):
    options = small("reimaging", tmp_path / "run", max_steps=4) | {"checkpoint_every": 2}
    assert here("reimaging", options | {"max_steps": 2})[0] == 0
    os.rename(tmp_path / "run" / "pipeline", tmp_path / "older")
    assert here("reimaging", options, "--resume", "latest")[0] == 0
    newest = weights(tmp_path / "run" / "pipeline")
    # as after a kill between the last checkpoint and the pipeline
    os.rename(tmp_path / "run" / "pipeline", tmp_path / "newest")
    os.rename(tmp_path / "older", tmp_path / "run" / "pipeline")
    assert here("reimaging", options, "--resume", "latest")[0] == 0
    again = weights(tmp_path / "run" / "pipeline")
    assert all(torch.equal(again[path][key], value) for path, part in newest.items() for key, value in part.items())


def test_two_runs_in_one_folder(small, here, tmp_path):
    with hold(tmp_path / "run", "a training run"):
        code, text = here("reimaging", small("reimaging", tmp_path / "run"))
    assert code == 2 and "a training run" in text
    assert not (tmp_path / "run" / "checkpoints").exists()
