"""Muon: what an orthogonal update is, which parameters get one, and runs that are resumed with it."""

from copy import deepcopy

import pytest
import torch

from maskhub.training.muon import ADAM_RMS, Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (6, 30), (30, 6), (64, 192)])
def test_all_directions_move_alike(shape):
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(orthogonal(torch.randn(shape) * torch.logspace(-2, 0, shape[1])))
    assert singular.min() > 0.5 and singular.max() < 1.3


def test_orthogonal_keeps_the_directions():
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(8, 8))
    right, _ = torch.linalg.qr(torch.randn(20, 8))
    made = orthogonal(left @ torch.linspace(1, 3, 8).diag() @ right.T)
    assert torch.nn.functional.cosine_similarity(made.flatten(), (left @ right.T).flatten(), dim=0) > 0.95


def test_kernels_are_orthogonal_and_all_else_goes_by_adam():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GroupNorm(2, 8))
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GroupNorm(2, 8))
    other.load_state_dict(network.state_dict())
    before = network[0].weight.detach().clone()
    muon, adam = Muon(network.parameters(), lr=0.1), torch.optim.Adam(other.parameters(), lr=0.1)
    images = torch.randn(2, 3, 8, 8)
    for step in range(3):
        network.zero_grad()
        network(images).square().mean().backward()
        for mine, its in zip(other.parameters(), network.parameters(), strict=True):
            mine.grad = its.grad.clone()  # the same gradients, wherever the kernels are by now
        muon.step()
        adam.step()
        if not step:
            moved = (network[0].weight.detach() - before).flatten(1)
            assert moved.square().mean().sqrt() / 0.1 == pytest.approx(ADAM_RMS, rel=0.25)
    for name in ("0.bias", "1.weight", "1.bias"):
        torch.testing.assert_close(network.get_parameter(name), other.get_parameter(name))
    assert not torch.allclose(network[0].weight, other[0].weight)


def test_a_map_of_positions_is_no_kernel():
    positions = torch.nn.Parameter(torch.zeros(1, 8, 4, 4))
    optimizer = Muon([positions], lr=0.1)
    positions.grad = torch.ones_like(positions)
    optimizer.step()
    torch.testing.assert_close(positions.detach(), torch.full_like(positions, -0.1))
    assert [group["kernels"] for group in optimizer.param_groups] == [False]


def test_what_it_knows_can_be_saved_and_put_back():
    torch.manual_seed(0)
    one, other = (torch.nn.Linear(4, 6) for _ in range(2))
    other.load_state_dict(one.state_dict())
    optimizers = [Muon(each.parameters(), lr=0.05) for each in (one, other)]
    inputs = torch.randn(5, 4)

    def step(network, optimizer):
        network.zero_grad()
        network(inputs).square().sum().backward()
        optimizer.step()

    step(one, optimizers[0])
    other.load_state_dict(one.state_dict())
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
    for network, optimizer in zip((one, other), optimizers, strict=True):
        step(network, optimizer)
    assert torch.equal(one.weight, other.weight) and torch.equal(one.bias, other.bias)
