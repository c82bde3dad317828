"""Losses that look through frozen networks, with networks of random weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from maskhub.errors import CheckpointError
from maskhub.evaluation.similarity import Lpips
from maskhub.models.mobilefacenet import MobileFaceNet
from maskhub.models.vgg import VGG
from maskhub.training.perceptual import IdentityLoss, PerceptualLoss
from maskhub.training.unmasker import Unmasker, UnmaskerOptions


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    vgg = {k: v.half() for k, v in VGG(16).state_dict().items() if k.startswith("features.")}
    vgg |= {f"lin{n}.weight": torch.rand(1, c, 1, 1) for n, c in enumerate((64, 128, 256, 512, 512))}
    save_file(vgg, folder / "vgg16_lpips.safetensors")
    save_file(MobileFaceNet().state_dict(), folder / "mobilefacenet.safetensors")
    return folder


def pictures(count=2, side=64):
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(count, 3, side, side, generator=generator) * 2 - 1 for _ in range(2)]


def test_over_the_whole_picture_it_is_the_published_lpips(weights):
    one, other = ((x * 127.5 + 127.5).round() for x in pictures(1))
    loss = PerceptualLoss(5, weights)(one / 127.5 - 1, other / 127.5 - 1, torch.ones(1, 1, 64, 64))
    lpips = Lpips(weights / "vgg16_lpips.safetensors")
    looks = [lpips.layers(x[0].permute(1, 2, 0).numpy().astype(np.uint8)) for x in (one, other)]
    assert float(loss) == pytest.approx(float(lpips(*looks)[0]), rel=2e-3)


def test_the_perceptual_loss_sees_the_region_alone(weights):
    loss, (wanted, other) = PerceptualLoss(2, weights), pictures()
    region = torch.zeros(2, 1, 64, 64)
    region[:, :, 40:60] = 1
    outside = torch.where(torch.arange(64).view(1, 1, -1, 1) < 16, other, wanted)
    inside = torch.where(torch.arange(64).view(1, 1, -1, 1) >= 40, other, wanted).requires_grad_()
    assert loss(wanted, wanted, region) == 0
    assert loss(outside, wanted, region) == 0
    found = loss(inside, wanted, region)
    assert found > 0.01
    found.backward()
    assert inside.grad[:, :, 45:55].abs().sum() > 0
    assert loss(outside, wanted, torch.zeros_like(region)) == 0


def test_folded_norms_change_no_embedding(weights):
    loss, network = IdentityLoss(weights), MobileFaceNet.load(weights / "mobilefacenet.safetensors")
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in loss.network.modules())
    crops = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(loss.network(crops), network(crops), atol=1e-5)
    assert not any(parameter.requires_grad for parameter in loss.network.parameters())


def test_without_jitter_the_identity_loss_always_sees_the_same(weights):
    one, other = pictures()
    still, drawn = IdentityLoss(weights, jitter=0), IdentityLoss(weights)
    assert still(one, other) == still(one, other)
    assert drawn(one, other) != drawn(one, other)


def test_the_identity_loss_is_nothing_for_one_face_and_has_a_slope_for_two(weights):
    loss, (one, other) = IdentityLoss(weights), pictures()
    assert loss(one, one) == pytest.approx(0, abs=1e-5)
    found = loss(other.requires_grad_(), one)
    assert 0 < found <= 2
    found.backward()
    assert other.grad.abs().sum() > 0


def test_a_method_says_what_it_was_trained_against(weights):
    assert Unmasker(UnmaskerOptions(weights_dir=str(weights))).trained_against == ("vgg16", "mobilefacenet")
    options = UnmaskerOptions(weights_dir=str(weights), lambda_identity=0)
    assert Unmasker(options).trained_against == ("vgg16",)
    options = options.replaced(stages=({"steps": 1, "lambda_identity": 1.0},))
    assert Unmasker(options).trained_against == ("vgg16", "mobilefacenet")


def test_missing_weights_are_one_clear_line(tmp_path):
    with pytest.raises(CheckpointError, match=r"vgg16_lpips.safetensors are not in"):
        PerceptualLoss(3, tmp_path)
    with pytest.raises(CheckpointError, match=r"mobilefacenet.safetensors are not in"):
        IdentityLoss(tmp_path)
