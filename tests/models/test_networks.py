"""Every network: shapes, known sizes, save and load, half precision, clear errors."""

import json

import pytest
import torch
from safetensors.torch import load_file

import maskhub
from maskhub import (
    AttentionGenerator,
    CheckpointError,
    ConfigError,
    LightGenerator,
    PatchDiscriminator,
    ResnetGenerator,
    SimDiscriminator,
    SimGenerator,
    UnetGenerator,
)

SMALL = {
    "resnet": (ResnetGenerator, {"width": 8, "blocks": 2}),
    "resnet-batch-resize-zero": (
        ResnetGenerator,
        {"width": 8, "blocks": 1, "norm": "batch", "upsampling": "resize", "padding": "zero", "dropout": 0.5},
    ),
    "unet": (UnetGenerator, {"width": 4, "depth": 5}),
    "unet-resize": (UnetGenerator, {"width": 4, "depth": 4, "norm": "instance", "upsampling": "resize"}),
    "attention": (AttentionGenerator, {"width": 4, "blocks": 1, "contents": 3}),
    "light": (LightGenerator, {"widths": (8, 12), "blocks": (1, 2), "heads": 2, "detail": 4}),
    "light-residual": (
        LightGenerator,
        {"widths": (8, 12), "blocks": (1, 1), "heads": 0, "positions": 0, "residual": True},
    ),
    "sim": (SimGenerator, {"width": 8, "blocks": 2}),
    "sim-critic": (SimDiscriminator, {"width": 9, "resolution": 32}),
    "sim-critic-7": (SimDiscriminator, {"width": 9, "resolution": 32, "convolutions": 7}),
    "patch": (PatchDiscriminator, {"width": 8, "layers": 2}),
    "patch-batch-pairs": (PatchDiscriminator, {"width": 8, "norm": "batch", "in_channels": 6}),
    "pixel": (PatchDiscriminator, {"width": 8, "layers": 0}),
}


@pytest.fixture(params=SMALL, ids=str)
def network(request):
    kind, options = SMALL[request.param]
    torch.manual_seed(0)
    return kind(**options).eval()


def images(network, side=32):
    channels = network.config.get("in_channels", 3)
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("kind", "options", "parameters"),
    [
        (ResnetGenerator, {}, 11_378_179),
        (ResnetGenerator, {"blocks": 6}, 7_837_699),
        (UnetGenerator, {}, 54_413_955),
        (LightGenerator, {}, 3_396_484),
        (LightGenerator, {"fold": 2, "detail": 32, "detail_blocks": 2}, 3_544_624),
        (UnetGenerator, {"depth": 7}, 41_828_995),
        (PatchDiscriminator, {}, 2_764_737),
        (PatchDiscriminator, {"in_channels": 6, "norm": "batch"}, 2_768_705),
    ],
)
def test_the_papers_sizes(kind, options, parameters):
    with torch.device("meta"):  # no weights are initialised
        assert count(kind(**options)) == parameters


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 36), (8, 100)])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_a_generator_keeps_the_shape_and_range(height, width, upsampling):
    out = ResnetGenerator(width=4, blocks=1, upsampling=upsampling)(torch.randn(1, 3, height, width))
    assert out.shape == (1, 3, height, width)
    assert out.abs().max() <= 1


@pytest.mark.parametrize(
    "generator",
    [
        UnetGenerator(width=4, depth=4),
        UnetGenerator(width=4, depth=5, upsampling="resize"),
        AttentionGenerator(width=4, blocks=1, contents=2, noise=(1.0, 0.2)),
        LightGenerator(widths=(8, 12, 16), blocks=(1, 1, 1), noise=1.0, residual=True),
        SimGenerator(width=4),
    ],
    ids=lambda generator: type(generator).__name__,
)
def test_the_other_generators_keep_the_shape_and_range(generator):
    out = generator(torch.rand(2, 3, 64, 96) * 2 - 1)
    assert out.shape == (2, 3, 64, 96)
    assert out.abs().max() <= 1


def test_a_u_net_needs_its_depth_in_pixels():
    assert UnetGenerator(width=4, depth=5).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    with pytest.raises(ConfigError, match="multiples of 32"):
        UnetGenerator(width=4, depth=5)(torch.zeros(1, 3, 48, 48))


def test_a_noisy_u_net_varies_and_a_quiet_one_does_not():
    for noisy in (True, False):
        network = UnetGenerator(width=2, depth=8, noisy=noisy).eval()
        x = torch.rand(1, 3, 256, 256)
        assert torch.equal(network(x), network(x)) != noisy


def test_attention_chooses_among_contents_and_the_input():
    network = AttentionGenerator(width=4, blocks=1, contents=3)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    _, attention = network(x, with_attention=True)
    assert attention.shape == (1, 4, 32, 32)
    assert torch.allclose(attention.sum(1), torch.ones(1, 32, 32))
    with torch.no_grad():
        network.attention[-1].weight.zero_()
        network.attention[-1].bias.copy_(torch.tensor([0.0, 0.0, 0.0, 100.0]))
    assert torch.equal(network(x), x)  # all attention on the input: it passes through bit for bit


def test_the_light_generators_attention_shuts_altogether():
    network = LightGenerator(widths=(8, 12), blocks=(1, 1), heads=2)
    x = torch.rand(2, 3, 32, 48) * 2 - 1
    _, attention = network(x, with_attention=True)
    assert attention.shape == (2, 2, 32, 48)
    assert torch.allclose(attention.sum(1), torch.ones(2, 32, 48))
    with torch.no_grad():
        network.out.weight[3].zero_()
        network.out.bias[3] = -3.0  # far from saturation: it is the stretching that closes the attention
    assert torch.equal(network(x), x)
    with pytest.raises(ConfigError, match="multiples of 8"):
        network(torch.zeros(1, 3, 36, 36))
    with pytest.raises(ConfigError, match="same length"):
        LightGenerator(widths=(8, 12), blocks=(1,))


def test_the_light_generators_work_is_counted():
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        LightGenerator()(torch.zeros(1, 3, 256, 256))
    assert counter.get_total_flops() < 4.6e9


def test_a_grown_light_generator_begins_as_it_was_between_halving_and_doubling():
    torch.manual_seed(0)
    network = LightGenerator(widths=(8, 12), blocks=(1, 1), heads=2, detail=4)
    small = torch.rand(2, 3, 32, 48) * 2 - 1
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    for _ in range(2):
        made, attention = network(small, with_attention=True)
        network = network.grown(detail=6, detail_blocks=1)
        again, its_attention = network(large, with_attention=True)
        for before, after in ((made, again), (attention, its_attention)):
            assert torch.allclose(after, before.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-5)
        small, large = large, large.repeat_interleave(2, 2).repeat_interleave(2, 3)
    with pytest.raises(ConfigError, match="detail is 5"):
        network.grown(detail=5)


def test_the_light_generators_noise_can_be_handed_in():
    network = LightGenerator(widths=(8, 12), blocks=(1, 1), heads=0, noise=1.0).eval()
    x = torch.rand(2, 3, 32, 32)
    drawn = network.draw_noise(2, 32, 32, torch.Generator().manual_seed(5))
    assert [tuple(noise.shape) for noise in drawn] == [(2, 1, 32, 32), (2, 1, 8, 8), (2, 1, 4, 4)]
    assert torch.equal(network(x, noise=drawn), network(x, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize(
    "network",
    [AttentionGenerator(width=4, blocks=1, noise=(1.0, 0.2)), LightGenerator(widths=(8, 12), blocks=(1, 1), noise=1.0)],
    ids=lambda network: type(network).__name__,
)
def test_noise_changes_the_result_and_a_seed_fixes_it(network):
    x = torch.rand(1, 3, 32, 32)
    seeded = [network(x, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize(("layers", "side"), [(0, 64), (1, 30), (2, 14), (3, 6), (4, 2)])
def test_a_discriminator_judges_patches(layers, side):
    assert PatchDiscriminator(width=4, layers=layers)(torch.randn(1, 3, 64, 64)).shape == (1, 1, side, side)


def test_three_layers_see_70_pixels():
    critic = PatchDiscriminator(width=4, norm="none")
    picture = torch.zeros(1, 3, 256, 256, requires_grad=True)
    critic(picture)[0, 0, 15, 15].backward()
    seen = picture.grad.abs().sum((0, 1)).nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [70, 70]


def test_initial_weights_are_the_papers():
    weights = ResnetGenerator(width=16).trunk[0].body[0].weight
    assert abs(weights.std().item() - 0.02) < 0.001
    assert ResnetGenerator(width=16).trunk[0].body[0].bias.abs().max() == 0


def test_save_and_load_are_exact_and_without_pickle(network, tmp_path):
    network.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    again = type(network).from_pretrained(tmp_path)
    public = [name for name in network.config if not name.startswith("_")]
    assert all(json.dumps(again.config[name]) == json.dumps(network.config[name]) for name in public)
    assert torch.equal(again(images(network)), network(images(network)))


def test_the_half_precision_variant(network, tmp_path):
    expected = network(images(network))
    network.half().save_pretrained(tmp_path, variant="fp16")
    stored = load_file(tmp_path / "diffusion_pytorch_model.fp16.safetensors")
    assert all(tensor.dtype in (torch.float16, torch.int64) for tensor in stored.values())
    again = type(network).from_pretrained(tmp_path, variant="fp16", dtype=torch.float32)
    assert (again(images(again)) - expected).abs().max() < 0.02


def test_the_class_is_recorded_under_its_public_name(network, tmp_path):
    network.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == type(network).__name__
    assert getattr(maskhub, type(network).__name__) is type(network)
    assert type(network).__module__ == "maskhub"


@pytest.mark.parametrize("shape", [(1, 3, 30, 32), (1, 3, 4, 4), (1, 1, 32, 32), (3, 32, 32)])
def test_impossible_images_are_named(shape):
    with pytest.raises(ConfigError, match=r"multiples of 4|expected images"):
        ResnetGenerator(width=4, blocks=1)(torch.zeros(shape))


@pytest.mark.parametrize("option", ["norm", "padding", "upsampling"])
def test_unknown_options_are_named(option):
    with pytest.raises(ConfigError, match="it must be one of"):
        ResnetGenerator(width=4, **{option: "other"})


def test_pickled_weights_are_refused(tmp_path):
    network = PatchDiscriminator(width=4, layers=1)
    network.save_config(tmp_path)
    torch.save(network.state_dict(), tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match="PatchDiscriminator"):
        PatchDiscriminator.from_pretrained(tmp_path)


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="no ResnetGenerator could be loaded") as caught:
        ResnetGenerator.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_pickles_are_never_written(tmp_path):
    with pytest.raises(ConfigError, match="safetensors only"):
        PatchDiscriminator(width=4, layers=1).save_pretrained(tmp_path, safe_serialization=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "shallow", "deep"),
    [
        (SimGenerator, {"width": 8, "blocks": 2}, {"width": 8, "blocks": 4}),
        (SimGenerator, {"width": 8, "blocks": 1, "norm": "instance"}, {"width": 8, "blocks": 2, "norm": "instance"}),
        (SimGenerator, {"width": 8, "blocks": 1, "norm": "none"}, {"width": 8, "blocks": 2, "norm": "none"}),
        (SimDiscriminator, {"width": 9, "resolution": 32}, {"width": 9, "resolution": 32, "convolutions": 7}),
    ],
)
def test_layers_added_by_transfer_change_nothing_and_learn(kind, shallow, deep):
    """Paper 1 goes from 4 to 8 blocks, and from 5 to 7 convolutions, during training."""
    torch.manual_seed(0)
    before, after = kind(**shallow), kind(**deep)
    after.load_shallower(before.state_dict())
    given = torch.rand(4, 3, 32, 32) * 2 - 1
    assert torch.allclose(after.eval()(given), before.eval()(given), atol=1e-5)
    optimizer = torch.optim.SGD(after.parameters(), 0.1)
    after.train()(given).square().sum().backward()
    optimizer.step()
    assert not torch.allclose(after.eval()(given), before(given), atol=1e-5)
    part = after.trunk if kind is SimGenerator else after.more
    assert all(any(p.grad.abs().sum() > 0 for p in layer.parameters()) for layer in part)
    with pytest.raises(RuntimeError):
        before.load_shallower(after.state_dict())
