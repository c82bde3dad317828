"""One declaration of options for Python, the command line and recipes, and one message for every bad value."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from maskhub.data.masked import Wearing
from maskhub.errors import ConfigError
from maskhub.options import FREE, OptionSet, Positive, Rate, Share, Weight, parse, read_recipe


class Some(OptionSet):
    """For the tests."""

    batch_size: Annotated[Positive, FREE] = 1
    """Photos a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Step size."""
    label: Share = 0.9
    """Of real faces."""
    decay: Rate = 0.999
    """Of the average."""
    lambda_cycle: Weight = 10.0
    """Of the cycle."""
    loss: Literal["lsgan", "vanilla"] = "lsgan"
    """Adversarial."""
    noise: tuple[float, float] = (1.0, 0.2)
    """Two deviations."""
    widths: tuple[int, ...] = (64, 128)
    """Channels."""
    side: Annotated[int, Field(ge=32, multiple_of=4)] = 64
    """Pixels."""
    holdout: bool = False
    """Leave out a tenth."""
    recipe: str | None = None
    """YAML file."""


BAD = [
    ("batch_size", -1, "--batch-size is -1; it must be at least 1."),
    ("batch_size", "many", "--batch-size is 'many'; it must be a whole number."),
    ("batch_size", 1.5, "--batch-size is 1.5; it must be a whole number."),
    ("learning_rate", 0, "--learning-rate is 0; it must be above 0."),
    ("learning_rate", "nan", "--learning-rate is nan; it must be a finite number."),
    ("label", 1.5, "--label is 1.5; it must be from 0 to 1."),
    ("decay", 1, "--decay is 1; it must be at least 0 and below 1."),
    ("lambda_cycle", -3, "--lambda-cycle is -3; it must be at least 0."),
    ("loss", "hinge", "--loss is 'hinge'; it must be one of lsgan, vanilla."),
    ("noise", (1, "loud"), "--noise is 'loud'; it must be a number."),
    ("widths", (1, 2.5), "--widths is 2.5; it must be a whole number."),
    ("side", 30, "--side is 30; it must be a multiple of 4 and at least 32."),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_one_message_from_everywhere(name, value, message, tmp_path):
    with pytest.raises(ConfigError) as caught:
        Some(**{name: value})
    assert str(caught.value) == message
    with pytest.raises(ConfigError) as caught:
        parse(Some, args=[f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else [value])])
    assert str(caught.value) == message
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"{name.replace('_', '-')}: {list(value) if isinstance(value, tuple) else value}")
    with pytest.raises(ConfigError) as caught:
        parse(Some, args=["--recipe", str(recipe)])
    assert str(caught.value) == f"the recipe {recipe}: {message}"
    with pytest.raises(ConfigError) as caught:
        Some().replaced(**{name: value})
    assert str(caught.value) == message


def test_the_command_line_overrides_the_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text("learning-rate: 1e-3\nbatch_size: 6\nholdout: true\nnoise: [0, 0]\nwidths: [8]\n")
    options = parse(Some, args=["--recipe", str(tmp_path / "r.yaml"), "--batch-size", "3", "--widths", "4", "5"])
    assert (options.learning_rate, options.batch_size, options.holdout) == (1e-3, 3, True)
    assert (options.noise, options.widths, options.recipe) == ((0, 0), (4, 5), str(tmp_path / "r.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("bloks: 3", "there is no option --bloks"), ("- 1", "must be a mapping"), ("a: [", "not YAML")],
)
def test_bad_recipes(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_recipe(tmp_path / "r.yaml", Some)
    with pytest.raises(ConfigError, match="can't be read"):
        read_recipe(tmp_path / "nothing.yaml", Some)


def test_unknown_options_and_unchangeable_values():
    with pytest.raises(ConfigError, match="there is no option --bloks"):
        parse(Some, args=["--bloks", "3"])
    with pytest.raises(ConfigError, match="there is no option --bloks"):
        Some(bloks=3)
    assert Some.marked(FREE) == ["batch_size"]


def test_help_shows_ranges_types_and_defaults(capsys):
    with pytest.raises(SystemExit):
        parse(Some, "What it does.", ["--help"])
    text = capsys.readouterr().out
    assert "What it does." in text and "--batch-size INT" in text and "Photos a step. (default: 1)" in text
    assert "--loss {lsgan,vanilla}" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "paper"}, "--style is 'paper'; it must be one of surgical"),
        ({"style": "surgical", "colour": "plaid"}, "there is no colour 'plaid' here: surgical masks come in"),
        ({"colour": "black"}, "a colour needs a style"),
        ({"portion": 0}, "--portion is 0; it must be above 0 and at most 1"),
        ({"wrongly_worn": 2}, "--wrongly-worn is 2; it must be from 0 to 1"),
        ({"seed": -1}, "--seed is -1; it must be at least 0"),
        ({"worn": "backwards"}, "--worn is 'backwards'; it must be one of correctly"),
    ],
)
def test_masking_options(options, message):
    with pytest.raises(ConfigError, match=message):
        Wearing(**options)
