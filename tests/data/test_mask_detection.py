"""Samples for the mask detector: what each of the four crops is, decoys, and walking by position."""

import itertools

import numpy as np
import pytest
import torch

from maskhub.data.decoys import decoy, occlude
from maskhub.data.mask_detection import MaskDetectionCrops, crops_per_sample, mask_detection_batches, roughen
from maskhub.data.masked import Wearing, mask_faces
from maskhub.data.sources import FolderSource
from maskhub.faces import align
from maskhub.faces.detect import detect


@pytest.fixture(scope="module")
def head(astronaut):
    pixels = np.asarray(astronaut)
    return align.crop(pixels, align.alignment(detect(pixels)[0], 128), 128)


@pytest.fixture(scope="module")
def sources(detector_photos):
    return [FolderSource(detector_photos / name) for name in ("unmasked", "masked")]


def batches(sources, folder, count, workers=0, **options):
    options = {"resolution": 64, "seed": 4, "batch_size": 2, "cache": folder / "faces.sqlite"} | options
    return list(itertools.islice(mask_detection_batches(MaskDetectionCrops(*sources, **options), workers), count))


def test_the_four_crops_of_a_sample(sources, tmp_path):
    (batch,) = batches(sources, tmp_path, 1, batch_size=6)
    assert batch["images"].shape == batch["plain"].shape == (24, 3, 64, 64)
    assert batch["images"].abs().max() <= 1
    presence, known, region = batch["presence"].view(6, 4), batch["known"].view(6, 4), batch["region"].view(6, 4, -1)
    assert set(presence[:, 0].tolist()) <= {0.5, 1.0} and presence[:, 0].max() == 1
    assert presence[:, 1:].tolist() == [[0, 1, 0]] * 6
    assert known.tolist() == [[1, 1, 0, 1]] * 6
    assert region[:, 1:].max() == 0 and 0.05 < region[:, 0].mean() < 0.6 and region.max() <= 1


def test_more_masks_at_the_chin_and_something_in_front_of_real_ones(sources, tmp_path):
    plain, chin, covered = (
        batches(sources, tmp_path, 1, batch_size=6, **options)[0]
        for options in ({}, {"at_chin": 1.0}, {"in_front": 1.0})
    )
    region = chin["region"].view(6, 4, 64, 64)[:, 0]
    assert region.any() and region[:, :36, 26:38].max() < 0.5  # below the mouth; straps go up beside it
    before, after = (batch["plain"].view(6, 4, 3, 64, 64) for batch in (plain, covered))
    assert (before[:, 2] != after[:, 2]).flatten(1).any(1).all()
    assert covered["presence"].tolist() == plain["presence"].tolist()


def test_more_really_masked_faces_in_a_sample(sources, tmp_path):
    (batch,) = batches(sources, tmp_path, 1, batch_size=3, real_faces=3)
    assert batch["images"].shape == (3 * crops_per_sample(3), 3, 64, 64) == (24, 3, 64, 64)
    assert batch["presence"].view(3, 8)[:, 1:].tolist() == [[0, 1, 0, 1, 0, 1, 0]] * 3
    assert batch["known"].view(3, 8).tolist() == [[1, 1, 0, 1, 0, 1, 0, 1]] * 3
    real = batch["plain"].view(3, 8, 3, 64, 64)[:, 2::2]
    assert not any(torch.equal(a, b) for sample in real for a, b in itertools.combinations(sample, 2))


def test_the_same_samples_with_any_number_of_workers_and_from_any_start(sources, tmp_path):
    plain = batches(sources, tmp_path, 3)
    for other in (batches(sources, tmp_path, 3, workers=2), [plain[0], *batches(sources, tmp_path, 2, start=2)]):
        for a, b in zip(plain, other, strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(plain[0]["images"], batches(sources, tmp_path, 1, seed=5)[0]["images"])


def test_what_lies_in_front_is_where_it_is_said_to_be(head):
    for seed in range(40):
        image, cover = occlude(head, np.random.default_rng(seed))
        assert image.dtype == np.uint8 and cover.dtype == np.float32
        assert cover.min() >= 0 and cover.max() <= 1.001
        assert (image[cover == 0] == head[cover == 0]).all()
        assert (cover == 0).mean() > 0.2
    assert (cover > 0.5).any()


def test_decoys_change_the_lower_face_alone(head):
    region = mask_faces(np.kron(head, np.ones((3, 3, 1), np.uint8)), Wearing(style="cloth", seed=1), "x").region[
        1::3, 1::3
    ]
    for seed in range(20):
        image = decoy(head, region, np.random.default_rng(seed))
        change = np.abs(image.astype(int) - head).max(2)
        assert change[region > 0.5].mean() > 1
        assert change[:20].max() == 0
    assert decoy(head, np.zeros_like(region), np.random.default_rng(0)) is head


def test_roughened_crops_are_crops(head):
    made = [roughen(head, np.random.default_rng(seed)) for seed in range(30)]
    assert all(image.shape == head.shape and image.dtype == np.uint8 for image in made)
    assert len({image.tobytes() for image in made}) > 25
    assert (roughen(head, np.random.default_rng(3)) == made[3]).all()
