"""A round of the quiz: half of it real, nothing given away, the same again for a seed."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.quiz import draw_quiz
from maskhub.masks import wear


def variations(photo, count):
    return [photo.rotate(2 * number).crop((100, 0, 350, 250)) for number in range(count)]


@pytest.fixture(scope="module")
def both(astronaut):
    masked = wear(astronaut, style="surgical", colour="blue", seed=2).image
    return [photo for pair in zip(variations(astronaut, 4), variations(masked, 4), strict=True) for photo in pair]


def test_both_kinds_are_as_often_real_as_made(both, tiny_pipeline):
    quiz = draw_quiz(both, tiny_pipeline, seed=3, count=8)
    assert quiz.kinds == ("masked", "unmasked") and quiz.photos == 8
    kinds = Counter((question.masked, question.real) for question in quiz.questions)
    assert kinds == {(True, True): 2, (True, False): 2, (False, True): 2, (False, False): 2}
    assert {q.direction for q in quiz.questions if not q.real} == {"mask", "unmask"}
    assert all(q.masked == (q.direction == "mask") for q in quiz.questions if q.direction)
    assert {(q.picture.size, q.picture.mode) for q in quiz.questions} == {((256, 256), "RGB")}
    assert len({q.key for q in quiz.questions}) == 8


def test_a_seed_gives_the_same_round_and_another_another(both, tiny_pipeline):
    keys = [[q.key for q in draw_quiz(both, tiny_pipeline, seed, count=8).questions] for seed in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]


def test_one_photo_goes_there_and_back(astronaut, tiny_pipeline):
    quiz = draw_quiz([astronaut, astronaut], tiny_pipeline, seed=0, count=6)
    assert quiz.kinds == ("unmasked",) and quiz.photos == 1
    assert Counter((q.real, q.direction, q.masked) for q in quiz.questions) == {
        (True, "", False): 3,
        (False, "cycle", False): 3,
    }
    assert len({q.key for q in quiz.questions}) == 6
    assert not np.array_equal(*(np.asarray(q.picture) for q in [q for q in quiz.questions if q.real][:2]))


def test_what_makes_no_round_is_said(astronaut, tiny_pipeline):
    with pytest.raises(SourceError, match="none of 2 photos shows a face"):
        draw_quiz([Image.new("RGB", (90, 90), "grey"), astronaut.resize((60, 60))], tiny_pipeline, seed=0)
    with pytest.raises(ConfigError, match="even number"):
        draw_quiz([astronaut], tiny_pipeline, seed=0, count=7)
    tiny_pipeline.register_modules(unmasker=None)
    with pytest.raises(ConfigError, match="puts masks on and takes them off"):
        draw_quiz([astronaut], tiny_pipeline, seed=0, count=6)
