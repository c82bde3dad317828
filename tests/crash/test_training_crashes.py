"""A training run is cut off at its steps on the disk; resumed, it ends with the weights of a run that was not.

All runs are in this process: a fresh interpreter would take ten times as long as a run.
"""

import shutil

import numpy as np
import pytest
from crash_disk import CUTS, ERRORS, Fault, run_with
from PIL import Image
from safetensors.numpy import load_file

from maskhub.files import PARTIAL, write_file
from maskhub.training import results, trainer
from maskhub.training.launch import launch
from maskhub.training.registry import task_class

OPTIONS = (
    "--resolution 32 --batch-size 2 --workers 0 --max-steps 2 --checkpoint-every 1 --sample-every 0 --seed 1"
    " --mixed-precision no --generator-width 4 --blocks 1 --discriminator-width 4 --discriminator-layers 1"
)


@pytest.fixture
def train(tmp_path, monkeypatch):
    # drawing takes longer than all the rest of a run
    monkeypatch.setattr(results, "write_curves", lambda run, *more: write_file(run / "curves.png", b"drawn"))
    monkeypatch.setattr(trainer, "STATUS_EVERY", 0.0)  # the same steps in every run
    rng = np.random.default_rng(0)
    for domain in ("unmasked", "masked"):
        (tmp_path / domain).mkdir()
        for number in range(3):
            pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / domain / f"{domain}{number}.png")
    root = tmp_path / "root"

    def run():
        words = [*OPTIONS.split(), "--output", str(root / "run"), "--resume", "latest"]
        for domain in ("unmasked", "masked"):
            words += [f"--{domain}", str(tmp_path / domain)]
        launch(task_class("cyclegan"), "", words)

    def with_fault(fault):
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        try:
            return root, *run_with(root, run, fault, tmp_path / "keep", monkeypatch)
        except SystemExit as stopped:  # one line, and exit code 2
            assert stopped.code == 2
            return root, None, stopped

    with_fault.run = run
    return with_fault


def weights(root):
    files = sorted((root / "run" / "pipeline").rglob("*.safetensors"))
    return {path.name + path.parent.name: {k: v.tobytes() for k, v in load_file(path).items()} for path in files}


def check(train, steps, kinds, expected):
    """Try faults; returns how many struck."""
    struck = 0
    for kind in kinds:
        for step in steps:
            root, disk, _ = train(Fault(step, kind))
            if kind in CUTS:
                if disk is None or disk.left is None:
                    continue
                disk.restore()
            struck += 1
            train.run()
            assert weights(root) == expected, (kind, step)
            names = sorted(path.name for path in (root / "run" / "checkpoints").iterdir())
            assert names[-1] == "step-00000002", (kind, step)
            assert not list(root.rglob(f"{PARTIAL}*")), (kind, step)
    return struck


def test_some_steps(train):
    root, disk, raised = train(None)
    assert raised is None
    expected, count = weights(root), len(disk.steps)
    assert expected and count > 20
    check(train, [count // 3], ["kill"], expected)
    check(train, [2 * count // 3], ["contents lost"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*CUTS, *ERRORS])
def test_every_step(train, kind, capsys):
    root, disk, _ = train(None)
    expected = weights(root)
    struck = check(train, range(len(disk.steps)), [kind], expected)
    with capsys.disabled():
        print(f"\ntraining: {len(disk.steps)} steps, {struck} faults, {kind}")
    assert struck == len(disk.steps)
