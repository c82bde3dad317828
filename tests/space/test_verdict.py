"""What a visitor is told before and after a photo is translated."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from maskhub import FaceMaskPipeline
from maskhub.direction import Direction
from maskhub.masks.styles import COLOURS, STYLES
from maskhub.pipelines.estimate import Estimate
from maskhub.pipelines.outcomes import Outcome
from space import verdict
from space.methods import methods
from space.outlook import outlook, reading_order, results_of
from space.swap import FaceSwap, options, translate


def face(direction, outcome=Outcome.CHANGED, presence=0.0, **more):
    return FaceSwap((0, 0, 10, 10), np.eye(2, 3), Direction(direction), outcome, presence, **more)


ON, OFF = face("mask"), face("unmask")
POOR = face("unmask", estimate=Estimate(0.4, True, "lit from one side"))
BARE, WORN = face("unmask", Outcome.NO_MASK), face("mask", Outcome.ALREADY_MASKED, 1.0)


@pytest.mark.parametrize(
    ("faces", "words", "clean"),
    [
        ([ON], "Mask put on in 0.5 s.", True),
        ([OFF], "Mask taken off in 0.5 s. What appears under a mask is invented.", True),
        (
            [ON, OFF, OFF],
            "One mask put on and 2 masks taken off in 0.5 s. What appears under a mask is invented.",
            True,
        ),
        ([BARE], "Nothing was changed. This face wears no mask, so there is nothing to take off.", False),
        ([WORN], "Nothing was changed. This face already wears a mask.", False),
        ([ON, WORN, WORN], "One mask put on in 0.5 s. 2 faces already wear a mask.", True),
        ([face("mask", empty=True)], "Nothing was changed. On this face the network found nothing to change.", False),
        (
            [POOR],
            "Mask taken off in 0.5 s. The result is probably poor (lit from one side): try another look below. "
            "What appears under a mask is invented.",
            False,
        ),
        (
            [OFF, POOR, POOR],
            "3 masks taken off in 0.5 s. The result on 2 faces is probably poor (lit from one side): try another look "
            "below. What appears under a mask is invented.",
            False,
        ),
        (
            [face("unmask", left_on=True)],
            "Nothing was changed. The mask could not be taken off completely: try another look below. "
            "What appears under a mask is invented.",
            False,
        ),
    ],
)
def test_what_became_of_the_faces_is_said_as_it_is(faces, words, clean):
    assert verdict.sentence(faces, 0.5) == words
    assert verdict.clean(faces) is clean


def test_the_button_that_would_help():
    assert verdict.helps([ON, BARE], "unmask") is None
    assert verdict.helps([BARE], "unmask") == ("Put a mask on instead", "mask", False)
    assert verdict.helps([WORN], "mask") == ("Take the mask off instead", "unmask", False)
    unsure = face("unmask", Outcome.NO_MASK, 0.4)
    assert verdict.helps([unsure], "unmask") == ("Take it off anyway", "unmask", True)


def test_poor_results_are_foretold(astronaut, masked_astronaut, shaded_astronaut):
    assert outlook(astronaut) == outlook(masked_astronaut) == []
    assert outlook(shaded_astronaut) == ["The result will probably be poor (lit from one side)."]
    row = Image.new("RGB", (3 * 512, 512))
    for place, photo in enumerate((shaded_astronaut, shaded_astronaut, masked_astronaut)):
        row.paste(photo, (place * 512, 0))
    assert outlook(row) == ["The results on faces 1 and 2 will probably be poor (lit from one side)."]
    assert results_of([1, 3], 3) == "The results on faces 1 and 3"
    blurred = astronaut.filter(ImageFilter.GaussianBlur(8))
    assert outlook(blurred) == ["The result will probably be poor (turned away, covered or blurred)."]
    assert "No face was found" in outlook(Image.new("RGB", (64, 64)))[0]


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("trained_on: [30 photos, 20 masks]", "30 photos; 20 masks"),
        ("trained_on: 30 photos", "30 photos"),
        ("license: other", "its card doesn't say"),
        ("trained_on: [", "its card doesn't say"),
    ],
)
def test_compare_says_what_a_model_was_trained_on(tiny_pipeline, tmp_path, monkeypatch, front, said):
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# model")
    monkeypatch.setenv("MASKHUB_MODEL", str(tmp_path))
    own, light, two_step, telea, _ = methods(tiny_pipeline)
    assert (light.name, two_step.name) == ("light-256", "two-step-256")
    assert (own.trained_on, telea.trained_on) == (said, "nothing")
    assert [two_step.can(what) for what in ("mask", "unmask", "cycle")] == [True, False, False]
    monkeypatch.delenv("MASKHUB_MODEL")
    assert "CelebA" in methods(tiny_pipeline)[0].trained_on


@pytest.mark.parametrize("wear, drawn", [(None, [True, False]), ("random", [False, False])])
def test_compare_shows_a_mask_drawn_by_rule_once(tiny_pipeline, wear, drawn):
    pipe = FaceMaskPipeline(None, tiny_pipeline.unmasker, resolution=64, wear=wear)
    own, _, *inpaintings = methods(pipe)
    assert own.can("mask") == (wear is not None)
    assert [method.can("mask") for method in inpaintings] == drawn


def test_faces_are_numbered_as_one_reads():
    boxes = [(200, 10, 50, 50), (10, 150, 50, 50), (100, 20, 50, 50), (210, 140, 50, 50)]
    assert reading_order(boxes) == [2, 0, 1, 3]


def test_each_face_as_chosen(astronaut, tiny_pipeline):
    before = np.asarray(astronaut)
    kept = translate(tiny_pipeline, astronaut, "auto", {0: "keep"})
    assert np.array_equal(kept.image, before) and not kept.region.any() and kept.faces[0].said == "as it was"
    looks = {words: choice for _, words, choice in options(tiny_pipeline, astronaut, 0, colour="navy", seed=3)}
    for style in STYLES:  # a style without the colour takes another
        assert looks[style] == f"rule {style} {'navy' if 'navy' in COLOURS[style] else 'random'} 3"
    assert looks["cloth"] == "rule cloth navy 3"
    drawn = translate(tiny_pipeline, astronaut, "auto", {0: looks["cloth"]})
    assert drawn.faces[0].said == "mask put on" and drawn.region.mean() > 0.01
    changed = np.abs(np.asarray(drawn.image).astype(int) - before).max(2) > 0
    assert changed[drawn.region].mean() > 0.9 and not changed[300:].any()


def test_a_masked_face_has_three_candidates(masked_astronaut, tiny_pipeline):
    looks = options(tiny_pipeline, masked_astronaut, 0)
    assert [choice for _, _, choice in looks] == ["keep", "", "candidate 0", "candidate 1"]
    usual, *others = [
        np.asarray(translate(tiny_pipeline, masked_astronaut, "auto", {0: choice}).image) for _, _, choice in looks[1:]
    ]
    assert np.array_equal(usual, translate(tiny_pipeline, masked_astronaut, "auto").image)
    assert all((usual != other).any() for other in others)


@pytest.mark.parametrize(("direction", "first"), [("mask", "by the network"), ("unmask", "candidate 1")])
def test_a_face_translated_anyway_has_the_looks_of_its_direction(request, tiny_pipeline, direction, first):
    photo = request.getfixturevalue("masked_astronaut" if direction == "mask" else "astronaut")
    usual, forced = (
        [words for _, words, _ in options(tiny_pipeline, photo, 0, direction, force=force)] for force in (False, True)
    )
    assert forced[:2] == ["as it was", first] and first not in usual
