"""Training the mask detector: its losses, its teacher, what it learns, what a run leaves."""

import pytest
import torch

from maskhub import MaskDetector
from maskhub.training.mask_detector import mask_detector_losses
from maskhub.training.status import read_metrics


def batch_of(presence, region, known):
    return {"presence": torch.tensor(presence), "region": region, "known": torch.tensor(known)}


def test_the_losses_are_those_of_the_formula():
    region = torch.zeros(2, 1, 4, 4)
    region[0, :, 2:] = 1
    batch = batch_of([1.0, 0.0], region, [1.0, 1.0])
    right = (region * 2 - 1) * 20
    terms = mask_detector_losses(torch.tensor([20.0, -20.0]), right, batch)
    assert terms["presence"] < 1e-6 and terms["region"] < 1e-6
    terms = mask_detector_losses(torch.zeros(2), torch.zeros(2, 1, 4, 4), batch)
    assert terms["presence"] == pytest.approx(0.6931, abs=1e-4)
    # log 2 for each pixel, and Dice of 2 · 4 of 8 + 8, each with 1 added, for the one crop that has a region
    assert terms["region"] == pytest.approx(0.6931 + 1 - 9 / 17, abs=1e-4)


def test_the_teacher_teaches_where_it_is_sure_and_the_region_is_unknown():
    logits = torch.zeros(2, 1, 4, 4, requires_grad=True)
    taught = torch.full((2, 1, 4, 4), 0.7)
    taught[:, :, 0] = 0.95
    terms = mask_detector_losses(
        torch.zeros(2), logits, batch_of([1.0, 1.0], torch.zeros(2, 1, 4, 4), [1.0, 0.0]), taught
    )
    terms["consistency"].backward()
    pulled = logits.grad.abs() > 0
    assert pulled[1, 0, 0].all() and not pulled[1, 0, 1:].any() and not pulled[0].any()


def test_the_teacher_begins_after_a_fifth_of_the_run(trainer):
    one = trainer("mask_detector", max_steps=10)
    batches = one.batches()
    for step, expected in ((0, False), (1, False), (2, True), (9, True)):
        one.step = step
        terms, _ = one.train_step(batches)
        assert ("consistency" in terms) == expected


@pytest.mark.slow
def test_it_learns(small, here, tmp_path):
    """The last 20 steps against the first 10: seeds 1 to 5 end at 0.5 to 0.7 of where they began."""
    options = small("mask_detector", tmp_path / "run", width=8, pyramid=8, batch_size=2, max_steps=80)
    code, text = here("mask_detector", options | {"log_every": 10, "learning_rate": 1e-2})
    assert code == 0, text
    lines = read_metrics(tmp_path / "run")
    for loss in ("presence", "region"):
        assert (lines[-2][loss] + lines[-1][loss]) / 2 < 0.8 * lines[0][loss]
    detector = MaskDetector.from_pretrained(tmp_path / "run" / "detector", variant="fp16", torch_dtype=torch.float16)
    assert detector.dtype == torch.float16


@pytest.mark.parametrize("options", [["--resolution", "40"], ["--ema-decay", "1"], ["--lambda-region", "-1"]])
def test_bad_options_are_one_line(options, small, here, tmp_path):
    code, text = here("mask_detector", small("mask_detector", tmp_path / "run"), *options)
    assert code == 2 and f"error: {options[0]} is {options[1]}; it must be" in text


def test_its_steps_cannot_be_recorded(small, here, tmp_path):
    code, text = here("mask_detector", small("mask_detector", tmp_path / "run"), "--cuda-graph")
    assert code == 2 and "--cuda-graph can't be used with mask-detector: its steps can't be recorded" in text
