"""Pretrained networks: results as published, and a one-line error if a file does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from maskhub.errors import CheckpointError, ConfigError
from maskhub.models.mobilefacenet import MobileFaceNet
from maskhub.models.vgg import VGG

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"
with_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs ../shared/weights")


@with_weights
def test_mobilefacenet_is_the_published_one():
    torch.manual_seed(0)
    network = MobileFaceNet.load(WEIGHTS / "mobilefacenet.safetensors")
    torch.manual_seed(0)
    embedding = network(torch.randn(1, 3, 112, 112))
    assert embedding.shape == (1, 512) and float(embedding.norm()) == pytest.approx(1, abs=1e-5)
    expected = [-0.0525, 0.0487, -0.0015, -0.0351, 0.0348, -0.0188]
    assert embedding[0, :6].tolist() == pytest.approx(expected, abs=6e-5)


def test_mobilefacenet_lets_gradients_through_and_keeps_its_weights(tmp_path):
    save_file(MobileFaceNet().state_dict(), tmp_path / "m.safetensors")
    network = MobileFaceNet.load(tmp_path / "m.safetensors")
    crops = torch.randn(1, 3, 112, 112, requires_grad=True)
    network(crops)[0, 0].backward()
    assert crops.grad.abs().max() > 0
    assert not network.training and all(p.grad is None and not p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(("depth", "layers", "last"), [(16, 31, 512), (19, 37, 512)])
def test_vgg_numbers_its_layers_as_torchvision_does(depth, layers, last):
    network = VGG(depth)
    assert len(network.features) == layers
    activations = network(torch.rand(1, 3, 32, 32), (3, layers - 1))
    assert [tuple(a.shape) for a in activations] == [(1, 64, 32, 32), (1, last, 1, 1)]


def test_vgg_normalises_as_imagenet_unless_the_file_says_otherwise(tmp_path):
    image = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    network = VGG(16)
    assert network.normalize(image).abs().max() < 1e-6
    assert torch.allclose(network.normalize(torch.ones(1, 3, 1, 1))[0, 0, 0, 0], torch.tensor(0.515 / 0.229))
    save_file({name: t for name, t in network.half().state_dict().items() if name[0] == "f"}, tmp_path / "v")
    loaded = VGG.load(tmp_path / "v", 16)
    assert loaded.features[0].weight.dtype == torch.float32 and loaded.normalize(image).abs().max() < 1e-6


@with_weights
def test_published_vgg_weights_load_and_see():
    for name, depth in (("vgg16_lpips", 16), ("vgg19_normalized", 19)):
        network = VGG.load(WEIGHTS / f"{name}.safetensors", depth)
        first, second = (network(torch.full((1, 3, 32, 32), value))[-1] for value in (0.2, 0.8))
        assert (first - second).abs().max() > 0


def test_what_does_not_fit_is_one_line(tmp_path):
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "half.safetensors")
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    for load, name, message in (
        (VGG.load, "text", "can't be read as safetensors"),
        (VGG.load, "none", "can't be read as safetensors"),
        (VGG.load, "half", "does not fit VGG: it has no features.0.bias"),
        (MobileFaceNet.load, "other", "does not fit MobileFaceNet"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            load(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="VGG's depth is 11"):
        VGG(11)
