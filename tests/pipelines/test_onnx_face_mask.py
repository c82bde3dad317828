"""Pipelines without torch: the same pictures by onnxruntime, from the package, a folder and the Hub."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from huggingface_hub import HfApi

from maskhub import (
    CheckpointError,
    ConfigError,
    FaceMaskPipeline,
    LightGenerator,
    OnnxFaceMaskPipeline,
    PhotoError,
)
from maskhub.cli import main
from maskhub.direction import Direction
from maskhub.faces import align
from maskhub.models.noise import Normal
from maskhub.pipelines.changed import changed_region
from maskhub.pipelines.photo_pipeline import TWO_STEP


def pixels(image):
    return np.asarray(image).astype(np.int16)


@pytest.mark.parametrize("seed", [0, 7, 2**31 + 5, 2**40 + 3])
def test_the_noise_is_torchs(seed):
    ours, theirs = Normal(seed), torch.Generator().manual_seed(seed)
    for shape in [(1, 1, 64, 64), (1, 1, 2, 2), (3, 1), (1, 1, 5, 7), (1, 1, 2, 2), (2, 1, 16, 16)]:
        assert np.abs(ours(*shape) - torch.randn(*shape, generator=theirs).numpy()).max() < 1e-5


def test_the_bundled_pipelines_agree(astronaut, masked_astronaut):
    torch_pipe, onnx_pipe = FaceMaskPipeline.bundled(), OnnxFaceMaskPipeline.bundled()
    for photo, direction in ((astronaut, "mask"), (masked_astronaut, "unmask")):
        wanted, found = (pipe(photo, direction, seed=5, details=True) for pipe in (torch_pipe, onnx_pipe))
        assert np.abs(pixels(found.images[0]) - pixels(wanted.images[0])).max() <= 1
        assert np.abs(found.regions[0] - wanted.regions[0]).max() < 0.02
        assert found.images[0].info.keys() == wanted.images[0].info.keys()
    assert onnx_pipe.backends == {"unmasker": "onnxruntime"}  # masks are drawn by rule
    torch_pipe, onnx_pipe = (kind.from_pretrained(TWO_STEP) for kind in (FaceMaskPipeline, OnnxFaceMaskPipeline))
    wanted, found = (pixels(pipe.mask(astronaut, seed=5)) for pipe in (torch_pipe, onnx_pipe))
    assert np.abs(found - wanted).max() <= 1 and onnx_pipe.backends == {"masker": "onnxruntime"}
    with pytest.raises(CheckpointError, match="no pipeline could be loaded"):
        OnnxFaceMaskPipeline.from_pretrained("no/such/folder")


@pytest.fixture(scope="module")
def pipe():
    """A masker that takes noise, with a visible effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = LightGenerator(widths=(8, 16), blocks=(1, 1), heads=2, positions=4, detail=4, noise=1.0)
        for name, parameter in network.named_parameters():
            if name.endswith("weight"):
                torch.nn.init.normal_(parameter, 0, 0.15)
    return FaceMaskPipeline(masker=network, resolution=64)


def test_a_pushed_pipeline_with_onnx_files_runs_without_torch(pipe, astronaut, hub_user, tmp_path):
    pytest.importorskip("onnxscript")
    repo, folder = hub_user.repo("onnx"), tmp_path / "pipeline"
    pipe.save_pretrained(folder)
    with pytest.raises(SystemExit) as end:
        main(["push", str(folder), repo, "--onnx"])
    assert end.value.code == 0
    assert {"onnx/masker.onnx", "masker/graph.onnx"} <= {*HfApi().list_repo_files(repo)}
    found = OnnxFaceMaskPipeline.from_pretrained(repo, cache_dir=tmp_path / "cache")
    for seed in (1, 2):
        made = found.mask(astronaut, force=True, seed=seed)
        assert np.abs(pixels(made) - pixels(pipe.mask(astronaut, force=True, seed=seed))).max() <= 1

    # what a program in another language does
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "masker.onnx"))
    crop = np.asarray(astronaut.crop((165, 45, 285, 195)).resize((64, 64)))
    result, region = session.run(None, {"crop": crop[None]})
    (wanted,) = pipe.run(Direction.MASK, [crop], [(0, 0)], 1)
    assert np.abs(pixels(result[0]) - wanted).max() <= 1
    middle = np.array([[1.0, 0, -64], [0, 1, -64]])
    assert np.abs(region[0] - changed_region(crop, wanted, middle, np.empty((192, 192, 3)))).max() < 0.02
    noise = {put.name: np.ones(put.shape, np.float32) for put in session.get_overridable_initializers()}
    assert len(noise) == 3
    assert np.abs(pixels(session.run(None, {"crop": crop[None], **noise})[0][0]) - pixels(result[0])).max() > 3
    assert align.EYE_HEIGHT == 0.32  # the docs tell callers

    index = json.loads((folder / "masker" / "config.json").read_text())
    (folder / "masker" / "config.json").write_text(json.dumps(index | {"noise": 0.5}))
    with pytest.raises(CheckpointError, match="made from another network"):
        OnnxFaceMaskPipeline.from_pretrained(folder).mask(astronaut, force=True)


@pytest.mark.parametrize("kind", [OnnxFaceMaskPipeline, FaceMaskPipeline])
def test_crops_that_the_network_does_not_take_are_one_line(kind):
    crop, pipe = np.zeros((256, 256, 3), np.uint8), kind.bundled()
    for wrong in (crop / 255, crop[:200], crop[..., 0]):
        with pytest.raises(PhotoError, match="a crop must be"):
            pipe.translate_crops([wrong], "unmask")
    with pytest.raises(ConfigError, match="the crops have several sizes"):
        pipe.translate_crops([crop, crop[:128, :128]], "unmask")
    with pytest.raises(ConfigError, match="images are 80×80"):
        pipe.translate_crops([crop[:80, :80]], "unmask")
    assert pipe.translate_crops([], "unmask") == []
