"""What the documents' rows ask of a run: staged sources and noise, limits, distances, order of updates, transfer."""

import json
import math

import pytest
import torch
from torch.nn import functional as F

from maskhub.errors import CheckpointError, ConfigError
from maskhub.losses import half_distances, pair_distances
from maskhub.models.light import LightGenerator
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.attentiongan import AttentionGAN, AttentionGANOptions
from maskhub.training.classifier import Classifier, ClassifierOptions
from maskhub.training.cyclegan import CycleGAN, CycleGANOptions
from maskhub.training.reimaging import Reimaging, ReimagingOptions
from maskhub.training.simgan import SimGAN, SimGANOptions
from maskhub.training.trainer import Trainer

TINY = {"resolution": 32, "generator_width": 4, "discriminator_width": 4, "batch_size": 2, "workers": 0}
TINY |= {"mixed_precision": "no", "ema_decay": 0.0, "sample_every": 0, "log_every": 1, "seed": 3}
PATCH = TINY | {"blocks": 1, "discriminator_layers": 2}
ATTENTION = PATCH | {"contents": 2, "start": "unmasked", "lambda_nmc": 0}
FACES = "builtin:pixel-faces"
COVERED = "builtin:pixel-faces/covered"


def trained(task_class, options, output, **more):
    trainer = Trainer(task_class, task_class.Options(output=str(output), **options, **more))
    trainer.run()
    trainer.close()
    return trainer


def metrics(output):
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


# ---- lengths and sources ---------------------------------------------------------------------------------------------


def test_epochs_are_whole_batches_of_the_larger_source(drawn, tmp_path):
    both = {"unmasked": str(drawn / "unmasked"), "masked": str(drawn / "masked")}
    trainer = Trainer(CycleGAN, CycleGANOptions(output=str(tmp_path), epochs=3, **both, **PATCH | {"batch_size": 4}))
    assert trainer.options.max_steps == 3 * math.ceil(14 / 4)
    trainer.close()
    options = CycleGANOptions(
        output=str(tmp_path), stages=[{"epochs": 2, "limit_photos": 6}, {"epochs": 1}], **both, **PATCH
    )
    trainer = Trainer(CycleGAN, options)
    assert [stage.steps for stage in trainer.timeline.stages] == [6, 7]
    trainer.close()


@pytest.mark.parametrize("stop", [2, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (1, 3))])
def test_stages_read_other_sources_and_a_resumed_run_goes_on_with_them(stop, tmp_path):
    options = ATTENTION | {"unmasked": FACES, "masked": COVERED, "checkpoint_every": 1}
    stages = [{"steps": 2, "limit_photos": 4}, {"steps": 2, "masked": f"{FACES}/scarf", "limit_photos": 4}]
    whole = trained(AttentionGAN, options, tmp_path / "whole", stages=stages)
    assert [stage.options.masked for stage in whole.timeline.stages] == [COVERED, f"{FACES}/scarf"]
    assert [source.size for source in whole.task.sources.values()] == [4, 4]
    assert whole.task.sources["masked"].spec == f"{FACES}/scarf"
    trained(AttentionGAN, options, tmp_path / "part", stages=stages, max_steps=stop)
    again = trained(AttentionGAN, options, tmp_path / "part", stages=stages, max_steps=4, resume="latest")
    for name, network in whole.task.networks.items():
        ours = again.task.networks[name].state_dict()
        assert all(torch.equal(ours[key], value) for key, value in network.state_dict().items())


def test_sheets_at_the_steps_that_are_asked_for(tmp_path):
    options = {"source": f"{FACES}/dark", "hidden": [8], "discriminator_hidden": [8], "batch_size": 4, "latent": 5}
    trained(Reimaging, options, tmp_path, max_steps=6, sample_every=0, sample_at=[1, 4], sample_shares=[1.0])
    assert sorted(path.name for path in (tmp_path / "samples").glob("step-*")) == [
        "step-00000001.png", "step-00000004.png", "step-00000006.png",
    ]  # fmt: skip


# ---- document 3 ------------------------------------------------------------------------------------------------------


def test_document_3s_order_of_updates():
    """Combined, fake, real; the fakes are the updated generator's, in eval mode, of the very noise of the combined."""
    c = ReimagingOptions(source=f"{FACES}/dark", hidden=[8], discriminator_hidden=[8], batch_size=4, latent=5)
    task = Reimaging(c)
    generator, discriminator = task.networks["generator"].train(), task.networks["discriminator"]
    batch, optimizers = {"image": task.faces.tensor([0, 1, 2, 3])}, task.optimizers()
    torch.manual_seed(1)
    latents = torch.randn(4, 5)
    expected_first = F.binary_cross_entropy_with_logits(discriminator(generator(latents)), torch.ones(4, 1)).item()

    torch.manual_seed(1)
    task = task_again(task, generator)
    updates = task.step(batch, 0)

    def take(expected_name, expected_optimizer, expected_loss):
        update = next(updates)
        assert (next(iter(update.terms)), update.optimizer) == (expected_name, expected_optimizer)
        assert update.loss.item() == pytest.approx(expected_loss, rel=1e-5)
        update.loss.backward()
        optimizers[update.optimizer].step()
        optimizers[update.optimizer].zero_grad()

    before = [p.clone() for p in discriminator.parameters()]
    take("loss_combined", "generator", expected_first)
    assert all(torch.equal(p, old) for p, old in zip(discriminator.parameters(), before, strict=True))
    with torch.no_grad():
        fakes = generator.eval()(latents)
    generator.train()
    take("loss_fake", "discriminator", F.softplus(discriminator(fakes)).mean().item())
    take("loss_real", "discriminator", F.softplus(-discriminator(batch["image"])).mean().item())
    assert next(updates, None) is None


def task_again(task, generator):
    """The task with its norms' statistics as before the forward pass that the test made."""
    for module in generator.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.reset_running_stats()
    return task


def test_a_classifier_has_validation_curves(tmp_path):
    options = {"source": [f"{FACES}/uniform"], "width": 4, "hidden": [8], "validation": 50, "mixed_precision": "no"}
    trainer = trained(Classifier, options, tmp_path, epochs=1, sample_every=4)
    assert (len(trainer.task.faces), len(trainer.task.validation), len(trainer.task.tests)) == (250, 50, 75)
    assert trainer.options.max_steps == 8
    lines = [json.loads(line) for line in (tmp_path / "tests.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    assert {"accuracy_validation", "loss_validation", "accuracy_test", "loss_test"} < lines[0].keys()
    with pytest.raises(ConfigError, match="--validation is 300; there are only 300 photos"):
        Classifier(ClassifierOptions(source=[FACES], validation=300))


# ---- documents 1, 4 and 5 --------------------------------------------------------------------------------------------


def test_simgan_deepens_by_transfer(tmp_path):
    both = {"unmasked": FACES, "masked": COVERED, "start": "unmasked", **TINY, "discriminator_width": 6}
    both |= {"pretrain_generator": 0, "pretrain_discriminator": 0}
    first = trained(SimGAN, both, tmp_path / "first", blocks=2, max_steps=2)
    checkpoint = tmp_path / "first" / "checkpoints" / "step-00000002"
    deeper = SimGANOptions(
        output=str(tmp_path / "deeper"), init_from=str(checkpoint), blocks=4, discriminator_convolutions=7, max_steps=1,
        **both,
    )  # fmt: skip
    trainer = Trainer(SimGAN, deeper)
    batch = next(iter(trainer.task.dataset(0, batch_size=2)))["unmasked"][None].repeat(2, 1, 1, 1)
    for name in ("masker", "D"):
        before, after = first.task.networks[name].eval(), trainer.task.networks[name].eval()
        assert torch.allclose(after(batch), before(batch), atol=1e-5)
    trainer.run()
    trainer.close()
    shallower = deeper.replaced(init_from=str(tmp_path / "deeper" / "checkpoints" / "step-00000001"), blocks=2)
    with pytest.raises(CheckpointError, match="has other networks"):
        Trainer(SimGAN, shallower)


@pytest.mark.parametrize("kind", ["l1", "l2", "log"])
@pytest.mark.parametrize("distance", ["pairs", "halves"])
def test_cyclegan_with_another_cycle_loss_and_the_distance_constraint(kind, distance, tmp_path):
    options = {**PATCH, "unmasked": FACES, "masked": COVERED, "cycle_distance": kind, "distance": distance}
    trained(CycleGAN, options, tmp_path, lambda_distance=1.0, max_steps=1)
    line = metrics(tmp_path)[0]
    assert {"distance_A", "distance_B", "cycle_A"} < line.keys()
    assert all(math.isfinite(value) for value in line.values())


def test_cyclegan_with_the_light_generator(tmp_path):
    options = {**PATCH, "unmasked": FACES, "masked": COVERED, "generator": "light", "widths": (8, 12)}
    options |= {"light_blocks": (1, 1), "generator_width": 64, "blocks": 9}
    trained(CycleGAN, options, tmp_path / "run", max_steps=1)
    pipeline = FaceMaskPipeline.from_pretrained(tmp_path / "run" / "pipeline")
    assert {type(pipeline.masker), type(pipeline.unmasker)} == {LightGenerator}
    with pytest.raises(ConfigError, match="a multiple of 8"):
        CycleGANOptions(**options | {"resolution": 36, "output": "c"}).check()


@pytest.mark.parametrize(("kind", "measure"), [("pairs", pair_distances), ("halves", half_distances)])
def test_the_distance_constraint_is_about_the_training_photos(kind, measure):
    options = CycleGANOptions(unmasked=FACES, masked=COVERED, distance=kind, lambda_distance=1, **PATCH)
    task = CycleGAN(options)
    given = torch.rand(4, 3, 32, 32) * 2 - 1
    # what each domain's own pictures do: standardised, the distances have mean 0 and deviation 1
    samples = [sample for sample, _ in zip(task.dataset(3, batch_size=8), range(200), strict=False)]
    moments = []
    for name in ("unmasked", "masked"):
        stacked = torch.stack([sample[name] for sample in samples])
        values = torch.cat([measure(part) for part in stacked.split(8)])
        moments.append((values.mean().item(), values.std().item()))
    (mean_a, std_a), (mean_b, std_b) = moments
    made = (given + 0.3).clamp(-1, 1)
    expected = ((measure(given) - mean_a) / std_a - (measure(made) - mean_b) / std_b).abs().mean().item()
    assert task.distance_term(given, made).item() == pytest.approx(expected, rel=1e-4)
    back = ((measure(given) - mean_b) / std_b - (measure(made) - mean_a) / std_a).abs().mean().item()
    assert task.distance_term(given, made, back=True).item() == pytest.approx(back, rel=1e-4)


def test_noise_comes_with_a_stage_and_stays_in_the_result(tmp_path):
    options = ATTENTION | {"unmasked": FACES, "masked": COVERED}
    stages = [{"steps": 1, "noise": [0, 0]}, {"steps": 1, "noise": [1.0, 0.2], "lambda_cycle": 8}]
    trainer = trained(AttentionGAN, options, tmp_path / "quiet", stages=stages, max_steps=1)
    assert not trainer.task.networks["masker"].takes_noise
    trainer = trained(AttentionGAN, options, tmp_path / "noisy", stages=stages)
    config = json.loads((tmp_path / "noisy" / "pipeline" / "masker" / "config.json").read_text())
    assert config["noise"] == [1.0, 0.2] and trainer.task.networks["masker"].takes_noise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lambda_distance": 1, "batch_size": 1}, "--distance pairs needs a --batch-size of at least 2"),
        ({"lambda_nmc": 1}, "--start unmasked draws no mask"),
        (
            {
                "generator": "light",
                "generator_width": 64,
                "blocks": 9,
                "contents": 9,
                "stages": [{"steps": 1, "noise": [0, 0]}],
            },
            "no stage can change it",
        ),
    ],
)
def test_what_does_not_go_together(options, message):
    with pytest.raises(ConfigError, match=message):
        AttentionGANOptions(**ATTENTION | {"unmasked": "a", "masked": "b", "output": "c"} | options).check()


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_distance_constraint_with_the_cycle_and_instead_of_it(one_sided, tmp_path):
    options = ATTENTION | {"unmasked": FACES, "masked": COVERED, "one_sided": one_sided, "lambda_distance": 1.0}
    trained(AttentionGAN, options, tmp_path, max_steps=1)
    line = metrics(tmp_path)[0]
    assert "distance_A" in line and ("distance_B" in line) == ("cycle_A" in line) == (not one_sided)
