"""Generators and classifiers of the re-imaging paper: its order of updates, transfer, reports, what a run leaves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from maskhub import AttributeClassifier, ReimagingPipeline
from maskhub.data.pixel_faces import write_folder
from maskhub.data.positions import endless_batches
from maskhub.training.classifier import classification
from maskhub.training.report import write_curves
from maskhub.training.status import read_metrics, read_status
from maskhub.training.trainer import Trainer

from .conftest import task_of

RECIPES = Path(__file__).parents[2] / "train_scripts" / "recipes"


def test_what_a_run_leaves(small, here, tmp_path):
    options = small("reimaging", tmp_path, max_steps=8) | {"log_every": 2, "sample_every": 4}
    code, text = here("reimaging", options)
    assert code == 0, text
    assert "generator: DenseGenerator" in text and "100 faces; guaranteed attributes: tone=dark" in text
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert {f"{what}_{on}" for what in ("loss", "accuracy") for on in ("real", "fake", "combined")} < lines[0].keys()
    assert Image.open(tmp_path / "curves.png").width > 600
    assert {p.name for p in (tmp_path / "samples").glob("step-*")} == {"step-00000004.png", "step-00000008.png"}
    pipeline = ReimagingPipeline.from_pretrained(tmp_path / "pipeline")
    assert pipeline.models == {"dark": {"tone": "dark"}}
    card = (tmp_path / "pipeline" / "README.md").read_text()
    assert "tone dark" in card and "8 steps" in card
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".pt", ".pkl")]


def test_a_cuda_graph_needs_a_gpu(small, here, tmp_path):
    code, text = here("reimaging", small("reimaging", tmp_path / "run"), "--cuda-graph")
    assert code == 2 and text.strip() == "error: --cuda-graph needs a single process on an NVIDIA GPU."


def test_batches_put_together_at_once_are_those_of_a_loader(trainer):
    one = trainer("reimaging")
    dataset = one.task.dataset(3, start=4, batch_size=4)
    quick, slow = one.task.batches(dataset, 0, False), endless_batches(dataset)
    for _ in range(30):  # over the end of a pass
        assert torch.equal(next(quick)["image"], next(slow)["image"])


def test_the_papers_order_of_updates(trainer):
    """Combined, fake, real: each with its own update, the discriminator as it is in the first."""
    one = trainer("reimaging", real_label=0.8)
    order, terms = [], []
    for update in one.task.step(next(one.batches()), 0):
        one.accelerator.backward(update.loss)
        learnt = {name for name, net in one.task.networks.items() for p in net.parameters() if p.grad is not None}
        order.append((update.optimizer, learnt))
        terms += update.terms
        one.optimizers[update.optimizer].step()
        one.optimizers[update.optimizer].zero_grad()
    sides = ["generator", "discriminator", "discriminator"]
    assert order == [(side, {side}) for side in sides]
    assert terms == [f"{what}_{on}" for on in ("combined", "fake", "real") for what in ("loss", "accuracy")]


def test_real_labels_are_what_the_discriminator_settles_on(trainer):
    """Shown real faces alone, it comes to say ``real_label``, not 1."""
    one = trainer("reimaging", real_label=0.7, batch_size=32, discriminator_dropout=0.0, max_steps=150)
    optimizer, batches = one.optimizers["discriminator"], one.batches()
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    for _ in range(150):
        *_, update = one.task.step(next(batches), 0)
        update.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    faces = one.task.faces.tensor(slice(0, 32))
    assert one.task.networks["discriminator"](faces).sigmoid().mean().item() == pytest.approx(0.7, abs=0.05)


def test_transfer_from_a_checkpoint_and_from_a_pipeline(small, here, tmp_path):
    assert here("reimaging", small("reimaging", tmp_path / "a", max_steps=4))[0] == 0
    first = tmp_path / "a" / "checkpoints" / "step-00000004"
    task = task_of("reimaging")

    def begun(**changes):
        other = {"source": "builtin:pixel-faces/light", "attributes": ["tone=light"]} | changes
        one = Trainer(task, task.Options(**small("reimaging", tmp_path / "b", **other)))
        one.close()
        return one.task.networks

    fresh = begun()["generator"].state_dict()
    for origin in (first, tmp_path / "a" / "pipeline", tmp_path / "a" / "pipeline" / "generators" / "dark"):
        networks = begun(init_from=str(origin))
        if origin == first:
            saved = load_file(first / "networks.safetensors")
            mine = networks["discriminator"].state_dict()
            assert all(torch.equal(mine[key], saved[f"discriminator/{key}"]) for key in mine)
        name = "stack.0.weight"
        assert not torch.equal(networks["generator"].state_dict()[name], fresh[name])
    code, text = here("reimaging", small("reimaging", tmp_path / "c"), "--init-from", tmp_path)
    assert code == 2 and "neither a checkpoint nor" in text
    code, text = here("reimaging", small("reimaging", tmp_path / "c", hidden=[8]), "--init-from", first)
    assert code == 2 and "other networks" in text


def test_the_classifier_learns_and_reports(here, tmp_path):
    code, text = here("classifier", {"output": str(tmp_path)}, "--recipe", RECIPES / "classifier-smoke.yaml")
    assert code == 0, text
    folder = tmp_path / "classifier"
    report = json.loads((folder / "report.json").read_text())
    assert report["photos"] == 150 and report["accuracy"] > 0.9 and report["by_label"]["dark"]["f1-score"] > 0.8
    assert np.trace(report["confusion"]) == pytest.approx(150 * report["accuracy"])
    assert "weighted avg" in (folder / "report.txt").read_text()
    tests = read_metrics(tmp_path, "tests.jsonl")
    assert [line["step"] for line in tests] == [20, 40, 60]
    assert tests[-1]["accuracy_test"] == pytest.approx(report["accuracy"])
    assert Image.open(folder / "confusion.png").width > 200
    network = AttributeClassifier.from_pretrained(folder)
    assert list(network.config.labels) == ["light", "medium", "dark"]
    assert f"Accuracy {report['accuracy']:.2%} on 150 test photos" in (folder / "README.md").read_text()


def test_a_broken_off_classifier_tests_again(small, here, tmp_path, monkeypatch):
    options = small("classifier", tmp_path / "whole", max_steps=10) | {"sample_every": 4, "checkpoint_every": 4}
    assert here("classifier", options)[0] == 0
    task = task_of("classifier")
    plain, steps = task.step, []

    def step(self, batch, turn):
        steps.append(1)
        if len(steps) == 7:
            raise KeyError("the power went")
        return plain(self, batch, turn)

    options["output"] = str(tmp_path / "broken")
    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(task, "step", step)
        here("classifier", options)
    status = read_status(tmp_path / "broken")
    assert status["state"] == "failed" and "the power went" in status["error"]
    code, text = here("classifier", options, "--resume", "latest")
    assert code == 0 and "4 steps done" in text
    tests = [read_metrics(tmp_path / name, "tests.jsonl") for name in ("broken", "whole")]
    assert tests[0] == tests[1] and [line["step"] for line in tests[0]] == [4, 8, 10]


def test_ones_own_folder_and_column(small, here, tmp_path):
    write_folder("builtin:pixel-faces/light", tmp_path / "faces")
    own = {"source": str(tmp_path / "faces"), "max_steps": 2}
    code, text = here("classifier", small("classifier", tmp_path / "styles", attribute="hair_style", **own))
    assert code == 0 and "no test faces" in text and "balding, bob, bun" in text
    card = (tmp_path / "styles" / "classifier" / "README.md").read_text()
    assert "No test photos" in card and str(tmp_path) not in card
    (tmp_path / "my faces").mkdir()
    (tmp_path / "faces").rename(tmp_path / "my faces" / "train")
    own["source"] = str(tmp_path / "my faces" / "train")
    red = ["hair_colour=red", "eyes=round"]
    code, text = here("reimaging", small("reimaging", tmp_path / "red", **own | {"attributes": red}))
    assert code == 0, text
    card = (tmp_path / "red" / "pipeline" / "README.md").read_text()
    assert "`my faces/train`" in card and str(tmp_path) not in card  # the dataset's name, not where it lies
    models = ReimagingPipeline.from_pretrained(tmp_path / "red" / "pipeline").models
    assert models == {"red-round": {"hair_colour": "red", "eyes": "round"}}
    blue = small("reimaging", tmp_path / "blue", **own | {"attributes": ["hair_colour=blue"]})
    code, text = here("reimaging", blue)
    assert code == 2 and "no photo of" in text and "fair, grey" in text
    code, text = here("classifier", small("classifier", tmp_path / "tone", attribute="tone", **own))
    assert code == 2 and "only 'light' of tone" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"real_label": 1.5}, "--real-label is 1.5; it must be from 0 to 1"),
        ({"attributes": ["dark"]}, "column=value"),
        ({"batch_size": 1}, "--batch-size is 1; it must be at least 2"),
        ({"source": "builtin:nothing"}, "there is no source builtin:nothing"),
        ({"resume": "nowhere"}, "nowhere is not a checkpoint"),
    ],
)
def test_errors_are_one_line(changes, message, small, here, tmp_path):
    code, text = here("reimaging", small("reimaging", tmp_path / "run", **changes))
    assert code == 2 and message in text and len(text.strip().splitlines()) == 1


def test_nobody_who_watches_meets_half_a_picture(small, here, tmp_path, monkeypatch):
    there, save = [], Image.Image.save

    def watched(image, *target, **options):
        save(image, *target, **options)
        there.append([path.name for path in (tmp_path / "samples").glob("step-*.png")])

    monkeypatch.setattr(Image.Image, "save", watched)
    code, text = here("reimaging", small("reimaging", tmp_path, max_steps=2) | {"sample_every": 2})
    assert code == 0, text
    assert there[0] == []  # the first picture has been encoded, and has no final name yet
    with Image.open(tmp_path / "samples" / "step-00000002.png") as image:
        image.load()


def test_a_report_of_imperfect_verdicts():
    report = classification(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0]), ("a", "b", "c"))
    assert report["accuracy"] == pytest.approx(0.6)
    assert report["confusion"] == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert report["by_label"]["c"]["recall"] == 0


def test_curves_need_lines(tmp_path):
    write_curves(tmp_path, lambda names: {"loss": names})
    assert not (tmp_path / "curves.png").exists()
    assert read_status(tmp_path) is None
