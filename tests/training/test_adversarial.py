"""What adversarial methods share: the game between the networks, penalties, pools, DiffAugment."""

import pytest
import torch

from maskhub.data.positions import endless_batches
from maskhub.data.sources import FolderSource
from maskhub.data.unpaired import UnpairedPhotos
from maskhub.errors import SourceError
from maskhub.losses import GANLoss
from maskhub.training.adversarial import ImagePool
from maskhub.training.diffaugment import POLICIES, diff_augment, policies
from maskhub.training.launch import one_line

from .conftest import ADVERSARIAL


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


@pytest.fixture(params=ADVERSARIAL)
def game(request, trainer):
    """A trainer that is ready for a step beyond any pre-training."""
    one = trainer(request.param)
    one.step = one.options.max_steps - 1
    one.task.options = one.timeline.at(one.step).options
    return one


def test_each_side_learns_alone(game):
    task, batch = game.task, next(game.batches())
    sides = {"generators": task.generators, "discriminators": task.discriminators}
    updates = task.step(batch, turn=0)
    for side, other in (("generators", "discriminators"), ("discriminators", "generators")):
        before = {name: [p.clone() for p in net.parameters()] for name, net in sides[other].items()}
        update = next(updates)
        assert update.optimizer == side
        game.accelerator.backward(update.loss)
        for name, net in sides[other].items():
            assert all(p.grad is None for p in net.parameters())
            assert all(torch.equal(p, old) for p, old in zip(net.parameters(), before[name], strict=True))
        assert any(p.grad is not None for net in sides[side].values() for p in net.parameters())
        game.optimizers[side].step()
        game.optimizers[side].zero_grad()
    assert next(updates, None) is None


def test_a_turn_of_the_discriminators_alone_computes_no_gradients_of_generators(game):
    task = game.task
    task.options = task.options.replaced(generator_updates=0, discriminator_updates=1)
    updates = list(task.step(next(game.batches()), turn=0))
    assert [update.optimizer for update in updates] == ["discriminators"]
    updates[0].loss.backward()
    assert all(p.grad is None for net in task.generators.values() for p in net.parameters())


def test_cyclegans_objective_is_the_weighted_sum_of_its_terms(trainer):
    one = trainer("cyclegan")
    update = next(one.task.step(next(one.batches()), 0))
    terms = update.terms
    expected = terms["G_A"] + terms["G_B"] + 10 * (terms["cycle_A"] + terms["cycle_B"])
    expected = expected + 5 * (terms["idt_A"] + terms["idt_B"])
    assert update.loss.item() == pytest.approx(expected.item(), rel=1e-6)
    one.task.options = one.options.replaced(lambda_identity=0.0)
    assert set(next(one.task.step(next(one.batches()), 0)).terms) == {"G_A", "G_B", "cycle_A", "cycle_B"}


def test_each_discriminator_judges_its_own_domain(trainer):
    one = trainer("cyclegan", pool_size=0)
    batch = next(one.batches())
    masker, critic = one.task.networks["masker"], one.task.networks["D_A"]
    with torch.no_grad():
        fake = masker(batch["unmasked"])
        expected = GANLoss("lsgan").discriminator(critic(batch["masked"]), critic(fake))
    updates = one.task.step(batch, 0)
    next(updates)  # no optimizer's step in between
    assert next(updates).terms["D_A"].item() == pytest.approx(expected.item(), rel=1e-5)


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
def test_a_step_with_each_option(trainer, options):
    one = trainer("cyclegan", **options)
    networks = one.task.networks
    before = {name: [p.clone() for p in net.parameters() if p.ndim > 1] for name, net in networks.items()}
    terms, samples = one.train_step(one.batches())
    for name, net in networks.items():
        weights = [p for p in net.parameters() if p.ndim > 1]
        assert not any(torch.equal(p, old) for p, old in zip(weights, before[name], strict=True))
    assert samples == 2 * one.options.rounds
    assert {"D_A_gp" if "gan_loss" in options else "D_A", "D_A_r1" if "r1" in options else "D_A"} <= terms.keys()
    if one.options.spectral_norm:
        heaviest = torch.linalg.svdvals(networks["D_A"].stack[0].weight.flatten(1))[0].item()
        assert heaviest == pytest.approx(1, abs=0.3)  # one step of power iteration per forward pass


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_pipeline_translates_a_photo(name, trainer, astronaut):
    one = trainer(name)
    pipe = one.task.pipeline({name: one.results.averaged(name) for name in one.task.averaged})
    direction = "mask" if pipe.masker is not None else "unmask"
    made = pipe(astronaut, direction, seed=3)
    assert made.size == astronaut.size
    assert made.tobytes() == pipe(astronaut, direction, seed=3).tobytes()
    if pipe.config.wear:
        assert made.tobytes() != pipe(astronaut, direction, seed=4).tobytes()


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


def test_an_error_from_a_worker_process_isone_line(drawn):
    source = FolderSource(drawn / "unmasked")
    source.walk = broken_walk
    batches = endless_batches(UnpairedPhotos({"unmasked": source, "masked": source}, 32, seed=0), workers=1)
    with pytest.raises(SourceError) as caught:
        next(batches)
    assert len(str(caught.value).splitlines()) > 5
    assert one_line(caught.value) == "nothing left."


def broken_walk(positions, seed):
    raise SourceError("nothing left.")
    yield
