"""Where training photos come from: a folder, or a dataset streamed from the (loopback) Hub."""

import itertools
import json
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_photos import photo, push_parquet, row

from maskhub.data.sources import FolderSource, HubSource, is_held_out, open_source
from maskhub.errors import SourceError

COUNT = 23
"""Photos of each dataset here: prime, so that passes and blocks never end together."""


def numbers(source, positions, seed=0):
    return [(position, round(np.asarray(image)[0, 0, 0] / 10)) for position, image in source.walk(positions, seed)]


@pytest.fixture
def parquet(hub_user, tmp_path):
    push_parquet(tmp_path, hub_user.repo("faces"), [row(number) for number in range(COUNT)])
    return hub_user.repo("faces")


# ---- the held-out tenth ---------------------------------------------------------------------------------------------


def test_held_out_by_the_hash_of_the_name():
    names = [f"{number:06d}.jpg" for number in range(1, 51)]
    held_out = ["000013.jpg", "000017.jpg", "000019.jpg", "000030.jpg", "000035.jpg", "000038.jpg"]
    assert [name for name in names if is_held_out(name)] == [*held_out, "000046.jpg", "000050.jpg"]


def test_held_out_ignores_folders_and_takes_a_tenth():
    assert is_held_out("a/b/x.png") == is_held_out("x.png") == is_held_out("c\\x.png")
    share = np.mean([is_held_out(f"{number}.jpg") for number in range(5000)])
    assert 0.09 < share < 0.11


# ---- folders --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for number in range(COUNT):
        path = tmp_path / "faces" / ("a" if number % 2 else "b") / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(path)
    (tmp_path / "faces" / ".hidden").mkdir()
    photo(0).save(tmp_path / "faces" / ".hidden" / "x.png")
    (tmp_path / "faces" / "notes.txt").write_text("no photo")
    return tmp_path / "faces"


def test_a_folder_is_walked_whole_each_pass_in_another_order(folder):
    source = open_source(str(folder))
    assert source.size == COUNT
    seen = [number for _, number in numbers(source, range(3 * COUNT))]
    passes = [seen[start : start + COUNT] for start in range(0, 3 * COUNT, COUNT)]
    assert all(sorted(one) == list(range(COUNT)) for one in passes)
    assert passes[0] != passes[1] != passes[2]
    assert numbers(source, range(COUNT), seed=1) != numbers(source, range(COUNT))


def test_a_folder_is_walked_from_anywhere(folder):
    source = FolderSource(folder)
    whole = numbers(source, range(60))
    assert numbers(source, range(31, 60)) == whole[31:]
    assert numbers(source, range(2, 60, 7)) == whole[2::7]


def test_a_folder_without_its_held_out_tenth(folder):
    source = FolderSource(folder, holdout=True)
    held_out = {path.name for path in FolderSource(folder).paths} - {path.name for path in source.paths}
    assert held_out == {f"{n:02d}.png" for n in range(COUNT) if is_held_out(f"{n:02d}.png")}
    assert held_out


def test_a_broken_file_is_left_out(folder):
    (folder / "b" / "04.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"left out of training.*04\.png") as caught:
        seen = [number for _, number in numbers(FolderSource(folder), range(3 * COUNT))]
    assert sorted({*seen}) == [n for n in range(COUNT) if n != 4]
    assert len(caught) == 1  # not again in each pass


def test_folders_without_photos(tmp_path):
    with pytest.raises(SourceError, match="holds no photo"):
        open_source(str(tmp_path))
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="can be read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers(open_source(str(tmp_path)), range(1))


@pytest.mark.parametrize("spec", ["", "no/such/folder/here", "missing", "a b/c"])
def test_specs_that_name_nothing(spec):
    with pytest.raises(SourceError, match=r"Hub"):
        open_source(spec)


def test_a_file_is_no_source(folder):
    with pytest.raises(SourceError, match="is a file, not a folder"):
        open_source(str(folder / "notes.txt"))


# ---- the Hub --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [{"image": "x"}, {"image": {"image": "x"}}, {"image": {"_type": "Nonsense"}}, "x"])
def test_a_broken_description_of_the_columns_is_one_line(tmp_path, features):
    schema = pa.schema({"image": pa.binary()}, {"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(pa.table({"image": [b"x"]}, schema), tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(SourceError, match="can't be streamed"):
        open_source(f"{tmp_path}#image")


def test_a_stream_is_walked_whole_each_pass_in_another_order(parquet):
    source = HubSource(parquet, block=8, mixed=2)
    seen = numbers(source, range(3 * COUNT))
    assert [position for position, _ in seen] == list(range(3 * COUNT))
    passes = [[number for _, number in seen[start : start + COUNT]] for start in range(0, 3 * COUNT, COUNT)]
    assert all(sorted(one) == list(range(COUNT)) for one in passes)
    assert passes[0] != passes[1] != passes[2]
    assert numbers(source, range(COUNT), seed=1) != seen[:COUNT]
    assert numbers(HubSource(parquet, block=8, mixed=2), range(3 * COUNT)) == seen


@pytest.mark.parametrize("start", [5, COUNT, COUNT + 7, 3 * COUNT + 2])
@pytest.mark.parametrize("empty", [False, True])  # without empty cells, rows are counted without reading them
def test_a_stream_is_walked_from_anywhere(hub_user, tmp_path, start, empty):
    parquet, rows = hub_user.repo("faces"), [row(number) for number in range(COUNT)]
    push_parquet(tmp_path, parquet, [*rows[:5], *[None] * 3, *rows[5:]] if empty else rows)
    whole = numbers(HubSource(parquet, block=8), range(4 * COUNT))
    late = HubSource(parquet, block=8)
    assert numbers(late, range(start, 4 * COUNT)) == whole[start:]
    assert numbers(late, range(start, 4 * COUNT, 5)) == whole[start::5]  # now that it knows the length of a pass


def test_a_stream_without_its_held_out_tenth(hub_user, tmp_path):
    rows = [row(number) for number in range(25)]
    held_out = {number for number in range(25) if is_held_out(rows[number]["path"])}
    assert held_out
    push_parquet(tmp_path, hub_user.repo("faces"), rows)
    seen = numbers(open_source(hub_user.repo("faces"), holdout=True), range(25 - len(held_out)))
    assert sorted(number for _, number in seen) == sorted(set(range(25)) - held_out)


def test_no_file_names_no_held_out_tenth(hub_user, tmp_path):
    push_parquet(tmp_path, hub_user.repo("nameless"), [{**row(1), "path": None}] * 4, shards=1)
    with pytest.raises(SourceError, match="without --holdout"):
        numbers(open_source(hub_user.repo("nameless"), holdout=True), range(2))


def test_split_revision_and_column_of_a_spec(hub_user, tmp_path):
    repo = hub_user.repo("many")
    first = push_parquet(tmp_path, repo, [row(1)] * 2, shards=1)
    push_parquet(tmp_path, repo, [row(2)] * 2, shards=1, split="test")
    push_parquet(tmp_path, repo, [row(3)] * 2, shards=1, branch="faces", columns=("left", "right"))

    def first_number(spec):
        return numbers(open_source(spec), range(1))[0][1]

    assert first_number(repo) == first_number(f"{repo}:train") == first_number(f"{repo}:train@{first}") == 1
    assert first_number(f"{repo}:test") == 2
    with pytest.raises(SourceError, match=r"Available splits"):
        open_source(f"{repo}:test@{first}")
    with pytest.raises(SourceError, match="no such revision"):
        open_source(f"{repo}@nothing")


def test_columns(hub_user, tmp_path):
    repo = hub_user.repo("two")
    push_parquet(tmp_path, repo, [row(3)] * 2, shards=1, columns=("left", "right"))
    assert numbers(open_source(f"{repo}#right"), range(1)) == [(0, 3)]
    with pytest.raises(SourceError, match=rf"2 image columns \(left, right\): name one, as in {repo}:train#left"):
        open_source(repo)
    with pytest.raises(SourceError, match="no image column 'label'; it has 'left', 'right'"):
        open_source(f"{repo}#label")


def test_an_imagefolder_on_the_hub(hub_user, tmp_path):
    from huggingface_hub import HfApi

    for number in range(5):
        path = tmp_path / "photos" / "train" / f"photo_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(path)
    HfApi().create_repo(hub_user.repo("files"), repo_type="dataset")
    HfApi().upload_folder(repo_id=hub_user.repo("files"), folder_path=tmp_path / "photos", repo_type="dataset")
    source = open_source(hub_user.repo("files"))
    seen = numbers(source, range(12))
    assert sorted(number for _, number in seen[:5]) == list(range(5))
    assert numbers(source, range(7, 12)) == seen[7:]
    without = numbers(open_source(hub_user.repo("files"), holdout=True), range(5))
    assert {number for _, number in without} == {n for n in range(5) if not is_held_out(f"photo_{n}.png")}


def test_datasets_without_photos(hub_user, tmp_path):
    from huggingface_hub import HfApi

    HfApi().create_repo(hub_user.repo("empty"), repo_type="dataset")
    with pytest.raises(SourceError, match="holds no photo"):
        open_source(hub_user.repo("empty"))
    push_parquet(tmp_path, hub_user.repo("numbers"), [row(1)], shards=1, columns=())
    with pytest.raises(SourceError, match="has no image column"):
        open_source(hub_user.repo("numbers"))


def test_a_missing_dataset(hub_user):
    with pytest.raises(SourceError, match=r"no Hub dataset is called .*/nothing, or it is private"):
        open_source(hub_user.repo("nothing"))


def test_a_private_dataset_and_a_wrong_token(hub_user, tmp_path, monkeypatch):
    push_parquet(tmp_path, hub_user.repo("secret"), [row(1)], shards=1, private=True)
    assert numbers(open_source(hub_user.repo("secret")), range(1)) == [(0, 1)]
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SourceError, match="hf auth login"):
        open_source(hub_user.repo("secret"))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(SourceError, match="does not know this token"):
        open_source(hub_user.repo("secret"))


def test_a_broken_image_is_left_out_alike_wherever_the_walk_began(hub_user, tmp_path):
    rows = [row(number) for number in range(10)]
    rows[4]["bytes"] = b"no picture"
    rows.extend({"bytes": b"nor this", "path": f"broken_{n}.png"} for n in range(3))
    push_parquet(tmp_path, hub_user.repo("torn"), rows, shards=2)
    with pytest.warns(UserWarning, match=r"left out of training") as caught:
        whole = numbers(HubSource(hub_user.repo("torn"), block=4), range(2 * len(rows)))
    assert {number for _, number in whole} == set(range(10)) - {4}
    assert any("photo_004.png" in str(warning.message) for warning in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for start in (1, 12, 25):
            assert numbers(HubSource(hub_user.repo("torn"), block=4), range(start, 2 * len(rows))) == whole[start:]


def test_only_broken_images(hub_user, tmp_path):
    push_parquet(tmp_path, hub_user.repo("bad"), [{"bytes": b"x", "path": "x.png"}] * 3, shards=1)
    with pytest.raises(SourceError, match="can be read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        numbers(open_source(hub_user.repo("bad")), range(1))


def test_a_stream_that_breaks_for_good(parquet, hub, no_waiting):
    source = open_source(parquet)
    hub.fault("GET", r"/resolve/.*parquet", times=1000, status=503)
    with pytest.raises(SourceError, match="run the same command again"):
        numbers(source, range(3))


def test_a_stream_that_breaks_once_goes_on(parquet, hub, no_waiting):
    source = open_source(parquet)
    hub.fault("GET", r"/resolve/.*parquet", status=503)
    hub.fault("GET", r"/resolve/.*parquet", cut_after=100)
    assert sorted(number for _, number in numbers(source, range(COUNT))) == list(range(COUNT))


def test_a_stream_pickles(parquet):
    source = open_source(parquet)
    assert numbers(pickle.loads(pickle.dumps(source)), range(COUNT)) == numbers(source, range(COUNT))


def test_a_process_ends_cleanly_in_the_middle_of_a_stream(parquet):
    """Background threads of readers must neither hang nor crash a finishing interpreter."""
    code = (
        "from maskhub.data.sources import open_source\n"
        "from maskhub.data.positions import endless_batches\n"
        "from maskhub.data.unpaired import UnpairedPhotos\n"
        f"source = open_source({parquet!r})\n"
        "photos = UnpairedPhotos({'a': source, 'b': source}, 32, seed=0)\n"
        "batches = [endless_batches(photos, workers=n) for n in (0, 1)]\n"
        "walk = source.walk(range(99), 0)\n"
        "for reader in (walk, *batches):\n"
        "    next(reader)\n"
        "print('done')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": "."}
    )
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
    assert "Error" not in result.stderr and "Exception" not in result.stderr, result.stderr


def test_shares_of_a_stream_are_its_whole(parquet):
    whole = numbers(HubSource(parquet, block=8), range(2 * COUNT))
    shares = [numbers(HubSource(parquet, block=8), range(rank, 2 * COUNT, 3)) for rank in range(3)]
    assert sorted(itertools.chain(*shares)) == whole
