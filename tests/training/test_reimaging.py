"""The small trainers: the paper's steps, exact resume after a kill, clear ends, transfer, reports."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from maskhub import AttributeClassifier, ReimagingPipeline
from maskhub.data.pixel_faces import write_folder
from maskhub.training.attributes import ClassifierConfig, ClassifierTrainer, classification
from maskhub.training.config import read_recipe
from maskhub.training.curves import gan_curves, read_metrics
from maskhub.training.launch import parse
from maskhub.training.reimaging import ReimagingConfig, ReimagingTrainer
from maskhub.training.small import launch_small, read_status
from maskhub.training.state import latest_checkpoint

ROOT = Path(__file__).parents[2]
GAN = "--source builtin:pixel-faces/dark --attributes tone=dark --hidden 16 24 --discriminator-hidden 16 --latent 8"
GAN = f"{GAN} --batch-size 8 --log-every 2 --sample-every 4 --checkpoint-every 4".split()
CLASSIFIER = "--width 4 --hidden 16 --batch-size 16 --log-every 2 --sample-every 4 --checkpoint-every 4 --dropout 0.2"
CLASSIFIER = CLASSIFIER.split()


@pytest.fixture
def here(capfd):
    """Run a training script in this process; returns exit code and output."""

    def run(trainer, config, *options):
        code = 0
        try:
            launch_small(trainer, config, "", [str(option) for option in options])
        except SystemExit as stop:
            code = stop.code
        return code, "".join(capfd.readouterr())

    return run


def gan(here, *options):
    return here(ReimagingTrainer, ReimagingConfig, *GAN, *options)


def train_classifier(here, *options):
    return here(ClassifierTrainer, ClassifierConfig, *CLASSIFIER, *options)


def same_weights(one, other):
    one, other = (
        {p.relative_to(f): load_file(p) for p in sorted(Path(f).rglob("*.safetensors"))} for f in (one, other)
    )
    assert one.keys() == other.keys() and one
    return all(torch.equal(value, other[path][key]) for path, tensors in one.items() for key, value in tensors.items())


def test_what_a_run_leaves(here, tmp_path):
    code, text = gan(here, "--max-steps", 8, "--output", tmp_path)
    assert code == 0, text
    assert "generator: DenseGenerator" in text and "100 faces; guaranteed attributes: tone=dark" in text
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    names = {f"{what}_{on}" for what in ("loss", "accuracy") for on in ("real", "fake", "combined")}
    assert names < lines[0].keys()
    assert read_status(tmp_path) | {"pid": 0} == {
        "state": "finished", "method": "reimaging", "step": 8, "max_steps": 8, "pid": 0,
    }  # fmt: skip
    assert Image.open(tmp_path / "curves.png").width > 600
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == ["step-00000004.png", "step-00000008.png"]
    pipeline = ReimagingPipeline.from_pretrained(tmp_path / "pipeline")
    assert pipeline.models == {"dark": {"tone": "dark"}}
    card = (tmp_path / "pipeline" / "README.md").read_text()
    assert "tone dark" in card and "8 steps" in card
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".pt", ".pkl")]


def test_the_papers_order_of_steps(tmp_path):
    """Real, fake, combined: each with its own update, the discriminator frozen in the last."""
    trainer = ReimagingTrainer(parse(ReimagingConfig, "", [*GAN, "--output", str(tmp_path), "--real-label", "0.8"]))
    order = []
    for name, optimizer in trainer.optimizers.items():

        def step(name=name, plain=optimizer.step):
            others = [part for part in trainer.networks if part != name]
            frozen = [not p.requires_grad for part in others for p in trainer.networks[part].parameters()]
            order.append((name, all(frozen)))
            plain()

        optimizer.step = step
    terms = trainer.train_step()
    assert order == [("discriminator", False), ("discriminator", False), ("generator", True)]
    # an undecided discriminator's losses tell the labels: BCE(0, y) = log 2 for any y, so look at its gradient instead
    assert terms["loss_real"] > 0 and terms["loss_fake"] > 0 and 0 <= terms["accuracy_combined"] <= 1
    logits = torch.zeros(1, requires_grad=True)
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, 0.8)).backward()
    assert logits.grad.item() == pytest.approx(0.5 - 0.8)


def test_real_labels_are_what_the_discriminator_settles_on(tmp_path):
    """Shown real faces alone, it comes to say ``real_label``, not 1."""
    options = [*GAN, "--output", str(tmp_path), "--real-label", "0.7", "--learning-rate", "3e-3", "--max-steps", "1"]
    trainer = ReimagingTrainer(parse(ReimagingConfig, "", options))
    faces = trainer.photos.tensor(slice(0, 32))
    for _ in range(150):
        trainer._discriminate(faces, trainer.config.real_label)
    assert trainer.networks["discriminator"](faces).sigmoid().mean().item() == pytest.approx(0.7, abs=0.05)


def test_killed_and_resumed_equals_undisturbed(tmp_path):
    command = [sys.executable, str(ROOT / "train_scripts" / "train_reimaging.py"), *GAN, "--max-steps", "100000"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    how = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    killed = subprocess.Popen([*command, "--output", str(tmp_path / "killed")], **how)
    deadline = time.monotonic() + 240
    while latest_checkpoint(tmp_path / "killed" / "checkpoints") is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    text = killed.communicate()[0]
    assert latest_checkpoint(tmp_path / "killed" / "checkpoints"), text
    target = int(latest_checkpoint(tmp_path / "killed" / "checkpoints").name[5:]) + 6
    for name, more in (("killed", ["--resume", "latest"]), ("whole", [])):
        output = ["--max-steps", str(target), "--output", str(tmp_path / name)]
        launch_small(ReimagingTrainer, ReimagingConfig, "", [*GAN, *output, *more])
    for part in (f"checkpoints/step-{target:08d}", "pipeline"):
        assert same_weights(tmp_path / "killed" / part, tmp_path / "whole" / part)
    steps = [line["step"] for line in read_metrics(tmp_path / "killed")]
    assert steps == [line["step"] for line in read_metrics(tmp_path / "whole")]


def test_a_broken_off_classifier_goes_on_alike(here, tmp_path, monkeypatch):
    assert train_classifier(here, "--max-steps", 10, "--output", tmp_path / "whole")[0] == 0
    plain = ClassifierTrainer.train_step

    def step(self):
        if self.step == 6:
            raise KeyError("the power went")
        return plain(self)

    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(ClassifierTrainer, "train_step", step)
        train_classifier(here, "--max-steps", 10, "--output", tmp_path / "broken")
    status = read_status(tmp_path / "broken")
    assert status["state"] == "failed" and "the power went" in status["error"]
    code, text = train_classifier(here, "--max-steps", 10, "--output", tmp_path / "broken", "--resume", "latest")
    assert code == 0 and "4 steps done" in text
    assert same_weights(tmp_path / "broken" / "classifier", tmp_path / "whole" / "classifier")
    tests = [read_metrics(tmp_path / name, "tests.jsonl") for name in ("broken", "whole")]
    assert tests[0] == tests[1] and [line["step"] for line in tests[0]] == [4, 8, 10]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_it_with_a_checkpoint(number, code, here, tmp_path, monkeypatch):
    plain = ReimagingTrainer.train_step

    def step(self):
        if self.step == 5:
            os.kill(os.getpid(), number)
        return plain(self)

    monkeypatch.setattr(ReimagingTrainer, "train_step", step)
    before = signal.getsignal(number)
    got, text = gan(here, "--max-steps", 50, "--output", tmp_path)
    assert got == code and "stopped at step 6; go on with --resume latest" in text
    assert latest_checkpoint(tmp_path / "checkpoints").name == "step-00000006"
    assert read_status(tmp_path)["state"] == "stopped"
    assert signal.getsignal(number) == before


def test_a_resumed_run_must_be_the_same(here, tmp_path):
    assert gan(here, "--max-steps", 4, "--output", tmp_path)[0] == 0
    code, text = gan(here, "--max-steps", 8, "--output", tmp_path)
    assert code == 2 and "already holds a run" in text
    code, text = gan(here, "--max-steps", 8, "--output", tmp_path, "--resume", "latest", "--latent", 9)
    assert code == 2 and "latent 8 → 9" in text
    other = ["--source", "builtin:pixel-faces/dark:all"]
    code, text = gan(here, "--max-steps", 8, "--output", tmp_path, "--resume", "latest", *other)
    assert code == 2 and "other photos" in text
    code, text = train_classifier(here, "--max-steps", 8, "--output", tmp_path, "--resume", "latest")
    assert code == 2 and "a run of reimaging" in text
    assert len(text.strip().splitlines()) == 1


def test_transfer_from_a_checkpoint_and_from_a_pipeline(here, tmp_path):
    assert gan(here, "--max-steps", 4, "--output", tmp_path / "a")[0] == 0
    first = tmp_path / "a" / "checkpoints" / "step-00000004"
    more = ["--source", "builtin:pixel-faces/light", "--attributes", "tone=light", "--max-steps", "1"]
    for origin in (first, tmp_path / "a" / "pipeline", tmp_path / "a" / "pipeline" / "generators" / "dark"):
        options = [*GAN, *more, "--init-from", str(origin), "--output", str(tmp_path / "b")]
        trainer = ReimagingTrainer(parse(ReimagingConfig, "", options))
        networks = load_file(first / "networks.safetensors")
        if origin == first:
            mine = trainer.networks["discriminator"].state_dict()
            assert all(torch.equal(mine[key], networks[f"discriminator/{key}"]) for key in mine)
        name = "stack.0.weight"
        learnt = trainer.networks["generator"].state_dict()[name]
        fresh = ReimagingTrainer(parse(ReimagingConfig, "", [*GAN, "--output", "x"])).networks["generator"]
        assert not torch.equal(learnt, fresh.state_dict()[name])
    code, text = gan(here, "--init-from", tmp_path, "--output", tmp_path / "c")
    assert code == 2 and "is no model" in text
    code, text = gan(here, "--init-from", first, "--hidden", 8, "--output", tmp_path / "c")
    assert code == 2 and "other networks" in text


def test_the_classifier_learns_and_reports(here, tmp_path):
    recipe = ROOT / "train_scripts" / "recipes" / "classifier-smoke.yaml"
    code, text = here(ClassifierTrainer, ClassifierConfig, "--recipe", recipe, "--output", tmp_path)
    assert code == 0, text
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["accuracy"] == 1.0 and report["photos"] == 150
    assert report["confusion"] == [[50, 0, 0], [0, 50, 0], [0, 0, 50]]
    assert report["by_label"]["dark"]["f1-score"] == 1.0
    assert "weighted avg" in (tmp_path / "report.txt").read_text()
    assert [line["step"] for line in read_metrics(tmp_path, "tests.jsonl")] == [20, 40, 60]
    assert Image.open(tmp_path / "confusion.png").width > 200
    network = AttributeClassifier.from_pretrained(tmp_path / "classifier")
    assert network.config.labels == ["light", "medium", "dark"] or network.config.labels == ("light", "medium", "dark")
    assert "Accuracy 100.00% on 150 test photos" in (tmp_path / "classifier" / "README.md").read_text()


def test_ones_own_folder_and_column(here, tmp_path):
    write_folder("builtin:pixel-faces/light", tmp_path / "faces")
    own = ["--source", tmp_path / "faces", "--max-steps", 2]
    code, text = train_classifier(here, *own, "--attribute", "hair_style", "--output", tmp_path / "styles")
    assert code == 0 and "none to test on" in text and "balding, bob, bun" in text
    assert "No test photos" in (tmp_path / "styles" / "classifier" / "README.md").read_text()
    assert str(tmp_path) not in (tmp_path / "styles" / "classifier" / "README.md").read_text()
    (tmp_path / "my faces").mkdir()
    (tmp_path / "faces").rename(tmp_path / "my faces" / "train")
    own[1] = tmp_path / "my faces" / "train"
    code, text = gan(here, *own, "--attributes", "hair_colour=red", "eyes=round", "--output", tmp_path / "red")
    assert code == 0, text
    card = (tmp_path / "red" / "pipeline" / "README.md").read_text()
    assert "`my faces/train`" in card and str(tmp_path) not in card  # the dataset's name, not where it lies
    models = ReimagingPipeline.from_pretrained(tmp_path / "red" / "pipeline").models
    assert models == {"red-round": {"hair_colour": "red", "eyes": "round"}}
    code, text = gan(here, *own, "--attributes", "hair_colour=blue", "--output", tmp_path / "blue")
    assert code == 2 and "no photo of" in text and "fair, grey" in text
    code, text = train_classifier(here, *own, "--attribute", "tone", "--output", tmp_path / "tone")
    assert code == 2 and "only 'light' of tone" in text


def test_dcgan_learns_at_its_resolution(here, tmp_path):
    options = ["--architecture", "dcgan", "--width", 2, "--upsampling", "resize", "--max-steps", 2]
    assert gan(here, *options, "--output", tmp_path)[0] == 0
    pipeline = ReimagingPipeline.from_pretrained(tmp_path / "pipeline")
    assert type(pipeline.generators["dark"]).__name__ == "DcganGenerator"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--real-label", "1.5"], "--real-label is 1.5; it must be from 0 to 1"),
        (["--attributes", "dark"], "column=value"),
        (["--batch-size", "1"], "--batch-size is 1; it must be at least 2"),
        (["--source", "builtin:nothing"], "there is no source builtin:nothing"),
        (["--resume", "nowhere"], "nowhere is no checkpoint"),
        (["--recipe", "nowhere.yaml"], "the recipe nowhere.yaml can't be read"),
    ],
)
def test_errors_are_one_line(options, message, here, tmp_path):
    code, text = gan(here, "--output", tmp_path, *options)
    assert code == 2 and message in text and len(text.strip().splitlines()) == 1


def test_a_diverged_run_says_so(here, tmp_path, monkeypatch):
    monkeypatch.setattr(ReimagingTrainer, "_discriminate", lambda self, faces, label: (torch.tensor(float("nan")),) * 2)
    code, text = gan(here, "--max-steps", 4, "--output", tmp_path)
    assert code == 2 and "loss_real" in text and "no number at step 2" in text
    status = read_status(tmp_path)
    assert status["state"] == "failed" and "diverged" in status["error"]


def test_nobody_who_watches_meets_half_a_picture(here, tmp_path, monkeypatch):
    there, save = [], Image.Image.save

    def watched(image, *target, **options):
        save(image, *target, **options)
        there.append([path.name for path in (tmp_path / "samples").glob("step-*.png")])

    monkeypatch.setattr(Image.Image, "save", watched)
    code, text = gan(here, "--max-steps", 2, "--output", tmp_path)
    assert code == 0, text
    assert there[0] == []  # the first picture has been written, and bears no final name yet
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step-00000002.png"]
    with Image.open(tmp_path / "samples" / "step-00000002.png") as image:
        image.load()


def test_dry_run_and_recipes(here, tmp_path):
    for path in sorted((ROOT / "train_scripts" / "recipes").glob("reimaging-*.yaml")):
        config = read_recipe(path, ReimagingConfig)
        config.output = "x"
        config.check()
    paper = read_recipe(ROOT / "train_scripts" / "recipes" / "classifier-paper.yaml", ClassifierConfig)
    assert paper.hidden == [2048, 512] and paper.width == 128
    code, text = gan(here, "--output", tmp_path / "none", "--dry-run")
    assert code == 0 and "real_label: 0.9" in text and not (tmp_path / "none").exists()


def test_a_report_of_imperfect_verdicts():
    report = classification(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0]), ("a", "b", "c"))
    assert report["accuracy"] == pytest.approx(0.6)
    assert report["confusion"] == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert report["by_label"]["c"]["recall"] == 0


def test_curves_need_lines(tmp_path):
    gan_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()
    assert read_status(tmp_path) is None
