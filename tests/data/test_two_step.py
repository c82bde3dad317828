"""Samples of the two-step method: walked by position, moved alike."""

import numpy as np
import pytest
import torch

from maskhub.data.sources import open_source
from maskhub.data.two_step import WornAndMasked, distance_from, moved_alike, recoloured_alike

R = 48


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    for number in range(3):
        astronaut.crop((120, 20, 330, 230)).rotate(number * 8 - 8).resize((128, 128)).save(root / f"{number}.png")
    return str(root)


def samples(folder, count, **options):
    data = iter(WornAndMasked(open_source(folder), open_source(folder), R, 3, **options))
    return [next(data) for _ in range(count)]


def same(a, b):
    # OpenCV's distances differ in the last bit from call to call
    return len(a) == len(b) and all(torch.allclose(x[k], y[k], atol=1e-6) for x, y in zip(a, b, strict=True) for k in x)


def test_moved_samples_are_walked_by_position(folder):
    plain, moved = samples(folder, 6), samples(folder, 6, moved=0.5)
    kept = [torch.equal(a["worn"], b["worn"]) for a, b in zip(plain, moved, strict=True)]
    assert 0 < sum(kept) < 6
    assert same(samples(folder, 2, start=4, moved=0.5), moved[4:])
    assert same(samples(folder, 3, rank=1, world=2, moved=0.5), moved[1::2])


def test_all_pictures_of_a_sample_are_moved_alike():
    plane = torch.linspace(-1, 1, R).expand(1, R, R)
    pictures = {"unmasked": plane.repeat(3, 1, 1), "region": (plane + 1) / 2}
    moved = moved_alike(pictures, np.random.default_rng(0))
    assert {name: picture.shape for name, picture in moved.items()} == {
        name: picture.shape for name, picture in pictures.items()
    }
    assert torch.allclose((moved["unmasked"][:1] + 1) / 2, moved["region"], atol=1e-6)
    assert not torch.allclose(moved["unmasked"], pictures["unmasked"], atol=0.02)
    assert moved["unmasked"].min() >= -1
    assert moved["unmasked"].max() <= 1


def test_recoloured_samples_are_walked_by_position(folder):
    plain, changed = samples(folder, 6), samples(folder, 6, recoloured=0.5)
    for name in ("worn", "masked"):
        kept = [torch.equal(a[name], b[name]) for a, b in zip(plain, changed, strict=True)]
        assert 0 < sum(kept) < 6
    assert all(torch.equal(a["region"], b["region"]) for a, b in zip(plain, changed, strict=True))
    assert same(samples(folder, 2, start=4, recoloured=0.5), changed[4:])


def test_a_face_is_recoloured_with_and_without_its_mask_alike(folder):
    for sample in samples(folder, 4, recoloured=1.0):
        outside = (sample["region"] == 0).expand(3, R, R)
        assert outside.any()
        assert torch.equal(sample["unmasked"][outside], sample["worn"][outside])


def test_recolouring_stays_in_range_and_keeps_the_order():
    ramp = torch.linspace(-1, 1, R).expand(3, R, R)
    rng = np.random.default_rng(0)
    made = [recoloured_alike({"unmasked": ramp}, rng)["unmasked"] for _ in range(20)]
    assert all(x.abs().max() <= 1 and (x.diff(dim=2) >= 0).all() for x in made)
    brightness = torch.stack([x.mean() for x in made])
    assert brightness.std() > 0.05
    assert max((x[0] - x[2]).abs().mean() for x in made) > 0.01


def test_distances_do_not_depend_on_where_the_memory_lies():
    """OpenCV's differ in the last bit with the alignment, and a resumed run would not end with the same bits."""
    region = torch.zeros(1, 64, 64)
    region[0, 20:50, 15:45] = 1
    rng, found = np.random.default_rng(0), set()
    for _ in range(200):
        kept = [np.empty(rng.integers(1, 5000), np.uint8) for _ in range(3)]  # moves the next arrays about
        found.add(distance_from(region.clone()).numpy().tobytes())
        del kept
    assert len(found) == 1
    distance = distance_from(region)[0]
    assert distance[35, 30] == 0 and distance[35, 14] == 1 / 64
    assert distance[16, 11].item() == pytest.approx(32**0.5 / 64, abs=1e-7)
