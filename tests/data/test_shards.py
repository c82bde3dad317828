"""Paired shards: the same bytes whatever the processes, kills and places; and the way to the Hub and back."""

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from crash_disk import visible
from PIL import Image

from maskhub import ConfigError
from maskhub.data.masked import Wearing
from maskhub.data.shards import build_dataset
from maskhub.errors import SourceError


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
    assert report.missing == 0
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


def test_ranks_share_the_units_and_take_over_what_is_lost(folder, built, tmp_path, monkeypatch):
    from maskhub.data import schedule

    monkeypatch.setattr(schedule, "POLL", 0.0)
    monkeypatch.setattr(schedule, "PATIENCE", 0.0)
    whole = visible(built[0])
    shards = [name for name in whole if name.startswith("data/")]

    class Lost(Exception):  # noqa: N818
        pass

    def lose(self):
        raise Lost

    with monkeypatch.context() as patch, pytest.raises(Lost):
        patch.setattr(schedule.Schedule, "wait", lose)
        build_dataset(folder, tmp_path, Wearing(seed=1), shard_size=4, rank=1, world=2, progress=False)
    assert [name in visible(tmp_path) for name in shards] == [False, True, True]  # the second half
    report = build_dataset(folder, tmp_path, Wearing(seed=1), shard_size=4, rank=1, world=2, progress=False)
    assert (report.made, report.kept, report.missing) == (4, 6, 0)  # rank 0 never came
    assert visible(tmp_path) == whole


def test_processes_count_what_they_make_and_the_whole(folder, tmp_path, monkeypatch):
    from maskhub.data import schedule

    monkeypatch.setattr(schedule, "POLL", 0.0)
    wait, words = schedule.Schedule.wait, []

    def build(rank):
        report = build_dataset(folder, tmp_path, Wearing(), crops=32, shard_size=4, rank=rank, world=2, progress=False)
        words.append(report.describe())

    def help_first(self):
        monkeypatch.setattr(schedule.Schedule, "wait", wait)
        build(rank=1)
        return wait(self)

    monkeypatch.setattr(schedule.Schedule, "wait", help_first)
    build(rank=0)
    assert words == [
        "4 made, 6 already there, 1 failed",
        "6 made, 0 already there, 4 made by other processes meanwhile: 10 in all, 1 failed",
    ]


SCRIPT = """
import sys
from maskhub.data.masked import Wearing
from maskhub.data.shards import build_dataset
if __name__ == "__main__":
    build_dataset(sys.argv[1], sys.argv[2], Wearing(seed=1), shard_size=4, workers=1, rank=0, progress=False)
"""


def test_killed_and_begun_again(folder, built, tmp_path):
    (tmp_path / "go.py").write_text(SCRIPT)
    out = tmp_path / "out"
    command = [sys.executable, str(tmp_path / "go.py"), str(folder), str(out)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()})
    first = out / sorted(name for name in visible(built[0]) if name.startswith("data/"))[0]
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
    assert visible(out) == visible(built[0])


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


@pytest.fixture
def divided(folder, tmp_path):
    """Three photos of a folder ``train``, two of ``val``."""
    for split, names in (("train", ("0.png", "2.png", "4.png")), ("val", ("6.png", "8.png"))):
        (tmp_path / "in" / split).mkdir(parents=True)
        for name in names:
            shutil.copy(folder / name, tmp_path / "in" / split / name)
    return tmp_path / "in"


def test_splits_are_kept(divided, tmp_path):
    from datasets import load_dataset

    from maskhub.data.sources import open_source

    out = tmp_path / "out"
    assert build_dataset(divided, out, Wearing(seed=1), crops=32, shard_size=2, progress=False).made == 5
    assert [path.name.split("-")[0] for path in sorted((out / "data").iterdir())] == ["train", "train", "validation"]
    wanted = {"train": ["train/0.png", "train/2.png", "train/4.png"], "validation": ["val/6.png", "val/8.png"]}
    for loaded in (load_dataset(str(out)), load_dataset("parquet", data_dir=str(out / "data"))):
        assert {split: sorted(rows["file_name"]) for split, rows in loaded.items()} == wanted
    for spec, count in ((f"{out}#masked", 3), (f"{out}:validation#masked", 2)):
        source = open_source(spec)
        assert sum(source.count(unit) for unit in source.whole_files) == count
    with pytest.raises(SourceError, match="test"):
        open_source(f"{out}:test#masked")
    assert build_dataset(divided, out, Wearing(seed=1), crops=32, shard_size=2, progress=False).kept == 5


@pytest.mark.parametrize("names", [("test",), ("test", "val")])
def test_without_a_split_train_the_only_one_is_read(divided, tmp_path, names):
    from maskhub.data.sources import open_source

    out, many = tmp_path / "out", len(names) > 1
    (divided / "train").rename(divided / "test")
    if not many:
        shutil.rmtree(divided / "val")
    build_dataset(divided, out, Wearing(seed=1), crops=32, progress=False)
    for spec, found in ((f"{out}#masked", f"{out}:test#masked"), (f"{out}:#masked", f"{out}:test#masked")):
        if many:
            said = (
                rf"has the splits (test, validation|validation, test): name one, as in {out}/?:(test|validation)#masked"
            )
            with pytest.raises(SourceError, match=said):
                open_source(spec)
        else:
            source = open_source(spec)
            assert (source.spec, sum(map(source.count, source.whole_files))) == (found, 3)
    assert open_source(f"{out}:test#masked").split == "test"
    for ending in (":", "#", ":test", "#masked"):
        with pytest.raises(SourceError, match=r"holds no parquet shard, so it has no .*: give the folder alone"):
            open_source(f"{divided}{ending}")


def test_photos_beside_the_splits_are_said(divided, tmp_path):
    shutil.copy(divided / "val" / "6.png", divided / "x.png")
    with pytest.warns(UserWarning, match=r"x\.png is in no split's folder, but train/0\.png is: all go into .* train"):
        build_dataset(divided, tmp_path / "out", Wearing(seed=1), crops=32, progress=False)
    assert [path.name.split("-")[0] for path in (tmp_path / "out" / "data").iterdir()] == ["train"]


def test_a_split_of_the_hub_keeps_its_name(folder, tmp_path, hub_user):
    from datasets import load_dataset
    from hub_photos import push_parquet

    data = [{"bytes": (folder / f"{n}.png").read_bytes(), "path": f"{n}.png"} for n in (0, 2)]
    push_parquet(tmp_path, hub_user.repo("faces"), data, shards=1, split="test")
    build_dataset(hub_user.repo("faces"), tmp_path / "out", Wearing(seed=1), crops=32, progress=False)
    assert len(load_dataset(str(tmp_path / "out"), split="test")) == 2
    assert 'split="test", streaming=True' in (tmp_path / "out" / "README.md").read_text()


def test_options_are_held_to(folder, built, tmp_path):
    with pytest.raises(ConfigError, match="a different seed"):
        build_dataset(folder, built[0], Wearing(seed=2), shard_size=4, progress=False)
    with pytest.raises(ConfigError, match="rank is 2 of 2"):
        build_dataset(folder, tmp_path, rank=2, world=2)
    with pytest.raises(ConfigError, match="--crops is 8; it must be from 32 to 2048"):
        build_dataset(folder, tmp_path, crops=8)
    with pytest.raises(ConfigError, match="--shard-size is 0"):
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


def test_other_photos_are_refused(folder, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(folder, source)
    build_dataset(source, out, Wearing(seed=1), crops=32, shard_size=4, progress=False)
    before = {path.name: path.read_bytes() for path in (out / "data").iterdir()}
    shutil.copy(source / "1.jpg", source / "00.jpg")  # a photo that is added moves all rows
    with pytest.raises(ConfigError, match="holds a data set made from other photos"):
        build_dataset(source, out, Wearing(seed=1), crops=32, shard_size=4, progress=False)
    (source / "00.jpg").unlink()
    shutil.copy(source / "3.jpg", source / "1.jpg")  # the same name, another photo
    with pytest.raises(ConfigError, match="holds a data set made from other photos"):
        build_dataset(source, out, Wearing(seed=1), crops=32, shard_size=4, progress=False)
    data = bytearray((folder / "1.jpg").read_bytes())
    data[-10] ^= 1
    (source / "1.jpg").write_bytes(data)  # even the same size
    with pytest.raises(ConfigError, match=r"train-000000-.*\.parquet was made from other photos"):
        build_dataset(source, out, Wearing(seed=1), crops=32, shard_size=4, progress=False)
    assert {path.name: path.read_bytes() for path in (out / "data").iterdir()} == before
    shutil.copy(folder / "1.jpg", source / "1.jpg")
    assert build_dataset(source, out, Wearing(seed=1), crops=32, shard_size=4, progress=False).kept == 10


def test_a_streamed_source_that_shrank_or_grew_is_refused(folder, tmp_path, hub_user):
    from hub_photos import push_parquet, row

    repo = hub_user.repo("faces")
    data = [{"bytes": (folder / f"{n}.png").read_bytes(), "path": f"{n}.png"} for n in (0, 2, 4, 6)]
    push_parquet(tmp_path, repo, data[:3], shards=1)
    build_dataset(repo, tmp_path / "out", Wearing(seed=1), crops=32, progress=False)
    assert build_dataset(repo, tmp_path / "out", Wearing(seed=1), crops=32, progress=False).kept == 3
    for rows in (data, data[:2], [row(1), *data[:3]]):
        push_parquet(tmp_path, repo, rows, shards=1)
        with pytest.raises(ConfigError, match="holds a data set made from other photos"):
            build_dataset(repo, tmp_path / "out", Wearing(seed=1), crops=32, progress=False)


def test_a_flipped_byte_is_found(folder, tmp_path):
    from maskhub.data.sources import open_source

    out = tmp_path / "out"
    build_dataset(folder, out, Wearing(seed=1), crops=32, progress=False)
    path = next((out / "data").iterdir())
    whole = path.read_bytes()
    good = [photo.tobytes() for _, photo in open_source(f"{out}#masked").walk(range(10), 0)]
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    rng = np.random.default_rng(0)
    for place in [5, pages - 1, *rng.integers(0, pages, 12)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"is (damaged|no shard)"):
            build_dataset(folder, out, Wearing(seed=1), crops=32, progress=False)
        try:  # training never gets another picture: it gets the right ones, or an error
            assert [photo.tobytes() for _, photo in open_source(f"{out}#masked").walk(range(10), 0)] == good
        except SourceError as error:
            assert "damaged" in str(error) or "failed" in str(error)
    path.unlink()
    build_dataset(folder, out, Wearing(seed=1), crops=32, progress=False)
    assert path.read_bytes() == whole


def test_a_build_is_not_continued_by_a_maskhub_that_draws_otherwise(folder, built, monkeypatch):
    from maskhub.data import plan

    before = visible(built[0])
    monkeypatch.setattr(plan, "RESULTS_OF", "2031-01-01")
    with pytest.raises(ConfigError, match=r"data set made by another version of maskhub .* this one \(2031-01-01\)"):
        build_dataset(folder, built[0], Wearing(seed=1), shard_size=4, progress=False)
    assert visible(built[0]) == before


def test_row_groups_are_bounded_by_bytes_and_pages_are_indexed(tmp_path, monkeypatch):
    import pyarrow.parquet as pq
    from datasets import Features, Value
    from datasets import Image as ImageFeature

    from maskhub.data import shard_file

    monkeypatch.setattr(shard_file, "GROUP_BYTES", 100_000)
    sizes = [1_000] * 30 + [60_000] * 3 + [250_000] + [1_000] * 5
    noise = np.random.default_rng(0)
    features = Features({"image": ImageFeature(), "age": Value("int64")})
    with shard_file.open_shard(tmp_path / "a.parquet", features) as shard:
        shard.add([{"image": {"bytes": noise.bytes(size), "path": "a.png"}, "age": n} for n, size in enumerate(sizes)])
    file = pq.ParquetFile(tmp_path / "a.parquet")
    groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [31, 1, 1, 1, 5]
    columns = [group.column(n) for group in groups for n in range(group.num_columns)]
    assert all(column.has_offset_index for column in columns)
    assert file.read().column("age").to_pylist() == list(range(len(sizes)))
    assert shard_file.read_note(tmp_path / "a.parquet", features)["rows"] == len(sizes)


def test_a_changed_row_leaves_most_of_the_file_as_it_was(tmp_path):
    from datasets import Features, Value

    from maskhub.data.shard_file import open_shard

    features, noise = Features({"data": Value("binary"), "age": Value("int64")}), np.random.default_rng(0)
    rows = [{"data": noise.integers(0, 16, 20_000, np.uint8).tobytes(), "age": n} for n in range(300)]
    for name, kept in (("a", rows), ("b", rows[:40] + rows[41:])):
        with open_shard(tmp_path / f"{name}.parquet", features) as shard:
            shard.add(kept)
    a, b = ((tmp_path / f"{name}.parquet").read_bytes() for name in "ab")
    assert a[2_000_000:2_004_096] in b


@pytest.mark.parametrize("target", ["file", "memory", "local"])
def test_other_stores(folder, built, tmp_path, target):
    import fsspec

    address = f"memory://{tmp_path.name}" if target == "memory" else f"{target}://{tmp_path}/out"
    report = build_dataset(folder, address, Wearing(seed=1), shard_size=4, progress=False)
    assert report.made == 10
    system, base = fsspec.core.url_to_fs(address)
    found = {path.removeprefix(f"{base}/"): system.cat_file(path) for path in system.find(base)}
    assert {name: content for name, content in found.items() if name[0] != "."} == visible(built[0])
    assert build_dataset(folder, address, Wearing(seed=1), shard_size=4, progress=False).kept == 10
    with pytest.raises(ConfigError, match="a different seed"):
        build_dataset(folder, address, Wearing(seed=2), shard_size=4, progress=False)


@pytest.mark.parametrize("target", ["hf://models/a/b", "hf://datasets/a", "nonsense://a/b"])
def test_targets_that_name_nothing(folder, target):
    with pytest.raises(ConfigError, match="target"):
        build_dataset(folder, target, progress=False)
