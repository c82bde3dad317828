"""Losses against values computed by hand."""

import math

import pytest
import torch

from maskhub import ConfigError
from maskhub.losses import (
    GANLoss,
    attention_loss,
    cosine_loss,
    cycle_loss,
    distance_loss,
    gradient_penalty,
    half_distances,
    identity_loss,
    image_loss,
    non_mask_change_loss,
    pair_distances,
    r1_penalty,
)

LOGITS = torch.tensor([[[[0.0, 1.0], [2.0, -1.0]]]])


@pytest.mark.parametrize(
    ("kind", "real", "fake"),
    [
        ("lsgan", (1 + 0 + 1 + 4) / 4, (0 + 1 + 4 + 1) / 4),
        (
            "vanilla",
            sum(math.log(1 + math.exp(-x)) for x in (0, 1, 2, -1)) / 4,
            sum(math.log(1 + math.exp(x)) for x in (0, 1, 2, -1)) / 4,
        ),
        ("wgan-gp", -0.5, 0.5),
    ],
)
def test_gan_losses(kind, real, fake):
    loss = GANLoss(kind)
    assert loss.generator(LOGITS).item() == pytest.approx(real)
    half = 1 if kind == "wgan-gp" else 0.5
    assert loss.discriminator(LOGITS, LOGITS).item() == pytest.approx(half * (real + fake), abs=1e-6)


def test_unknown_gan_loss():
    with pytest.raises(ConfigError, match="it must be one of"):
        GANLoss("hinge")


@pytest.mark.parametrize("loss", [cycle_loss, identity_loss, image_loss])
def test_l1_losses_are_means_in_float32(loss):
    a, b = torch.tensor([[[[1.0, -1.0]]]]), torch.tensor([[[[0.5, 0.0]]]])
    assert loss(a, b).item() == pytest.approx(0.75)
    assert loss(a.bfloat16(), b.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("l1", 0.5),
        ("l2", (0.5**2 + 0.5**2) / 2),
        # of brightness ¾ where ½ is wanted, and the other way round, less the cross-entropy of each with itself
        ("log", (math.log(0.5 / 0.75) + math.log(0.5 / 0.25) + 1.5 * math.log(1.5) + 0.5 * math.log(0.5)) / 4),
    ],
)
def test_the_kinds_of_cycle_loss(kind, expected):
    made, wanted = torch.tensor([[[[0.5, 0.0]]]]), torch.tensor([[[[0.0, 0.5]]]])
    assert cycle_loss(made, wanted, kind).item() == pytest.approx(expected, rel=1e-4)
    assert cycle_loss(wanted, wanted, kind).item() == 0
    with pytest.raises(ConfigError, match="the cycle loss"):
        cycle_loss(made, wanted, "l3")


def test_the_cosine_is_between_whole_images():
    torch.manual_seed(0)
    x, y = (torch.rand(4, 3, 5, 5) * 2 - 1 for _ in range(2))
    assert cosine_loss(x, 0.5 * x).item() == pytest.approx(0, abs=1e-6)
    assert cosine_loss(x, -x).item() == pytest.approx(2)
    by_hand = [1 - (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt() for a, b in zip(x, y, strict=True)]
    assert cosine_loss(x, y).item() == pytest.approx(sum(by_hand).item() / 4, abs=1e-6)
    assert cosine_loss(x, y, "sum").item() == pytest.approx(4 * cosine_loss(x, y).item(), rel=1e-6)
    assert cosine_loss(torch.zeros_like(x), y).item() == 1  # ε in the place of a norm of 0
    with pytest.raises(ConfigError, match="reduction"):
        cosine_loss(x, y, "max")


def test_distances_of_pairs_and_halves():
    images = torch.tensor([0.0, 1.0, 3.0]).view(3, 1, 1, 1).repeat(1, 2, 2, 4)
    assert pair_distances(images).tolist() == [1, 3, 2]
    images[..., 2:] += torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1, 1)
    assert half_distances(images).tolist() == [0.5, 1, 2]


def test_the_distance_constraint():
    """Distances that keep their place in their domain's distribution cost nothing, whatever its mean and scale."""
    before = torch.tensor([1.0, 3.0, 2.0])
    assert distance_loss(before, 10 + 5 * before, (2.0, 1.0), (20.0, 5.0)).item() == 0
    # standardised: -1, 1, 0 before and -1, 0, 0 after
    assert distance_loss(before, torch.tensor([15.0, 20, 20]), (2.0, 1.0), (20.0, 5.0)).item() == pytest.approx(1 / 3)


def test_the_gradient_penalty_of_a_linear_critic():
    """D(x) = 3 Σ x of two pixels has the slope (3, 3) everywhere: (√18 - 1)²."""
    x, y = torch.rand(4, 1, 1, 2), torch.rand(4, 1, 1, 2)
    penalty = gradient_penalty(lambda image: 3 * image.sum((1, 2, 3))[:, None], x, y)
    assert penalty.item() == pytest.approx((math.sqrt(18) - 1) ** 2, rel=1e-5)


def test_r1_of_a_linear_critic_and_its_own_gradient():
    weight = torch.tensor(3.0, requires_grad=True)
    penalty = r1_penalty(lambda image: weight * image.flatten(1), torch.rand(4, 1, 1, 2))
    assert penalty.item() == pytest.approx(2 * 1.5**2)  # the verdict is the mean of two logits
    penalty.backward()
    assert weight.grad.item() == pytest.approx(3.0)  # d/dw of w²/2


def half_covered():
    region = torch.zeros(1, 1, 4, 4)
    region[..., 2:] = 1
    return region


def test_non_mask_change_is_zero_when_nothing_changes_outside():
    x, region = torch.rand(1, 3, 4, 4), half_covered()
    assert non_mask_change_loss(x + region, x, region) == 0
    assert non_mask_change_loss(x + 0.25, x, region).item() == pytest.approx(0.25)
    assert non_mask_change_loss(x + 0.25, x, torch.ones(1, 1, 4, 4)) == 0
    assert non_mask_change_loss(x + region, x, 0.01 * region) == 0  # boolean: any covering at all


def test_the_non_mask_change_penalty_grows_with_the_distance():
    x, region = torch.zeros(1, 3, 1, 4), torch.tensor([[[[1.0, 0, 0, 0]]]])
    distance = torch.tensor([[[[0.0, 0.25, 0.5, 0.75]]]])
    made = x + torch.tensor([[[[9.0, 1, 0, 0]]]])
    # weights 0.5, 1, 1 at a reach of 0.5
    assert non_mask_change_loss(made, x, region, distance, 0.5).item() == pytest.approx(0.5 / 2.5)


def test_attention_is_to_pass_through_outside_the_region():
    attention, region = torch.zeros(1, 3, 4, 4), half_covered()
    attention[:, -1] = 1 - region[:, 0]
    assert attention_loss(attention, region).item() == pytest.approx(0, abs=1e-5)
    attention[:] = 0.5
    assert attention_loss(attention, region).item() == pytest.approx(math.log(2))


def test_attention_that_passes_everything_can_still_learn():
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 1] = 12  # settled: all but 6 in a million passes through
    logits.requires_grad_()
    attention_loss(torch.softmax(logits, 1), half_covered()).backward()
    assert logits.grad[0, 1, 0, 2].item() == pytest.approx(1 / 16, rel=0.01)
