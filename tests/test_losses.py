"""Losses against values worked out by hand."""

import math

import pytest
import torch

from maskhub import ConfigError
from maskhub.losses import GANLoss, cycle_loss, identity_loss


def test_least_squares():
    gan = GANLoss("lsgan")
    assert gan.generator(torch.tensor([0.0, 3.0])).item() == pytest.approx((1 + 4) / 2)
    assert gan.discriminator(torch.tensor([2.0]), torch.tensor([3.0])).item() == pytest.approx((1 + 9) / 2)


def test_vanilla():
    gan = GANLoss("vanilla")
    assert gan.generator(torch.tensor([0.0])).item() == pytest.approx(math.log(2))
    expected = 0.5 * (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1)))
    assert gan.discriminator(torch.tensor([2.0]), torch.tensor([1.0])).item() == pytest.approx(expected)


def test_perfect_judgement_costs_the_discriminator_nothing():
    assert GANLoss("lsgan").discriminator(torch.ones(3), torch.zeros(3)).item() == 0


@pytest.mark.parametrize("loss", [cycle_loss, identity_loss])
def test_l1_terms_are_means_in_float32(loss):
    value = loss(torch.full((1, 3, 2, 2), 0.5, dtype=torch.bfloat16), torch.zeros(1, 3, 2, 2))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(0.5)


def test_unknown_loss():
    with pytest.raises(ConfigError, match="lsgan"):
        GANLoss("hinge")
