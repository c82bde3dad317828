"""Training the mask detector: its losses, its teacher, what it learns, what a run leaves."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from maskhub import MaskDetector
from maskhub.data.folder import is_held_out
from maskhub.data.folder_rows import FolderRows
from maskhub.errors import ConfigError
from maskhub.training.mask_detector import mask_detector_losses
from maskhub.training.status import read_metrics

SCRIPTS = Path(__file__).parents[2] / "train_scripts"


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


def test_prints_are_on_drawn_masks_alone(trainer):
    one = trainer("mask_detector", prints=1.0, real_faces=2)
    batch = next(one.batches())
    images = batch["images"].clone()
    changed = (one.task._with_prints(batch) != images).any(1, keepdim=True)
    assert torch.equal(batch["images"], images)
    assert changed[::6].any() and not changed[torch.arange(len(images)) % 6 != 0].any()
    assert not (changed & (batch["region"] == 0)).any()


def test_hard_faces_count_several_times(detector_photos, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import hard_faces

    bare, worn = tmp_path / "bare", detector_photos / "masked"
    bare.mkdir()
    held_out = next(name for name in (f"{number}.png" for number in range(99)) if is_held_out(name))
    photo = sorted((detector_photos / "unmasked").iterdir())[0]
    for name in ("photo.png", "test.png", held_out):
        Image.open(photo).save(bare / name)
    Image.new("RGB", (64, 64)).save(bare / "no-face.png")
    (bare / "metadata.csv").write_text("file_name,source\ntest.png,fairface_val\nphoto.png,mine\n")
    monkeypatch.setattr(hard_faces, "MISSED", {1.1: 2, 0.0: 5})
    options = hard_faces.Options([bare], [worn], tmp_path / "faces")
    hard_faces.main(options)
    links = [path for path in (tmp_path / "faces").rglob("*") if path.is_symlink()]
    assert [path.name for path in links if "unmasked" in path.parts] == ["photo.png"]
    crops = [path.name for path in worn.iterdir() if not is_held_out(path.name)]
    assert sorted(path.name for path in links if "masked" in path.parts) == sorted(3 * crops)
    assert all(path.exists() for path in links)
    with pytest.raises(ConfigError, match="exists already"):
        hard_faces.main(options)


@pytest.mark.parametrize(
    ("presence", "bare", "worn"),
    [(0.0, 1, 7), (0.09, 1, 7), (0.1, 3, 7), (0.29, 3, 7), (0.3, 6, 7), (0.81, 6, 4), (0.94, 6, 4), (0.96, 6, 1)],
)
def test_how_often_a_hard_face_counts(detector_photos, monkeypatch, presence, bare, worn):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import hard_faces

    found = SimpleNamespace(presence=presence)
    monkeypatch.setattr(hard_faces, "mask_presences", lambda faces, network: [presence])
    monkeypatch.setattr(hard_faces, "detect_masks_on_crops", lambda crops, network: [found] * len(crops))
    assert hard_faces.bare_times(next(iter(FolderRows(detector_photos / "unmasked"))), None) == bare
    assert hard_faces.worn_times(next(iter(FolderRows(detector_photos / "masked"))), None) == worn


def test_the_mean_of_runs_with_a_lower_presence(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import finish_mask_detector as finish

    networks = [MaskDetector(width=4, pyramid=4, resolution=64) for _ in range(2)]
    for number, network in enumerate(networks):
        network.save_pretrained(tmp_path / str(number))
    MaskDetector(width=6, pyramid=4, resolution=64).save_pretrained(tmp_path / "wide")
    folders = [str(tmp_path / "0"), str(tmp_path / "1")]
    finish.main(finish.Options(folders, tmp_path / "mean", lower=1.5))
    one, other, mean = (
        network.state_dict() for network in [*networks, MaskDetector.from_pretrained(tmp_path / "mean")]
    )
    for name, value in mean.items():
        expected = (one[name] + other[name]) / 2 - (1.5 if name == "presence.1.bias" else 0)
        assert torch.allclose(value.float(), expected.float(), atol=1e-6)
    assert MaskDetector.from_pretrained(tmp_path / "mean", variant="fp16", torch_dtype=torch.float16).config.width == 4
    with pytest.raises(ConfigError, match="different sizes"):
        finish.main(finish.Options([folders[0], str(tmp_path / "wide")], tmp_path / "none"))
    assert not (tmp_path / "none").exists()


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
