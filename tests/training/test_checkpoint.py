"""Checkpoints: written whole, verified by hashes, pruned by order of writing."""

import json
import shutil

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load, save

from maskhub.errors import CheckpointError
from maskhub.training import checkpoint
from maskhub.training.checkpoint import Record


@pytest.fixture
def accelerator():
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def write(accelerator, tmp_path):
    def one(step):
        record = Record(
            step=step, written=0, processes=1, method="test", seconds=1.5, photos="", options={"a": 1}, averages={},
            optimizers={"adam": [{"lr": 2e-4, "betas": (0.5, 0.999), "params": [0]}]}, scaler=None, versions={},
        )  # fmt: skip
        shared = {"networks": {"net": {"weight": torch.full((4, 4), float(step))}}, "optimizers": {"adam": {}}}
        return checkpoint.write_checkpoint(
            tmp_path, shared, {"random": {"cpu": torch.get_rng_state()}}, record, accelerator
        )

    return one


def test_flatten_and_back():
    tree = {"net": {"a.weight": torch.ones(2), "b": {"0": torch.zeros(1)}}, "x": torch.tensor(3)}
    flat = checkpoint.flatten(tree)
    assert set(flat) == {"net/a.weight", "net/b/0", "x"}
    assert torch.equal(checkpoint.unflatten(flat)["net"]["b"]["0"], torch.zeros(1))


def test_what_is_written_comes_back(write):
    record, shared, own = checkpoint.load_checkpoint(write(3))
    assert (record.step, record.written, record.options, record.seconds) == (3, 1, {"a": 1}, 1.5)
    assert torch.equal(shared["networks"]["net"]["weight"], torch.full((4, 4), 3.0))
    assert torch.equal(own["random"]["cpu"], torch.get_rng_state())
    assert checkpoint.load_checkpoint(write(4), process=1)[2] is None


def test_the_order_of_writing_counts(write, tmp_path):
    for step in (9, 12, 3, 9):
        write(step)
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == [
        "step-00000012",
        "step-00000003",
        "step-00000009",
    ]
    checkpoint.prune_checkpoints(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000009"]
    assert checkpoint.latest_checkpoint(tmp_path).name == "step-00000009"
    assert checkpoint.latest_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "step-old").mkdir()
    (tmp_path / ".partial-x").mkdir()
    assert checkpoint.latest_checkpoint(tmp_path).name == "step-00000009"


def flip(path, place=-3):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


FILES = ["networks.safetensors", "optimizers.safetensors", "process-0.safetensors", "state.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flipped", "missing", "cut", "a folder"])
def test_damage_is_found_and_the_one_before_is_taken(name, damage, write, tmp_path):
    older, newest = write(1), write(2)
    file = newest / name
    if damage == "flipped":
        flip(file, file.read_bytes().index(b'"step": 2') + 8 if name == "state.json" else -3)
    else:
        data = file.read_bytes()
        file.unlink()
        if damage == "cut":
            file.write_bytes(data[: len(data) // 2])
        elif damage == "a folder":
            file.mkdir()
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_checkpoint(newest)
    message = str(caught.value)
    assert name in message and "\n" not in message
    run, said = tmp_path.parent / "run", []
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    tmp_path.rename(run / "checkpoints")
    found = checkpoint.resume_path(run, "latest", said.append)
    assert found == run / "checkpoints" / older.name
    assert len(said) == (0 if name == "state.json" else 1) and all("skipped" in line for line in said)
    (run / "checkpoints").rename(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '"text"', "{}", '{"step": 1}', "null", '{"step": "many", "files": []}', "{", "\x00"]
)
def test_a_state_of_another_shape_is_one_line(text, write):
    path = write(1)
    (path / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"is damaged: state\.json") as caught:
        checkpoint.load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_its_process_says_so(write):
    path = write(1)
    (path / "process-0.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"process-0\.safetensors is missing"):
        checkpoint.load_checkpoint(path)


def test_whole_but_none_of_ours_is_refused(write):
    path = write(1)
    tensors = load((path / "networks.safetensors").read_bytes())
    (path / "networks.safetensors").write_bytes(save({name: value + 1 for name, value in tensors.items()}))
    with pytest.raises(CheckpointError, match="has changed since it was written"):
        checkpoint.load_networks(path)


def test_no_checkpoint_at_all(tmp_path, write):
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        checkpoint.load_checkpoint(tmp_path)
    assert checkpoint.resume_path(tmp_path / "run", "latest") is None
    path = write(1)
    flip(path / "networks.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    shutil.copytree(path, run / "checkpoints" / path.name)
    with pytest.raises(CheckpointError, match=r"all checkpoints in .* are damaged"):
        checkpoint.resume_path(run, "latest", say=lambda line: None)
    assert json.loads((path / "state.json").read_text())["files"].keys() == {*FILES} - {"state.json"}
