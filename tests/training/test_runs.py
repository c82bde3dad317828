"""Training runs as a user starts them: real processes, killed and resumed, two at once, out of room."""

import json
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from maskhub import FaceMaskPipeline
from maskhub.training.state import latest_checkpoint

ROOT = Path(__file__).parents[2]
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--cpu")
TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def weights(folder):
    return {path.relative_to(folder): load_file(path) for path in sorted(folder.rglob("*.safetensors"))}


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    for name, tensors in one.items():
        assert all(torch.equal(tensor, other[name][key]) for key, tensor in tensors.items()), name


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(small_run, finish, tmp_path_factory):
    """A run of eight steps that nothing disturbed."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    code, text = finish(
        *small_run, "--max-steps", 8, "--checkpoint-every", 4, "--sample-every", 4, "--output", output, launcher=LAUNCH
    )
    assert code == 0, text
    return output


def test_what_a_run_leaves(whole, astronaut):
    assert sorted(path.name for path in whole.iterdir()) == [
        "checkpoints", "curves.png", "metrics.jsonl", "pipeline", "samples",
    ]  # fmt: skip
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["step-00000004", "step-00000008"]
    lines = metrics(whole)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert {"D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"} < lines[0].keys()
    assert lines[0]["images_per_second"] > 0
    assert Image.open(whole / "samples" / "step-00000008.png").size == (6 * 32 + 8, 6 * 32)
    assert FaceMaskPipeline.from_pretrained(whole / "pipeline").mask(astronaut).size == astronaut.size
    assert not [path for path in whole.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_killed_and_resumed_equals_undisturbed(whole, small_run, start, finish, tmp_path):
    output = tmp_path / "killed"
    options = [*small_run, "--checkpoint-every", 4, "--sample-every", 4, "--output", output]
    process = start(*options, "--max-steps", 8, "--workers", 1)
    deadline = time.monotonic() + 120
    while latest_checkpoint(output / "checkpoints") is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, text = finish(*options, "--max-steps", 8, "--workers", 1, "--resume", "latest")
    assert code == 0, text
    assert "going on from" in text or metrics(output)[-1]["step"] == 8
    assert_same_weights(output / "checkpoints" / "step-00000008", whole / "checkpoints" / "step-00000008")
    assert_same_weights(output / "pipeline", whole / "pipeline")
    assert [line["step"] for line in metrics(output)] == list(range(1, 9))
    same = [
        {k: v for k, v in line.items() if k not in ("images_per_second", "peak_memory_mb")} for line in metrics(output)
    ]
    assert same == [{k: line[k] for k in expected} for line, expected in zip(metrics(whole), same, strict=True)]


def test_resumed_in_the_middle_from_a_named_checkpoint(whole, small_run, here, tmp_path):
    output = tmp_path / "copy"
    code, text = here(
        *small_run, "--max-steps", 8, "--output", output, "--resume", whole / "checkpoints" / "step-00000004"
    )
    assert code == 0, text
    assert_same_weights(output / "pipeline", whole / "pipeline")


def test_two_processes_agree_and_leave_cleanly(small_run, finish, tmp_path):
    options = [*small_run, "--max-steps", 4, "--checkpoint-every", 2, "--norm", "batch", "--gradient-accumulation", 2]
    code, text = finish(*options, "--output", tmp_path / "two", launcher=TWO)
    assert code == 0, text  # the loop itself refuses to save where the processes' weights differ
    assert "process group" not in text.lower(), text
    last = tmp_path / "two" / "checkpoints" / "step-00000004"
    pools = [load_file(last / f"process-{rank}.safetensors")["pools/fake_B/images"] for rank in (0, 1)]
    assert not torch.equal(*pools)  # each saw its own share
    shutil.rmtree(last)
    before = weights(tmp_path / "two" / "pipeline")
    code, text = finish(*options, "--output", tmp_path / "two", "--resume", "latest", launcher=TWO)
    assert code == 0, text
    after = weights(tmp_path / "two" / "pipeline")
    assert all(torch.equal(tensor, after[name][key]) for name, group in before.items() for key, tensor in group.items())


def test_a_full_disk_spares_the_last_checkpoint(small_run, finish, here, tmp_path):
    output = tmp_path / "full"
    options = [*small_run, "--checkpoint-every", 2, "--output", output]
    assert here(*options, "--max-steps", 2)[0] == 0
    before = weights(output)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(path.stat().st_size for path in output.rglob("networks.safetensors"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limit[1]))  # inherited by the run: no larger file
    try:
        code, text = finish(*options, "--max-steps", 4, "--resume", "latest")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert code == 2, text
    assert "Traceback" not in text
    assert "error: the checkpoint of step 4 could not be written" in text
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["step-00000002"]
    after = weights(output)
    assert all(torch.equal(tensor, after[name][key]) for name, group in before.items() for key, tensor in group.items())
    assert here(*options, "--max-steps", 4, "--resume", "latest")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--unmasked", ""], "--unmasked is missing"),
        (["--unmasked", "/nowhere/at/all"], "neither a folder here nor"),
        (["--masked", "EMPTY"], "holds no photo"),
        (["--resolution", "30"], "--resolution is 30"),
        (["--resume", "/nowhere"], "is no checkpoint"),
        (["--recipe", "/nowhere.yaml"], "the recipe /nowhere.yaml can't be read"),
        (["--max-steps", "0"], "--max-steps is 0"),
    ],
)
def test_bad_options_are_one_line(small_run, here, tmp_path, options, message):
    (tmp_path / "EMPTY").mkdir()
    options = [str(tmp_path / option) if option == "EMPTY" else option for option in options]
    code, text = here(*small_run, "--output", tmp_path / "run", *options)
    assert code == 2
    assert message in text
    assert "Traceback" not in text
    assert not (tmp_path / "run").exists()


def test_other_options_and_runs_are_refused(whole, small_run, here):
    code, text = here(*small_run, "--max-steps", 8, "--output", whole)
    assert code == 2
    assert "already holds a run" in text
    code, text = here(*small_run, "--max-steps", 8, "--output", whole, "--resume", "latest", "--learning-rate", 1e-3)
    assert code == 2
    assert "learning_rate 0.0002 → 0.001" in text


@pytest.mark.parametrize("kind", ["checkpoints/step-00000004", "pipeline"])
def test_a_new_run_begins_with_the_weights_of_another(whole, small_run, here, tmp_path, kind):
    options = [*small_run, "--output", tmp_path / "next", "--learning-rate", 1e-12, "--max-steps", 1]
    code, text = here(*options, "--init-from", whole / kind)
    assert code == 0, text
    if kind == "pipeline":
        new, old = weights(tmp_path / "next" / kind), weights(whole / kind)
    else:
        new, old = ({0: load_file(path / "networks.safetensors")} for path in (
            tmp_path / "next" / "checkpoints" / "step-00000001", whole / kind))  # fmt: skip
    assert all(torch.allclose(t, old[name][key], atol=1e-9) for name, part in new.items() for key, t in part.items())


def test_weights_of_other_networks_are_refused(whole, small_run, here, tmp_path):
    for path, message in ((whole / "pipeline", "has other networks"), (tmp_path, "neither a checkpoint nor")):
        code, text = here(*small_run, "--generator-width", 4, "--output", tmp_path / "no", "--init-from", path)
        assert code == 2
        assert message in text


def test_dry_run_writes_nothing(small_run, here, tmp_path):
    code, text = here(*small_run, "--output", tmp_path / "run", "--dry-run", "--holdout")
    assert code == 0
    assert "masker: ResnetGenerator" in text
    assert "held-out tenth left out" in text
    assert not (tmp_path / "run").exists()
