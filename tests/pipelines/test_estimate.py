"""The estimate of how well a mask will come off, in both pipelines, without a further network."""

import json

import numpy as np
import pytest

from maskhub.faces.detect import detect
from maskhub.masks.detector import detect_masks
from maskhub.pipelines.estimate import FILE, REASONS, estimate_result, measure_face
from maskhub.pipelines.onnx_face_mask import OnnxFaceMaskPipeline
from maskhub.pipelines.outcomes import described, tally


def seen(photo):
    """What the detectors find on a photo's face."""
    pixels = np.asarray(photo)
    face = detect(pixels)[0]
    (crop,), (found,) = detect_masks([(pixels, face)])
    return crop, face.score, found


def test_a_shaded_face_is_worse_and_the_reason_is_named(masked_astronaut, shaded_astronaut):
    plain, dark = estimate_result(*seen(masked_astronaut)), estimate_result(*seen(shaded_astronaut))
    assert 0.2 < plain.error < dark.error < 0.5
    assert (plain.poor, dark.poor) == (False, True)
    assert dark.reason == "lit from one side"


def test_the_model_is_the_sum_of_its_terms(shaded_astronaut):
    model, measured = json.loads(FILE.read_text("utf-8")), measure_face(*seen(shaded_astronaut))
    assert measured.keys() == model["terms"].keys() == REASONS.keys()
    terms = [term["weight"] * (measured[name] - term["mean"]) for name, term in model["terms"].items()]
    assert estimate_result(*seen(shaded_astronaut)).error == pytest.approx(model["intercept"] + sum(terms))


def test_what_is_not_there_counts_nothing(masked_astronaut):
    crop, _, found = seen(masked_astronaut)
    nothing, everything = (found._replace(region=np.full_like(found.region, value)) for value in (0, 1))
    assert measure_face(crop, 1.0, nothing)["unevenness"] == 0
    assert measure_face(crop, 1.0, everything)["slant"] == 0
    for some in (nothing, everything):
        assert np.isfinite(list(measure_face(crop, 1.0, some).values())).all()


@pytest.mark.parametrize("direction", ["unmask", "auto"])
def test_pipelines_report_it(tiny_pipeline, shaded_astronaut, direction):
    expected = estimate_result(*seen(shaded_astronaut))
    for pipe in (tiny_pipeline, OnnxFaceMaskPipeline.bundled()):
        done = pipe(shaded_astronaut, direction, details=True)
        (face,) = done.faces[0]
        assert face.estimate == expected and face.expected_error == expected.error and face.likely_poor
        assert described(tally(done.faces[0])) == "1 face found: mask taken off; 1 result is likely poor"


def test_no_estimate_where_no_mask_is_taken_off(tiny_pipeline, astronaut, shaded_astronaut):
    for photo, direction, force in (
        (astronaut, "auto", False),
        (shaded_astronaut, "mask", False),
        (shaded_astronaut, "unmask", True),
    ):
        (face,) = tiny_pipeline(photo, direction, force=force, details=True).faces[0]
        assert face.expected_error is None and not face.likely_poor
        assert "poor" not in described(tally([face]))


def test_results_likely_poor_are_counted(tiny_pipeline, masked_astronaut, shaded_astronaut):
    faces = [
        tiny_pipeline(photo, "unmask", details=True).faces[0]
        for photo in (masked_astronaut, shaded_astronaut, shaded_astronaut)
    ]
    counts = sum(map(tally, faces), tally([]))
    assert described(counts) == "3 faces found: 3 masks taken off; 2 results are likely poor"
