"""Unpaired batches: the same ones whatever the number of workers, from any start, shared out without loss."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from maskhub.data.positions import endless_batches
from maskhub.data.source import PhotoSource
from maskhub.data.sources import FolderSource
from maskhub.data.unpaired import UnpairedPhotos, augment


def photo(number):
    return Image.fromarray(np.full((40, 30, 3), (number * 10, 255 - number * 10, 40), np.uint8))


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """Two folders, of 7 and of 5 photos."""
    root = tmp_path_factory.mktemp("domains")
    for name, count in (("unmasked", 7), ("masked", 5)):
        (root / name).mkdir()
        for number in range(count):
            photo(number).save(root / name / f"{number}.png")
    return [FolderSource(root / name) for name in ("unmasked", "masked")]


def batches(domains, count, workers=0, **options):
    dataset = UnpairedPhotos(
        dict(zip(("unmasked", "masked"), domains, strict=True)),
        **{"resolution": 32, "seed": 3, "batch_size": 4} | options,
    )
    return list(itertools.islice(endless_batches(dataset, workers), count))


def assert_same(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left.keys() == right.keys() == {"unmasked", "masked"}
        assert all(torch.equal(left[name], right[name]) for name in left)


def test_what_a_batch_is(domains):
    batch = batches(domains, 1)[0]
    for images in batch.values():
        assert (images.shape, images.dtype) == ((4, 3, 32, 32), torch.float32)
        assert -1 <= images.min() < images.max() <= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(domains, workers):
    assert_same(batches(domains, 5, workers), batches(domains, 5))


def test_the_seed_changes_everything(domains):
    assert_same(batches(domains, 3), batches(domains, 3))
    one, other = batches(domains, 3), batches(domains, 3, seed=4)
    assert not any(torch.equal(a["unmasked"], b["unmasked"]) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("done", [1, 3])
def test_a_later_start_is_the_tail(domains, done, workers):
    assert_same(batches(domains, 4, workers, start=4 * done), batches(domains, 4 + done)[done:])


def test_the_domains_are_drawn_apart(domains):
    """Over one pass of the larger domain, a photo does not always meet the same partner."""
    pairs = set()
    for batch in batches(domains, 35, batch_size=1):
        pairs.add(tuple(round(float(batch[name][0, 0, 0, 0] + 1) * 12.75) for name in ("unmasked", "masked")))
    assert len(pairs) > 15


def test_shares_of_processes_are_disjoint_and_complete(domains):
    class Recorder(PhotoSource):
        def walk(self, positions, seed):
            for position in positions:
                yield position, photo(position)

    for world in (1, 2, 3):
        shares = []
        for rank in range(world):
            dataset = UnpairedPhotos(
                {"unmasked": Recorder(), "masked": Recorder()}, 32, 0, rank=rank, world=world, batch_size=2
            )
            shares.append([list(itertools.islice(dataset.positions(worker, 2), 6)) for worker in range(2)])
        seen = sorted(itertools.chain.from_iterable(itertools.chain.from_iterable(shares)))
        assert seen == list(range(12 * world))


def test_processes_together_see_what_one_would(domains):
    whole = batches(domains, 4, batch_size=2)
    ranks = [batches(domains, 4, batch_size=1, rank=rank, world=2) for rank in range(2)]
    for number, batch in enumerate(whole):
        for name in batch:
            together = torch.cat([rank[number][name] for rank in ranks])
            assert torch.equal(together, batch[name])


@pytest.mark.parametrize("size", [(64, 64), (300, 120), (50, 200), (16, 16)])
@pytest.mark.parametrize("load_scale", [1.0, 286 / 256, 2.0])
def test_augment(size, load_scale):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    crop = augment(Image.fromarray(noise), 32, np.random.default_rng(1), load_scale)
    assert (crop.shape, crop.dtype) == ((3, 32, 32), torch.float32)
    assert -1 <= crop.min() < crop.max() <= 1
    assert torch.equal(crop, augment(Image.fromarray(noise), 32, np.random.default_rng(1), load_scale))


def test_augment_moves_and_mirrors():
    ramp = Image.fromarray(np.arange(64, dtype=np.uint8).repeat(3).reshape(1, 64, 3).repeat(64, 0) * 4)
    rng = np.random.default_rng(0)
    crops = [augment(ramp, 32, rng) for _ in range(60)]
    mirrored = sum(bool(crop[0, 0, 0] > crop[0, 0, -1]) for crop in crops)
    assert 15 < mirrored < 45
    assert len({float(crop[0, 0, 0]) for crop in crops}) > 5
    assert all(crop[:, 0].equal(crop[:, -1]) for crop in crops)  # never turned


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stop_ends_the_batches(domains, workers):
    assert_same(batches(domains, 9, workers, stop=12), batches(domains, 3))
    assert_same(batches(domains, 9, workers, start=4, stop=10), batches(domains, 3)[1:])
