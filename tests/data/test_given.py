"""Pairs that someone else made: folders with the same names, columns of one dataset; and samples of two steps."""

import numpy as np
import pytest
import torch
from PIL import Image

from maskhub import SourceError
from maskhub.data.given import GivenPairs
from maskhub.data.positions import endless_batches
from maskhub.data.shards import build_dataset
from maskhub.data.sources import open_source
from maskhub.data.two_step import WornAndMasked, distance_from, finished


@pytest.fixture
def twins(tmp_path):
    """Two folders: what is in ``masked`` is the negative of ``unmasked``."""
    rng = np.random.default_rng(0)
    for name in ("unmasked", "masked"):
        (tmp_path / name).mkdir()
    for number in range(5):
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "unmasked" / f"{number}.png")
        Image.fromarray(255 - pixels).save(tmp_path / "masked" / f"{number}.png")
    return tmp_path


def sources(folder):
    return open_source(str(folder / "unmasked")), open_source(str(folder / "masked"))


def take(dataset, count):
    return [sample for sample, _ in zip(dataset, range(count), strict=False)]


def test_pairs_stay_pairs_through_cut_and_mirror(twins):
    samples = take(GivenPairs(*sources(twins), 32, seed=0), 12)
    for sample in samples:
        assert sample["unmasked"].shape == (3, 32, 32)
        assert torch.allclose(sample["unmasked"], -sample["masked"], atol=0.02)  # scaling rounds
    later = take(GivenPairs(*sources(twins), 32, seed=0, start=4), 3)
    assert all(torch.equal(a[key], b[key]) for a, b in zip(later, samples[4:], strict=False) for key in a)


def test_a_face_without_its_pair_is_named(twins):
    (twins / "masked" / "3.png").unlink()
    with pytest.raises(SourceError, match="have no pair: 3"):
        GivenPairs(*sources(twins), 32, seed=0)


def test_a_folder_and_a_dataset_are_no_pairs(twins):
    with pytest.raises(SourceError, match="can't be paired"):
        GivenPairs(sources(twins)[0], open_source("builtin:pixel-faces"), 32, seed=0)


def test_a_built_dataset_trains_from_its_columns(astronaut, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in "ab":
        astronaut.crop((120, 20, 330, 230)).save(tmp_path / "photos" / f"{name}.png")
    build_dataset(str(tmp_path / "photos"), tmp_path / "built")
    columns = [open_source(f"{tmp_path / 'built'}#{name}") for name in ("unmasked", "masked")]
    sample = take(GivenPairs(*columns, 64, seed=0, load_scale=1.0), 1)[0]
    same = (sample["unmasked"] == sample["masked"]).all(0)
    assert same[:20].all() and 0.05 < (~same).float().mean() < 0.6  # the forehead is bare
    with pytest.raises(SourceError, match="image column"):
        open_source(str(tmp_path / "built"))
    with pytest.raises(SourceError, match="holds no parquet shard"):
        open_source(f"{tmp_path / 'photos'}#masked")


def test_distance_from_a_region():
    region = np.zeros((10, 10), np.float32)
    region[:, 0] = 1
    assert np.allclose(distance_from(region)[4], np.arange(10) / 10)
    assert (distance_from(np.zeros((4, 4), np.float32)) == 1).all()


def test_two_steps_wear_and_stay_unpaired(astronaut, twins):
    (twins / "faces").mkdir()
    astronaut.crop((120, 20, 330, 230)).save(twins / "faces" / "a.png")
    data = WornAndMasked(open_source(str(twins / "faces")), sources(twins)[1], 48, seed=1, batch_size=2, distance=True)
    batch = finished(next(endless_batches(data)))
    first, second = ({name: pictures[place] for name, pictures in batch.items()} for place in range(2))
    assert {name: tuple(x.shape) for name, x in first.items()} == {
        "unmasked": (3, 48, 48), "worn": (3, 48, 48), "region": (1, 48, 48), "distance": (1, 48, 48),
        "masked": (3, 48, 48),
    }  # fmt: skip
    outside = (first["region"] == 0).expand(3, -1, -1)
    assert torch.equal(first["worn"][outside], first["unmasked"][outside])
    assert (first["distance"][first["region"] >= 0.5] == 0).all()
    assert not torch.equal(first["masked"], second["masked"])


def test_pairs_stay_pairs_where_one_photo_is_missing_or_broken_or_held_out(twins):
    """In a folder and in columns, whose names and thus held-out photos differ."""
    from datasets import Dataset, Features
    from datasets import Image as Picture

    files = [[(twins / name / f"{n}.png").read_bytes() for n in range(5)] for name in ("unmasked", "masked")]
    rows = {
        name: [{"bytes": data, "path": f"{name}-{n}.png"} for n, data in enumerate(photos * 6)]
        for name, photos in zip(("unmasked", "masked"), files, strict=True)
    }
    rows["unmasked"][3] = rows["masked"][11] = None
    rows["masked"][17] = {"bytes": b"no picture", "path": "masked-17.png"}
    (twins / "rows").mkdir()
    Dataset.from_dict(rows, Features(dict.fromkeys(rows, Picture(decode=False)))).to_parquet(twins / "rows/a.parquet")
    (twins / "masked" / "2.png").write_bytes(b"no picture")
    columns = [open_source(f"{twins / 'rows'}#{name}", holdout=True) for name in rows]
    for pair in (columns, sources(twins)):
        with pytest.warns(UserWarning, match="left out"):
            samples = take(GivenPairs(*pair, 40, seed=0, load_scale=1.0), 40)
        assert all(torch.allclose(sample["unmasked"], -sample["masked"], atol=0.02) for sample in samples)
