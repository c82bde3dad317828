"""Samples of the two-step method: walked by position, moved alike."""

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from maskhub.data.positions import endless_batches
from maskhub.data.sources import open_source
from maskhub.data.two_step import WornAndMasked, distance_from, finished, recoloured

R = 48


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    for number in range(3):
        astronaut.crop((120, 20, 330, 230)).rotate(number * 8 - 8).resize((128, 128)).save(root / f"{number}.png")
    return str(root)


def samples(folder, count, **options):
    data = iter(WornAndMasked(open_source(folder), open_source(folder), R, 3, **options))
    made = [finished(default_collate([next(data)])) for _ in range(count)]
    return [{name: picture[0] for name, picture in sample.items()} for sample in made]


def same(a, b):
    # OpenCV's distances differ in the last bit from call to call
    return len(a) == len(b) and all(torch.allclose(x[k], y[k], atol=1e-6) for x, y in zip(a, b, strict=True) for k in x)


def test_moved_samples_are_walked_by_position(folder):
    plain, moved = samples(folder, 6), samples(folder, 6, moved=0.5)
    kept = [torch.equal(a["worn"], b["worn"]) for a, b in zip(plain, moved, strict=True)]
    assert 0 < sum(kept) < 6
    assert same(samples(folder, 2, start=4, moved=0.5), moved[4:])
    assert same(samples(folder, 3, rank=1, world=2, moved=0.5), moved[1::2])


def test_all_pictures_of_a_sample_are_moved_alike(folder):
    plain, moved = samples(folder, 4), samples(folder, 4, moved=1.0)
    for before, after in zip(plain, moved, strict=True):
        assert {name: picture.shape for name, picture in before.items()} == {
            name: picture.shape for name, picture in after.items()
        }
        assert not torch.allclose(before["unmasked"], after["unmasked"], atol=0.02)
        outside = (after["region"] == 0).expand(3, R, R)
        assert torch.equal(after["unmasked"][outside], after["worn"][outside]) and not outside.all()
        assert after["unmasked"].abs().max() <= 1


def test_only_the_first_samples_of_a_batch_have_masked_faces(folder):
    source = open_source(folder)
    whole = WornAndMasked(source, source, R, 3, batch_size=3)
    some = WornAndMasked(source, source, R, 3, batch_size=3, masked_faces=2)
    for all_faces, few, _ in zip(endless_batches(whole), endless_batches(some), range(2), strict=False):
        assert torch.equal(all_faces["masked"][:2], few["masked"]) and len(few["worn"]) == 3
        assert len(finished(few)["masked"]) == 2


def test_repeats_show_the_same_mask_cut_and_mirrored_differently(folder):
    made = samples(folder, 9, repeats=3, coarse=0.0)
    covered = torch.stack([sample["region"].mean() for sample in made]).view(3, 3)
    assert covered.std(1).max() < 0.05 * covered.mean()
    assert not torch.equal(made[0]["worn"], made[1]["worn"]) and not torch.equal(made[1]["worn"], made[2]["worn"])
    assert same(samples(folder, 4, repeats=3, start=5), made[5:])
    assert same(samples(folder, 3, repeats=3, rank=1, world=2), samples(folder, 6, repeats=3, rank=1, world=2)[:3])


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
    ramp = torch.linspace(-1, 1, R).expand(2, 3, R, R)
    made = recoloured(ramp, torch.tensor([[1.4, 1.2, 1.0, 1.3], [0.7, 0.7, 0.8, 0.8]]))
    assert made.abs().max() <= 1 and (made.diff(dim=3) >= 0).all()
    assert made[0].mean() > ramp[0].mean() > made[1].mean()
    assert torch.equal(recoloured(ramp, torch.ones(2, 4)), ramp)


def test_distances_do_not_depend_on_where_the_memory_lies():
    """OpenCV's differ in the last bit with the alignment, and a resumed run would not end with the same bits."""
    region = np.zeros((64, 64), np.float32)
    region[20:50, 15:45] = 1
    rng, found = np.random.default_rng(0), set()
    for _ in range(200):
        kept = [np.empty(rng.integers(1, 5000), np.uint8) for _ in range(3)]  # moves the next arrays about
        found.add(distance_from(region.copy()).tobytes())
        del kept
    assert len(found) == 1
    distance = distance_from(region)
    assert distance[35, 30] == 0 and distance[35, 14] == 1 / 64
    assert distance[16, 11].item() == pytest.approx(32**0.5 / 64, abs=1e-7)
