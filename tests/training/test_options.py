"""Options of trainings: stages, schedules, recipes, and what does not go together."""

import re
from pathlib import Path

import pytest

from maskhub.errors import ConfigError
from maskhub.options import read_recipe
from maskhub.training.cyclegan import CycleGANOptions
from maskhub.training.pix2pix import Pix2PixOptions
from maskhub.training.registry import TASKS, task_class
from maskhub.training.schedule import Timeline, learning_rate_factor
from maskhub.training.simgan import SimGANOptions

RECIPES = Path(__file__).parents[2] / "train_scripts" / "recipes"
STAGES = """
stages:
- {steps: 10, learning_rate: 2e-4, lambda_cycle: 0.5}
- {steps: 20, learning-rate: 1e-4, lambda_cycle: .005, discriminator_updates: 3, lr_schedule: constant}
"""
PLACES = {"unmasked": "a", "masked": "b", "output": "c"}


def options_of(tmp_path, text, options_class=CycleGANOptions, **changes):
    (tmp_path / "r.yaml").write_text(text)
    options = read_recipe(tmp_path / "r.yaml", options_class).replaced(**PLACES | changes)
    options.check()
    return options


def test_stages_are_a_function_of_the_step(tmp_path):
    options = options_of(tmp_path, STAGES)
    assert options.max_steps == 30
    timeline = Timeline(options)
    stages = [timeline.at(step) for step in (0, 9, 10, 29, 30)]
    assert [(stage.first, stage.steps) for stage in stages] == [(0, 10), (0, 10), (10, 20), (10, 20), (10, 20)]
    assert [stage.options.lambda_cycle for stage in stages] == [0.5, 0.5, 0.005, 0.005, 0.005]
    assert [stage.options.learning_rate for stage in stages] == [2e-4, 2e-4, 1e-4, 1e-4, 1e-4]
    assert timeline.at(7).learning_rate(7) == pytest.approx(2e-4 * 0.6)
    timeline = Timeline(options.replaced(gradient_accumulation=2))
    assert [timeline.batches_before(step) for step in (0, 10, 11, 30)] == [0, 20, 26, 140]


def test_the_learning_rate_warms_up():
    timeline = Timeline(CycleGANOptions(max_steps=100, warmup=0.1, lr_schedule="constant", learning_rate=1.0))
    assert [timeline.at(step).learning_rate(step) for step in (0, 4, 9, 50)] == pytest.approx([0.1, 0.5, 1, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [{lambda_cycle: 1}]", "needs either steps or epochs"),
        ("stages: [{steps: 0}]", "at least 1 step"),
        ("stages: [{steps: 5, epochs: 1}]", "needs either steps or epochs"),
        ("stages: [{epochs: .inf}]", "at least 1 step"),
        ("stages: [{epochs: .nan}]", "at least 1 step"),
        ("stages: [{steps: 5, blocks: 3}]", "changes blocks; a stage may change .*lambda_cycle"),
        ("stages: [{steps: 5, lambda_cycle: many}]", "stage 1: --lambda-cycle is 'many'; it must be a number"),
        ("stages: [{steps: 5, lambda_cycle: -1}]", "stage 1: --lambda-cycle is -1; it must be at least 0"),
        ("stages: {steps: 5}", "list of mappings"),
        ("stages: [{steps: 5}]\nmax_steps: 6", "have only 5 steps"),
        ("stages: [{steps: 5}]\nepochs: 2", "--epochs can't be used with the stages of a recipe"),
        ("generator_updates: 0\ndiscriminator_updates: 0", "nothing would be trained"),
        ("diffaugment: colour", "--diffaugment is 'colour'; it must be any of color"),
    ],
)
def test_bad_stages_and_options(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        options_of(tmp_path, text)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("cyclegan", {"widths": (8, 16)}, "--widths can't be used with --generator resnet"),
        ("cyclegan", {"light_blocks": (1,), "fold": 2}, "--fold, --light-blocks can't be used with --generator resnet"),
        ("cyclegan", {"generator": "light", "blocks": 6}, "--blocks can't be used with --generator light"),
        (
            "cyclegan",
            {"generator": "light", "upsampling": "resize"},
            "--upsampling can't be used with --generator",
        ),
        ("cyclegan", {"lambda_gp": 5}, "--lambda-gp can't be used with --gan-loss lsgan"),
        ("attentiongan", {"generator": "light", "contents": 4}, "--contents can't be used with --generator light"),
        ("simgan", {"start": "unmasked", "style": "kn95"}, "--style can't be used with --start unmasked, which draws"),
        ("pix2pix", {"pairs": "given", "wrongly_worn": 0.5}, "--wrongly-worn can't be used with --pairs given, which"),
        ("reimaging", {"width": 32}, "--width can't be used with --architecture dense"),
        ("reimaging", {"architecture": "dcgan", "hidden": [8]}, "--hidden can't be used with --architecture dcgan"),
    ],
)
def test_an_option_of_another_network_is_refused(task, options, message):
    kind = task_class(task).Options
    places = {name: place for name, place in PLACES.items() if name in kind.model_fields}
    with pytest.raises(ConfigError, match=message):
        kind(**places | options).check()


def test_every_weight_of_a_loss_may_change_in_a_stage():
    for name in TASKS:
        options = task_class(name).Options
        staged = set(options.marked("staged"))
        assert {field for field in options.model_fields if field.startswith("lambda_")} <= staged
        assert {"learning_rate", "lr_schedule"} <= staged


def test_simgan_pre_trains_before_its_stages(tmp_path):
    options = options_of(tmp_path, "pretrain_generator: 4\npretrain_discriminator: 2\nmax_steps: 10", SimGANOptions)
    timeline = Timeline(options)
    assert [stage.steps for stage in timeline.stages] == [4, 2, 4]
    first, second, third = (timeline.at(step).options for step in (0, 4, 6))
    assert (first.lambda_gan, first.discriminator_updates) == (0, 0)
    assert (second.generator_updates, second.discriminator_updates) == (0, 1)
    assert (third.lambda_gan, third.generator_updates, third.discriminator_updates) == (1, 1, 1)


def test_simgan_runs_the_stages_of_a_recipe_to_their_end(tmp_path):
    with pytest.raises(ConfigError, match="set pretrain_generator and pretrain_discriminator to 0"):
        options_of(tmp_path, "stages: [{steps: 4}, {steps: 6}]", SimGANOptions)
    text = "stages: [{steps: 4}, {steps: 6}]\npretrain_generator: 0\npretrain_discriminator: 0"
    options = options_of(tmp_path, text, SimGANOptions)
    assert options.max_steps == 10 and [stage.steps for stage in Timeline(options).stages] == [4, 6]


@pytest.mark.parametrize(
    ("options_class", "changes", "message"),
    [
        (CycleGANOptions, {"batch_size": 0}, "--batch-size is 0"),
        (CycleGANOptions, {"seed": 2**32}, "it must be at least 0 and below 4294967296"),
        (CycleGANOptions, {"ema_decay": 1.0}, "at least 0 and below 1"),
        (CycleGANOptions, {"resolution": 32, "discriminator_layers": 5}, "needs a --resolution of at least 96"),
        (CycleGANOptions, {"norm": "batch", "resolution": 32}, "--batch-size above 1"),
        (SimGANOptions, {"batch_size": 1}, "--batch-size is 1; it must be at least 2"),
        (SimGANOptions, {"resolution": 40}, "a multiple of 16"),
        (Pix2PixOptions, {"masked": "", "depth": 9, "resolution": 256}, "multiple of 512"),
        (Pix2PixOptions, {}, "--masked is not used"),
        (Pix2PixOptions, {"masked": "", "style": "paper"}, "--style is 'paper'"),
    ],
)
def test_impossible_options(tmp_path, options_class, changes, message):
    with pytest.raises(ConfigError, match=message):
        options_of(tmp_path, "", options_class, **changes)


def test_the_u_net_is_as_deep_as_the_resolution_allows():
    assert [Pix2PixOptions(resolution=r).levels() for r in (64, 96, 128, 256, 512)] == [6, 5, 7, 8, 8]


@pytest.mark.parametrize("name", ["reimaging", "classifier"])
def test_a_single_source_needs_no_brackets(name, tmp_path):
    (tmp_path / "r.yaml").write_text("source: builtin:pixel-faces/dark")
    assert read_recipe(tmp_path / "r.yaml", task_class(name).Options).source == ["builtin:pixel-faces/dark"]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("linear", [1, 1, 1, 0.5, 0.02]), ("cosine", [1, 0.8536, 0.5, 0.1464, 0.0002]), ("constant", [1, 1, 1, 1, 1])],
)
def test_schedules(schedule, factors):
    steps = (0, 25, 50, 75, 99)
    assert [learning_rate_factor(schedule, step / 100) for step in steps] == pytest.approx(factors, abs=1e-3)


def task_of_recipe(path):
    """The task that a recipe is for: that of its own command, or of its name."""
    command = re.search(r"train_scripts/train_(\w+)\.py", path.read_text(encoding="utf-8"))
    by_name = (name for name in TASKS if path.stem.replace("-", "_").startswith(name))
    return command[1] if command else max(by_name, key=len)


@pytest.mark.parametrize(
    "path", sorted([*RECIPES.glob("*.yaml"), *RECIPES.parent.glob("gpu/*.yaml")]), ids=lambda path: path.stem
)
def test_every_recipe_can_be_run(path):
    options = read_recipe(path, task_class(task_of_recipe(path)).Options)
    missing = {name: PLACES[name] for name in ("output", *options.needs()) if not getattr(options, name)}
    options = options.replaced(**missing)
    options.check()
    options = options.in_steps(lambda stage: stage.limit_photos or 100, options.batch_size)
    assert sum(stage["steps"] for stage in options.timeline()) >= options.max_steps
