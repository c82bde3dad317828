"""Options that every adversarial method shares: stages, update ratios, penalties, augmentation."""

import pytest
import torch

from maskhub import ConfigError
from maskhub.training.config import read_recipe
from maskhub.training.cyclegan import CycleGAN, CycleGANConfig
from maskhub.training.diffaugment import POLICIES, diff_augment, policies
from maskhub.training.loop import TrainingLoop
from maskhub.training.pix2pix import Pix2PixConfig
from maskhub.training.simgan import SimGANConfig

STAGES = """
stages:
- {steps: 10, learning_rate: 2e-4, lambda_cycle: 0.5}
- {steps: 20, learning-rate: 1e-4, lambda_cycle: .005, discriminator_updates: 3, lr_schedule: constant}
"""


def config_of(tmp_path, text, config_class=CycleGANConfig, **options):
    (tmp_path / "r.yaml").write_text(text)
    config = read_recipe(tmp_path / "r.yaml", config_class)
    for name, value in {"unmasked": "a", "masked": "b", "output": "c", **options}.items():
        setattr(config, name, value)
    config.check()
    return config


def test_stages_are_a_function_of_the_step(tmp_path):
    config = config_of(tmp_path, STAGES)
    assert config.max_steps == 30
    seen = [config.stage(step) for step in (0, 9, 10, 29, 30)]
    assert [(done, length) for _, done, length in seen] == [(0, 10), (9, 10), (0, 20), (19, 20), (20, 20)]
    assert [options.lambda_cycle for options, _, _ in seen] == [0.5, 0.5, 0.005, 0.005, 0.005]
    assert [options.learning_rate for options, _, _ in seen] == [2e-4, 2e-4, 1e-4, 1e-4, 1e-4]
    config.gradient_accumulation = 2
    assert [config.batches_before(step) for step in (0, 10, 11, 30)] == [0, 20, 26, 140]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [{lambda_cycle: 1}]", "needs its steps"),
        ("stages: [{steps: 0}]", "needs its steps"),
        ("stages: [{steps: 5, blocks: 3}]", "changes blocks; a stage may change"),
        ("stages: [{steps: 5, lambda_cycle: many}]", "must be a number"),
        ("stages: [{steps: 5, lambda_cycle: -1}]", "--lambda-cycle is -1"),
        ("stages: {steps: 5}", "list of mappings"),
        ("stages: [{steps: 5}]\nmax_steps: 6", "have 5 in all"),
        ("generator_updates: 0\ndiscriminator_updates: 0", "neither generators nor discriminators"),
        ("diffaugment: colour", "--diffaugment has no colour"),
    ],
)
def test_bad_stages_and_options(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        config_of(tmp_path, text)


def test_simgan_pre_trains_before_its_stages(tmp_path):
    config = config_of(tmp_path, "pretrain_generator: 4\npretrain_discriminator: 2\nmax_steps: 10", SimGANConfig)
    assert [stage["steps"] for stage in config.timeline()] == [4, 2, 4]
    first, second, third = (config.stage(step)[0] for step in (0, 4, 6))
    assert (first.lambda_gan, first.discriminator_updates) == (0, 0)
    assert (second.generator_updates, second.discriminator_updates) == (0, 1)
    assert (third.lambda_gan, third.generator_updates, third.discriminator_updates) == (1, 1, 1)


@pytest.mark.parametrize(
    ("config_class", "options", "message"),
    [
        (SimGANConfig, {"batch_size": 1}, "needs several"),
        (SimGANConfig, {"resolution": 40}, "multiple of 16"),
        (Pix2PixConfig, {"masked": ""} | {"depth": 9, "resolution": 256}, "multiple of 512"),
        (Pix2PixConfig, {}, "--masked is not read"),
        (Pix2PixConfig, {"masked": "", "style": "paper"}, "--style is 'paper'"),
    ],
)
def test_impossible_options(tmp_path, config_class, options, message):
    with pytest.raises(ConfigError, match=message):
        config_of(tmp_path, "", config_class, **options)


def test_the_u_net_is_as_deep_as_the_resolution_allows():
    assert [Pix2PixConfig(resolution=r).levels() for r in (64, 96, 128, 256, 512)] == [6, 5, 7, 8, 8]


@pytest.mark.parametrize("name", POLICIES)
def test_augmentations_are_differentiable_and_random(name):
    torch.manual_seed(0)
    images = torch.rand(8, 3, 32, 32, requires_grad=True)
    made = diff_augment(images, policies(name))
    assert made.shape == images.shape
    assert not torch.equal(made, diff_augment(images, policies(name)))
    made.sum().backward()
    assert images.grad.abs().sum() > 0


def test_pictures_that_belong_together_are_augmented_alike():
    torch.manual_seed(0)
    picture = torch.rand(4, 3, 32, 32)
    both = diff_augment(torch.cat([picture, picture], 1), policies("color,translation,cutout"))
    assert torch.allclose(both[:, :3], both[:, 3:], atol=1e-5)


def test_translation_shifts_by_whole_pixels():
    torch.manual_seed(1)
    image = torch.arange(1.0, 1 + 16 * 16).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    moved = diff_augment(image, policies("translation"))
    assert set(moved.unique().tolist()) <= set(image.unique().tolist()) | {0.0}
    there = moved[0, 0].nonzero()[0].tolist()
    value = int(moved[0, 0, there[0], there[1]]) - 1
    shift = there[0] - value // 16, there[1] - value % 16
    assert max(map(abs, shift)) <= 2


@pytest.mark.parametrize(
    "options",
    [
        {"gan_loss": "wgan-gp", "discriminator_updates": 3},
        {"r1": 10.0, "diffaugment": "color,cutout"},
        {"spectral_norm": True, "generator_updates": 2},
        {"channels_last": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_step_with_each_option(drawn, tmp_path, options):
    config = CycleGANConfig(
        unmasked=str(drawn / "unmasked"), masked=str(drawn / "masked"), output=str(tmp_path), resolution=32,
        generator_width=4, blocks=1, discriminator_width=4, discriminator_layers=2, batch_size=2, workers=0,
        max_steps=2, mixed_precision="no", **options,
    )  # fmt: skip
    config.check()
    loop = TrainingLoop(CycleGAN, config)
    loop._prepare()
    before = {name: [p.clone() for p in net.parameters() if p.ndim > 1] for name, net in loop.bare.items()}
    terms, samples = loop._train_step(loop._batches())
    for name, net in loop.bare.items():
        weights = [p for p in net.parameters() if p.ndim > 1]
        assert not any(torch.equal(p, old) for p, old in zip(weights, before[name], strict=True))
    assert samples == 2 * max(config.generator_updates, config.discriminator_updates)
    assert {"D_A_gp" if "gan_loss" in options else "D_A", "D_A_r1" if "r1" in options else "D_A"} <= terms.keys()
    if config.spectral_norm:
        heaviest = torch.linalg.svdvals(loop.bare["D_A"].stack[0].weight.flatten(1))[0].item()
        assert heaviest == pytest.approx(1, abs=0.3)  # one step of power iteration a forward pass
    loop.close()
