"""Scores of made samples: what they say about good and bad masks, as columns, and as a limit."""

import cv2
import numpy as np
import pytest
from PIL import Image

from maskhub.data.masked import Wearing, mask_faces
from maskhub.data.masked_files import mask_source
from maskhub.data.scores import SCORES, score
from maskhub.data.shards import build_dataset
from maskhub.data.tables import read_table
from maskhub.errors import ConfigError, NoFaceError


@pytest.fixture(scope="module")
def head(astronaut):
    return np.asarray(astronaut)[:300, 60:400]


@pytest.fixture(scope="module")
def made(head):
    return mask_faces(head, Wearing(style="surgical", seed=1), "x")


def test_a_good_mask_scores_high(made):
    face = made.faces[0]
    assert face["agreement"] > 0.85
    assert face["sharpness"] > 0.6
    assert face["quality"] == pytest.approx(min(1, face["presence"]), abs=1e-3)


def test_a_mask_elsewhere_and_a_blurred_face_score_low(head, made):
    face = made.found[0]
    shifted = np.roll(made.region, 40, axis=0)
    assert score(head, made.image, shifted, face)["quality"] < 0.8
    nothing = score(head, head, made.region, face)
    assert nothing["agreement"] < 0.2
    blurred = score(cv2.GaussianBlur(head, (0, 0), 6), made.image, made.region, face)
    assert blurred["sharpness"] < 0.3
    assert blurred["quality"] == pytest.approx(blurred["sharpness"] / 0.6, abs=2e-3)


def test_what_is_measured(head):
    fast = mask_faces(head, Wearing(seed=1, scores="fast"), "x").faces[0]
    assert (fast["agreement"], fast["quality"] is None) == (None, False)
    glasses = mask_faces(head, Wearing(style="sunglasses", seed=1), "x").faces[0]
    assert (glasses["agreement"], glasses["quality"] > 0.9) == (None, True)  # a mask detector finds none, rightly
    none = mask_faces(head, Wearing(seed=1, scores="none"), "x").faces[0]
    assert [none[key] for key in SCORES[1:]] == [None] * 4


def test_a_low_score_keeps_the_face_bare(head):
    soft = cv2.GaussianBlur(head, (0, 0), 4)
    with pytest.raises(NoFaceError, match=r"not good enough for --min-quality 0.9 \(presence .*sharpness"):
        mask_faces(soft, Wearing(seed=1, min_quality=0.9), "x")
    both = np.hstack([head, soft])
    faces = mask_faces(both, Wearing(seed=1, min_quality=0.9), "x").faces
    assert sorted(bool(face["style"]) for face in faces) == [False, True]
    assert min(face["quality"] for face in faces) < 0.9
    with pytest.raises(ConfigError, match="--min-quality needs scores"):
        Wearing(min_quality=0.5, scores="none")


def test_columns(head, tmp_path):
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    Image.fromarray(head).save(tmp_path / "in" / "a.png")
    mask_source(tmp_path / "in", tmp_path / "out", Wearing(seed=1), progress=False)
    row = read_table(tmp_path / "out" / "metadata.csv")[0]
    build_dataset(tmp_path / "in", tmp_path / "pairs", Wearing(seed=1), progress=False)
    pair = pq.read_table(tmp_path / "pairs" / "data").to_pylist()[0]
    for key in SCORES:
        assert 0.5 < float(row[key]) < 100
        assert len(pair[key]) == 1
        assert 0.5 < pair[key][0] < 100
