import numpy as np
import pytest

from maskhub.masks import wear
from maskhub.pipelines.outcomes import Outcome
from maskhub.pipelines.record import PhotoRecord
from maskhub.pipelines.translator import RuleMasker


@pytest.mark.parametrize("worn", ["chin-out", lambda rng: "nose-out"], ids=["name", "function"])
def test_a_rule_draws_the_colour_and_the_way_it_was_given(astronaut, worn):
    record = PhotoRecord.read(astronaut, 64, seed=3)
    RuleMasker("cloth", "navy", worn).translator()(record.faces)
    name = worn if isinstance(worn, str) else worn(None)
    expected = wear(astronaut, style="cloth", seed=3, colour="navy", worn=name, face=record.faces[0].face)
    assert np.array_equal(record.finish()[0], expected.image)


def test_a_rule_draws_on_its_portion_of_the_faces(astronaut):
    outcomes = []
    for seed in range(12):
        record = PhotoRecord.read(astronaut, 64, seed=seed)
        RuleMasker("surgical", portion=0.5).translator(force=True)(record.faces)
        outcomes.append(record.faces[0].outcome)
    assert set(outcomes) == {Outcome.CHANGED, Outcome.NOT_CHOSEN}
