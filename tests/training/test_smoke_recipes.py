"""The smoke recipes train every method on a machine that has no data: on the built-in faces."""

from pathlib import Path

import pytest

from maskhub.training.registry import TASKS

RECIPES = Path(__file__).parents[2] / "train_scripts" / "recipes"
NAMES = sorted(path.stem.removesuffix("-smoke") for path in RECIPES.glob("*-smoke.yaml"))


def test_every_method_has_a_smoke_recipe():
    assert {name.replace("-", "_") for name in NAMES} == {*TASKS}


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_recipe_needs_no_data(name, here, tmp_path):
    short = {"output": str(tmp_path / "run"), "max_steps": 1, "sample_every": 0}
    short |= {"workers": 0} if name not in ("classifier", "reimaging") else {}
    short |= {"pretrain_generator": 1, "pretrain_discriminator": 1} if name == "simgan" else {}
    code, text = here(name.replace("-", "_"), short, "--recipe", RECIPES / f"{name}-smoke.yaml")
    assert code == 0 and "wrote " in text and "builtin:" in text, text
