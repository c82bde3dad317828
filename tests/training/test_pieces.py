"""The small parts of training: pool, schedule, recipe, state on disk."""

from types import SimpleNamespace

import pytest
import torch

from maskhub import CheckpointError, ConfigError, SourceError
from maskhub.data.sources import FolderSource
from maskhub.data.unpaired import UnpairedPhotos, endless_batches
from maskhub.errors import DivergenceError
from maskhub.training import state
from maskhub.training.config import read_recipe
from maskhub.training.cyclegan import CycleGANConfig
from maskhub.training.launch import _one_line, parse
from maskhub.training.loop import TrainingLoop
from maskhub.training.pool import ImagePool
from maskhub.training.schedule import learning_rate_factor


def fake(value):
    return torch.full((1, 3, 2, 2), float(value))


def test_the_pool_fills_then_swaps_half_of_the_time():
    pool = ImagePool(5, seed=0)
    assert all(pool(fake(i)).unique().item() == i for i in range(5))
    out = [pool(fake(i)).unique().item() for i in range(5, 205)]
    old = sum(value != i for value, i in zip(out, range(5, 205), strict=True))
    assert 70 < old < 130
    assert len(pool.images) == 5


def test_an_empty_pool_passes_through():
    assert ImagePool(0)(fake(3)).unique().item() == 3


def test_a_restored_pool_goes_on_alike():
    one, other = ImagePool(3, seed=4), ImagePool(3, seed=9)
    for i in range(10):
        one(fake(i))
    other.load_state_dict(one.state_dict())
    assert [one(fake(i)).unique().item() for i in range(30)] == [other(fake(i)).unique().item() for i in range(30)]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("linear", [1, 1, 1, 0.5, 0.02]), ("cosine", [1, 0.8536, 0.5, 0.1464, 0.0002]), ("constant", [1, 1, 1, 1, 1])],
)
def test_schedules(schedule, factors):
    steps = (0, 25, 50, 75, 99)
    assert [learning_rate_factor(schedule, step, 100) for step in steps] == pytest.approx(factors, abs=1e-3)


def test_the_command_line_goes_over_the_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text("learning-rate: 1e-3\nblocks: 6\nmixed_precision: no\nholdout: true\n")
    args = f"--recipe {tmp_path}/r.yaml --blocks 3 --unmasked a --masked b --output c".split()
    config = parse(CycleGANConfig, "", args)
    assert (config.learning_rate, config.blocks, config.mixed_precision, config.holdout) == (1e-3, 3, "no", True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bloks: 3", "unknown options: bloks"),
        ("- 1", "must be a mapping"),
        ("a: [", "no YAML"),
        ("blocks: six", "must be of type int"),
        ("gan_loss: hinge", "must be one of"),
        ("learning_rate: fast", "must be a number"),
    ],
)
def test_bad_recipes(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_recipe(tmp_path / "r.yaml", CycleGANConfig)


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"ema_decay": 1.0}, {"learning_rate": 0.0}, {"resolution": 32, "discriminator_layers": 5},
     {"lambda_cycle": -1.0}, {"generator_width": 0}, {"norm": "batch", "resolution": 32}],
)  # fmt: skip
def test_impossible_options(wrong):
    with pytest.raises(ConfigError):
        CycleGANConfig(unmasked="a", masked="b", output="c", **wrong).check()


def test_flatten_and_back():
    tree = {"net": {"a.weight": torch.ones(2), "b": {"0": torch.zeros(1)}}, "x": torch.tensor(3)}
    flat = state.flatten(tree)
    assert set(flat) == {"net/a.weight", "net/b/0", "x"}
    assert torch.equal(state.unflatten(flat)["net"]["b"]["0"], torch.zeros(1))


def test_only_whole_checkpoints_count(tmp_path):
    assert state.latest_checkpoint(tmp_path / "none") is None
    for name in ("step-00000009", "step-00000100", ".step-00000200.partial", "step-old"):
        (tmp_path / name).mkdir()
    assert state.latest_checkpoint(tmp_path).name == "step-00000100"
    state.prune_checkpoints(tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000100", "step-old"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        state.load_checkpoint(tmp_path, 0)
    (tmp_path / "state.json").write_text('{"step": 1}')
    (tmp_path / "networks.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="is damaged"):
        state.load_checkpoint(tmp_path, 0)


def test_an_error_from_a_worker_process_is_one_line(drawn):
    source = FolderSource(drawn / "unmasked")
    source.walk = broken_walk
    batches = endless_batches(UnpairedPhotos({"unmasked": source, "masked": source}, 32, seed=0), workers=1)
    with pytest.raises(SourceError) as caught:
        next(batches)
    assert len(str(caught.value).splitlines()) > 5
    assert _one_line(caught.value) == "nothing left."


def broken_walk(positions, seed):
    raise SourceError("nothing left.")
    yield


@pytest.mark.parametrize("device, dtype", [("cpu", torch.float64), ("mps", torch.float32)])
def test_weights_are_checked_in_numbers_that_the_device_has(device, dtype):
    seen = []
    accelerator = SimpleNamespace(device=torch.device(device), gather=lambda sums: seen.append(sums.dtype) or sums)
    network = torch.nn.Linear(2, 2)
    loop = SimpleNamespace(bare={"net": network}, accelerator=accelerator, step=3, _diverged=DivergenceError)
    TrainingLoop._check_weights(loop)
    assert seen == [dtype]
    torch.nn.init.constant_(network.bias, torch.nan)
    with pytest.raises(DivergenceError, match="no number"):
        TrainingLoop._check_weights(loop)
    torch.nn.init.zeros_(network.bias)
    accelerator.gather = lambda sums: torch.cat([sums, sums + 1])
    with pytest.raises(CheckpointError, match="step 3 the processes have different weights"):
        TrainingLoop._check_weights(loop)
