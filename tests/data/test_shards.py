"""Paired shards: the same rows whatever the processes, kills and places; and the way to the Hub and back."""

import csv
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from maskhub import ConfigError
from maskhub.data.masked import Wearing
from maskhub.data.shards import build_dataset


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    """Ten heads of 128 pixels, one without a face, with metadata."""
    root = tmp_path_factory.mktemp("source") / "in"
    root.mkdir()
    head = astronaut.crop((120, 20, 330, 230)).resize((128, 128), Image.Resampling.LANCZOS)
    for number in range(10):
        suffix = "jpg" if number % 2 else "png"
        head.point([min(255, int(v * (0.8 + 0.03 * number))) for v in range(256)] * 3).save(root / f"{number}.{suffix}")
    Image.new("RGB", (90, 90)).save(root / "blank.png")
    lines = [f"{path.name},{n},{n / 2},x{n}" for n, path in enumerate(sorted(root.iterdir()))]
    (root / "metadata.csv").write_text("file_name,age,size,style\n" + "\n".join(lines) + "\n")
    return root


def rows_of(folder):
    """All rows by file name, pictures undecoded."""
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    rows = load_dataset("parquet", data_dir=str(folder / "data"), split="train")
    for name in ("unmasked", "masked", "region"):
        rows = rows.cast_column(name, ImageFeature(decode=False))
    return {row["file_name"]: row for row in rows}


def picture(cell):
    return np.asarray(Image.open(io.BytesIO(cell["bytes"])))


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    return out, build_dataset(folder, out, Wearing(seed=1), shard_size=4, workers=1, progress=False)


def test_rows(folder, built):
    out, report = built
    assert report.last
    assert report.made == 10
    assert [name for name, _ in report.failures] == ["blank.png"]
    assert [row["file_name"] for row in csv.DictReader((out / "failures.csv").open())] == ["blank.png"]
    assert len(list((out / "data").iterdir())) == 3
    rows = rows_of(out)
    assert sorted(rows) == sorted(path.name for path in folder.glob("[0-9].*"))
    for name, row in rows.items():
        before, after, region = (picture(row[key]) for key in ("unmasked", "masked", "region"))
        assert np.array_equal(before, np.asarray(Image.open(folder / name)))
        assert before.shape == after.shape == (*region.shape, 3)
        assert np.array_equal(before[region == 0], after[region == 0])
        assert (region == 255).mean() > 0.03
        assert len(row["boxes"]) == len(row["style"]) == len(row["worn"]) == len(row["pose"]) == 1
        assert np.shape(row["landmarks"]) == (1, 478, 3)
        assert isinstance(row["age"], int) and isinstance(row["size"], float) and row["style_"].startswith("x")


def test_two_ranks_make_the_rows_of_one(folder, built, tmp_path):
    for rank in (1, 0):
        report = build_dataset(folder, tmp_path, Wearing(seed=1), shard_size=2, rank=rank, world=2, progress=False)
        assert report.last == (rank == 0)
    assert rows_of(tmp_path) == rows_of(built[0])
    assert (tmp_path / "failures.csv").read_bytes() == (built[0] / "failures.csv").read_bytes()


SCRIPT = """
import sys
from maskhub.data.masked import Wearing
from maskhub.data.shards import build_dataset
if __name__ == "__main__":
    build_dataset(sys.argv[1], sys.argv[2], Wearing(seed=1), shard_size=4, workers=1, progress=False)
"""


def test_killed_and_begun_again(folder, built, tmp_path):
    (tmp_path / "go.py").write_text(SCRIPT)
    out = tmp_path / "out"
    command = [sys.executable, str(tmp_path / "go.py"), str(folder), str(out)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()})
    first = out / "data" / "train-0000-000000.parquet"
    end = time.monotonic() + 60
    while time.monotonic() < end and not first.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = len(list((out / "data").glob("train-*")))
    before = first.stat().st_mtime_ns
    report = build_dataset(folder, out, Wearing(seed=1), shard_size=4, progress=False)
    assert report.made + report.kept == 10
    assert report.kept >= 4 and there >= 1
    assert first.stat().st_mtime_ns == before
    names = sorted(path.name for path in (built[0] / "data").iterdir())
    assert sorted(path.name for path in (out / "data").iterdir()) == names
    for name in names:
        assert (out / "data" / name).read_bytes() == (built[0] / "data" / name).read_bytes()
    assert (out / "failures.csv").read_bytes() == (built[0] / "failures.csv").read_bytes()


def test_crops(folder, tmp_path):
    build_dataset(folder, tmp_path, Wearing(seed=1), crops=64, progress=False)
    rows = rows_of(tmp_path)
    assert len(rows) == 10
    for row in rows.values():
        before, after, region = (picture(row[key]) for key in ("unmasked", "masked", "region"))
        assert before.shape == after.shape == (64, 64, 3)
        assert np.array_equal(before[region == 0], after[region == 0])
        assert row["face"] == 0
        points = np.array(row["landmarks"][0])
        assert 0.2 * 64 < points[[33, 263], 1].mean() < 0.45 * 64  # the eyes, at about 32 % of the height
        assert abs(row["pose"][0][2]) < 10


def test_options_are_held_to(folder, built, tmp_path):
    with pytest.raises(ConfigError, match="another seed"):
        build_dataset(folder, built[0], Wearing(seed=2), shard_size=4, progress=False)
    with pytest.raises(ConfigError, match="rank is 2 of 2"):
        build_dataset(folder, tmp_path, rank=2, world=2)
    with pytest.raises(ConfigError, match="crops' side"):
        build_dataset(folder, tmp_path, crops=8)
    with pytest.raises(ConfigError, match="shard size"):
        build_dataset(folder, tmp_path, shard_size=0)


def test_to_the_hub_and_back(folder, tmp_path, hub_user):
    from datasets import load_dataset

    from maskhub.hub import push_folder

    build_dataset(folder, tmp_path, Wearing(seed=1), shard_size=6, crops=64, progress=False)
    push_folder(tmp_path, hub_user.repo("pairs"), repo_type="dataset")
    rows = list(load_dataset(hub_user.repo("pairs"), split="train", streaming=True))
    assert len(rows) == 10
    assert rows[0]["masked"].size == (64, 64)
    assert rows[0]["region"].mode == "L"
    assert rows[0]["style"][0] in ("surgical", "kn95", "cup", "cloth", "patterned", "neoprene")
    card = (tmp_path / "README.md").read_text()
    assert "10 rows of aligned crops of 64 pixels" in card
    assert str(folder) not in card

    # the pairs are a source themselves
    out = tmp_path / "again"
    report = build_dataset(hub_user.repo("pairs") + "#unmasked", out, Wearing(seed=1), progress=False)
    assert report.made == 10
    assert next(iter(rows_of(out).values()))["style_"]
