"""Pairs on the fly: the contract of positions, the cache, and what the pairs are."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from maskhub.data.face_cache import FaceCache, cache_folder
from maskhub.data.masked import Wearing
from maskhub.data.paired import WornPairs
from maskhub.data.source import PhotoSource
from maskhub.data.sources import open_source
from maskhub.errors import SourceError

R = 48


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    head = astronaut.crop((120, 20, 330, 230))
    for number in range(5):
        head.rotate(number * 10 - 20).resize((128, 128)).save(root / f"{number}.png")
    return root


def pairs(folder, count, **options):
    data = WornPairs(open_source(str(folder)), R, seed=5, **options)
    samples = iter(data)
    return [next(samples) for _ in range(count)]


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x[key], y[key]) for x, y in zip(a, b, strict=True) for key in x)


def test_what_a_pair_is(folder):
    samples = pairs(folder, 6)
    for sample in samples:
        assert {key: tuple(value.shape) for key, value in sample.items()} == {
            "unmasked": (3, R, R),
            "masked": (3, R, R),
            "region": (1, R, R),
        }
        assert all(value.dtype == torch.float32 for value in sample.values())
        assert sample["masked"].min() >= -1 and sample["masked"].max() <= 1
        outside = (sample["region"] == 0).expand(3, R, R)
        assert torch.equal(sample["masked"][outside], sample["unmasked"][outside])
        assert 0.15 < (sample["region"] > 0.5).float().mean() < 0.7
    assert not same(samples[:1], samples[5:])


def test_the_same_from_any_start_and_with_any_cache(folder, tmp_path):
    first = pairs(folder, 8, cache=tmp_path / "a.sqlite")
    assert same(pairs(folder, 8, cache=tmp_path / "a.sqlite"), first)
    assert same(pairs(folder, 3, start=5, cache=tmp_path / "b.sqlite"), first[5:])
    assert len(FaceCache(tmp_path / "a.sqlite")) == 5


def test_ranks_share_the_sequence(folder):
    whole = pairs(folder, 8)
    assert same(pairs(folder, 4, rank=0, world=2), whole[0::2])
    assert same(pairs(folder, 4, rank=1, world=2), whole[1::2])


def test_workers_change_nothing(folder, tmp_path):
    def batches(workers):
        data = WornPairs(open_source(str(folder)), R, seed=5, batch_size=2, cache=tmp_path / f"{workers}.sqlite")
        loader = iter(DataLoader(data, 2, num_workers=workers))
        return [next(loader) for _ in range(3)]

    assert same(batches(2), batches(0))


def test_coarse_faces_have_fewer_pixels(folder):
    def grain(samples):
        return [sample["unmasked"].diff(dim=2).abs().mean().item() for sample in samples]

    plain, coarse = pairs(folder, 6), pairs(folder, 6, coarse=1.0)
    assert sum(grain(coarse)) < 0.8 * sum(grain(plain))
    for sample in coarse:
        outside = (sample["region"] == 0).expand(3, R, R)
        assert torch.equal(sample["masked"][outside], sample["unmasked"][outside])
        assert sample["masked"].shape == (3, R, R)
    assert same(pairs(folder, 2, start=4, coarse=1.0), coarse[4:])


def test_style_and_wrong_wearing(folder):
    right = pairs(folder, 4, wearing=Wearing(style="neoprene"))
    wrong = pairs(folder, 4, wearing=Wearing(style="neoprene", wrongly_worn=1.0))
    assert not same(right, wrong)


def test_where_the_cache_lies(folder, monkeypatch, tmp_path):
    assert cache_folder(open_source(str(folder))) == folder / ".maskhub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(PhotoSource()) == tmp_path / "maskhub"


def test_a_cache_that_cannot_be_used(folder, tmp_path, astronaut):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="can't be used"):
        assert same(pairs(folder, 2, cache=tmp_path / "file" / "x.sqlite"), pairs(folder, 2))
    cache = FaceCache(tmp_path / "c.sqlite")
    pixels = np.asarray(astronaut)
    found = cache.look(pixels)
    again = cache.look(pixels)
    assert np.array_equal(found[1].points, again[1].points) and np.array_equal(found[1].rotation, again[1].rotation)
    assert found[0].box == again[0].box
    assert sqlite3.connect(tmp_path / "c.sqlite").execute("SELECT count(*) FROM faces").fetchone() == (1,)
    cache.remember([(pixels[::-1], (replace(found[0], sides=np.eye(2)), replace(found[1], agreed=True)))])
    kept = cache.look(pixels[::-1])
    assert (
        kept[1].agreed and not again[1].agreed and np.array_equal(kept[0].sides, np.eye(2)) and again[0].sides is None
    )


def test_photos_without_a_face_are_replaced(folder, tmp_path):
    for path in folder.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Image.new("RGB", (64, 64)).save(tmp_path / "blank.png")
    samples = pairs(tmp_path, 6)
    assert all((sample["region"] > 0.5).any() for sample in samples)
    assert same(pairs(tmp_path, 2, start=4), samples[4:])
    for path in tmp_path.glob("[0-9].png"):
        path.unlink()
    with pytest.raises(SourceError, match="no clear face"):
        pairs(tmp_path, 1)
