"""CycleGAN's step, checked from inside: who learns when, and from what."""

import pytest
import torch

from maskhub import DivergenceError
from maskhub.losses import GANLoss
from maskhub.training.cyclegan import CycleGAN, CycleGANConfig
from maskhub.training.loop import TrainingLoop

SMALL = {"resolution": 32, "generator_width": 4, "blocks": 1, "discriminator_width": 4, "discriminator_layers": 2}
SMALL |= {"batch_size": 2, "workers": 0, "max_steps": 3, "sample_every": 0, "mixed_precision": "no"}


def batch(side=32):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(2, 3, side, side, generator=generator) * 2 - 1 for name in ("unmasked", "masked")}


def copy_of(networks):
    return {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in networks.items()}


def changed(networks, before):
    return {f"{n}.{k}" for n, net in networks.items() for k, v in net.state_dict().items() if not v.equal(before[n][k])}


@pytest.fixture
def loop(drawn, tmp_path):
    config = CycleGANConfig(
        unmasked=str(drawn / "unmasked"), masked=str(drawn / "masked"), output=str(tmp_path / "run"), **SMALL
    )
    loop = TrainingLoop(CycleGAN, config)
    loop._prepare()
    return loop


def test_one_step_changes_every_weight(loop):
    before = copy_of(loop.bare)
    loop._train_step(iter([batch()]))
    parameters = {f"{n}.{k}" for n, net in loop.bare.items() for k, _ in net.named_parameters()}
    # a bias before instance norm has no effect and so no gradient
    effective = {name for name in parameters if not name.endswith("bias")} | {"masker.tail.0.bias", "D_A.stack.0.bias"}
    assert effective <= changed(loop.bare, before)


def test_the_generators_step_leaves_the_discriminators_alone(loop):
    before = copy_of(loop.method.discriminators)
    loop._freeze_discriminators(True)
    loss, _, _ = loop.method.generator_loss(loop.frozen_nets, batch())
    loop._descend("generators", loss)
    assert not changed(loop.method.discriminators, before)
    assert all(p.grad is None for net in loop.method.discriminators.values() for p in net.parameters())


def test_the_discriminators_step_leaves_the_generators_alone(loop):
    images = batch()
    _, _, fakes = loop.method.generator_loss(loop.frozen_nets, images)
    before = copy_of(loop.method.generators)
    loss, _ = loop.method.discriminator_loss(loop.nets, images, fakes)
    loop._descend("discriminators", loss)
    assert not changed(loop.method.generators, before)
    assert (
        changed(loop.method.discriminators, {n: net.state_dict() for n, net in loop.method.discriminators.items()})
        == set()
    )


def test_the_objective_is_the_weighted_sum_of_its_terms(loop):
    loss, terms, _ = loop.method.generator_loss(loop.frozen_nets, batch())
    expected = terms["G_A"] + terms["G_B"] + 10 * (terms["cycle_A"] + terms["cycle_B"])
    expected = expected + 5 * (terms["idt_A"] + terms["idt_B"])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_without_identity_there_is_no_identity_term(loop):
    loop.config.lambda_identity = 0.0
    _, terms, _ = loop.method.generator_loss(loop.frozen_nets, batch())
    assert set(terms) == {"G_A", "G_B", "cycle_A", "cycle_B"}


def test_each_discriminator_judges_its_own_domain(loop):
    images = batch()
    masker, critic = loop.bare["masker"], loop.bare["D_A"]
    _, terms = loop.method.discriminator_loss(
        loop.nets, images, {"fake_A": images["unmasked"], "fake_B": masker(images["unmasked"])}
    )
    expected = GANLoss("lsgan").discriminator(critic(images["masked"]), critic(masker(images["unmasked"])))
    assert terms["D_A"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_accumulated_micro_batches_equal_one_batch(drawn, tmp_path):
    def gradients(batches, accumulation):
        config = CycleGANConfig(
            unmasked=str(drawn / "unmasked"), masked=str(drawn / "masked"), output=str(tmp_path),
            **SMALL | {"gradient_accumulation": accumulation, "lr_schedule": "constant"},
        )  # fmt: skip
        loop = TrainingLoop(CycleGAN, config)
        loop._prepare()
        loop._train_step(iter(batches))
        moments = loop.optimizers["generators"].optimizer.state  # after one step Adam's first moment is grad / 2
        return torch.cat([moments[p]["exp_avg"].flatten() for p in loop.bare["masker"].parameters()])

    one = batch()
    halves = [{name: images[i : i + 1] for name, images in one.items()} for i in range(2)]
    whole, summed = gradients([one], 1), gradients(halves, 2)
    assert (whole - summed).abs().max() < 1e-4 * whole.abs().max()


def test_the_pipeline_gets_the_moving_average(loop):
    for _ in range(2):  # the first step copies
        loop._train_step(iter([batch()]))
    live = loop.bare["masker"].tail[0].weight
    average = loop.inference_generators()["masker"].tail[0].weight
    assert not torch.equal(live, average)
    assert torch.equal(average, loop.ema["masker"].shadow_params[-2])


def test_a_diverged_run_stops_and_says_so(loop):
    with torch.no_grad():
        loop.bare["masker"].tail[0].bias.fill_(float("nan"))
    loop.config.log_every = 1
    loop._prepare = lambda: None
    with pytest.raises(DivergenceError, match=r"the run diverged: .*G_A"):
        loop.run()
    assert not (loop.output / "checkpoints").exists()
