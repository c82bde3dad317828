"""Where a data set is built besides folders: the (loopback) Hub, on a busy day, with few commits, and with kills."""

import os
import random
import time
import warnings
from pathlib import Path

import fsspec
import pytest
from crash_disk import visible
from forked import Forked
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hub_photos import data_set_files
from huggingface_hub import HfApi

from maskhub.cards import THIS_REPOSITORY
from maskhub.data import targets
from maskhub.data.masked import Wearing
from maskhub.data.shard_file import read_note
from maskhub.data.shards import build_dataset
from maskhub.errors import ConfigError, HubError, WriteError
from maskhub.files import write_file

OPTIONS = {"crops": 32, "shard_size": 1, "progress": False, "rank": 0}


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    """Five faces of 72 pixels and a photo without one."""
    from PIL import Image

    root = tmp_path_factory.mktemp("source") / "in"
    root.mkdir()
    head = astronaut.crop((120, 20, 330, 230)).resize((72, 72), Image.Resampling.LANCZOS)
    for number in range(5):
        head.point([min(255, int(v * (0.8 + 0.05 * number))) for v in range(256)] * 3).save(root / f"{number}.png")
    Image.new("RGB", (90, 90)).save(root / "blank.png")
    return root


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    """The same data set in a folder: name → bytes."""
    out = tmp_path_factory.mktemp("built")
    build_dataset(folder, out, Wearing(seed=1), **OPTIONS)
    return visible(out)


def test_a_build_on_the_hub(folder, built, hub_user):
    repo = hub_user.repo("pairs")
    report = build_dataset(folder, f"hf://datasets/{repo}", Wearing(seed=1), private=True, **OPTIONS)
    assert (report.made, report.missing) == (5, 0) and report.url.endswith(repo)
    assert data_set_files(repo) == built
    assert HfApi().dataset_info(repo).private
    titles = [commit.title for commit in HfApi().list_repo_commits(repo, repo_type="dataset")]
    assert titles[:2] == ["Card and totals", "Add 6 shards"]  # all at once
    with pytest.raises(ConfigError, match="a different seed"):
        build_dataset(folder, f"hf://datasets/{repo}", Wearing(seed=2), **OPTIONS)


def test_the_list_of_files_is_all_that_another_machine_needs(folder, built, hub_user):
    repo = hub_user.repo("again")
    build_dataset(folder, f"hf://datasets/{repo}", Wearing(seed=1), **OPTIONS)
    lost = sorted(name for name in built if name.startswith("data/"))[2]
    for name in (lost, "README.md", "failures.csv"):
        HfApi().delete_file(name, repo, repo_type="dataset")
    report = build_dataset(folder, f"hf://datasets/{repo}", Wearing(seed=1), **OPTIONS)
    assert (report.made, report.kept) == (1, 4)
    assert data_set_files(repo) == built


def test_many_shards_are_in_sub_folders(folder, built, hub_user, monkeypatch):
    from datasets import load_dataset

    from maskhub.data import plan

    monkeypatch.setattr(plan, "IN_A_FOLDER", 4)
    repo = hub_user.repo("many")
    build_dataset(folder, f"hf://datasets/{repo}", Wearing(seed=1), **OPTIONS)
    shards = sorted(name for name in data_set_files(repo) if name.startswith("data/"))
    assert [name[:9] for name in shards] == ["data/000/"] * 4 + ["data/001/"] * 2
    assert len(list(load_dataset(repo, split="train", streaming=True))) == 5
    assert build_dataset(folder, f"hf://datasets/{repo}", Wearing(seed=1), **OPTIONS).kept == 5


@pytest.mark.parametrize("status", [409, 412, 429, 503])
def test_a_busy_hub_and_commits_of_others(folder, built, hub_user, hub, no_waiting, monkeypatch, status):
    monkeypatch.setattr(targets, "BATCH_SECONDS", 0.0)
    monkeypatch.setattr(targets, "COMMITS_AN_HOUR", 1e9)  # a commit for each shard
    repo = hub_user.repo(f"busy{status}")
    hub.fault("POST", r"/commit/", times=8, status=status)
    build_dataset(folder, f"hf://datasets/{repo}", Wearing(seed=1), **OPTIONS)
    assert data_set_files(repo) == built
    assert len(HfApi().list_repo_commits(repo, repo_type="dataset")) == 8


def test_a_folder_is_pushed_as_it_is_made(folder, built, hub_user, tmp_path):
    repo = hub_user.repo("both")
    build_dataset(folder, tmp_path, Wearing(seed=1), **OPTIONS)  # first without a push
    report = build_dataset(folder, tmp_path, Wearing(seed=1), push_to_hub=repo, **OPTIONS)
    assert report.kept == 5 and report.url
    assert data_set_files(repo) == built
    with pytest.raises(ConfigError, match="is not a folder: leave out push_to_hub"):
        build_dataset(folder, f"hf://datasets/{repo}", push_to_hub=repo, **OPTIONS)


@pytest.fixture(params=["folder", "store", "hub"])
def target(request, tmp_path):
    """An empty target of each kind."""
    if request.param == "hub":
        return targets.open_target(f"hf://datasets/{request.getfixturevalue('hub_user').repo('texts')}")
    if request.param == "store":
        request.getfixturevalue("bucket")
    return targets.open_target({"folder": tmp_path / "pairs", "store": "bucket://pairs/faces"}[request.param])


def test_texts_that_were_edited_or_made_by_others_stay_as_they_are(target):
    def content():
        return {name: target.read(name) for name in ("README.md", "failures.csv")}

    card = f"the card of {THIS_REPOSITORY}"
    target.write({"failures.csv": "mine"})
    assert target.replace({"README.md": card, "failures.csv": None}) == [f"{target}/failures.csv"]
    assert content() == {"README.md": target.stored(card), "failures.csv": b"mine"}
    target.write({"failures.csv": None})
    for failures in ("one", "two", None):  # which a build wrote are replaced and deleted
        assert target.replace({"README.md": card, "failures.csv": failures}) == []
        assert content() == {"README.md": target.stored(card), "failures.csv": failures and failures.encode()}
    target.write({"README.md": "edited"})
    assert target.replace({"README.md": card, "failures.csv": "one"}) == [f"{target}/README.md"]
    assert content() == {"README.md": b"edited", "failures.csv": b"one"}
    target.write({".maskhub/texts.json": '{"README.md": 5, "failures.csv": null}'})  # damaged: it knows none
    assert target.replace({"README.md": card}) == [f"{target}/README.md"]
    target.write({"README.md": card})  # the same as a build would write
    assert target.replace({"README.md": card, "failures.csv": "one"}) == []
    assert target.replace({"README.md": "another", "failures.csv": "one"}) == []
    assert target.replace({"README.md": "a third"}) == []
    target.write({"README.md": card})  # which a build wrote long ago, and somebody put back
    assert target.replace({"README.md": "a fourth"}) == [f"{target}/README.md"]


def test_a_build_that_is_cut_off_knows_its_texts(tmp_path, monkeypatch):
    target = targets.open_target(tmp_path)
    target.replace({"README.md": "old"})

    def cut_off(path, content):
        if path.name == "README.md":
            raise KeyboardInterrupt
        write_file(path, content)

    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(targets, "write_file", cut_off)
        target.replace({"README.md": "new"})
    assert target.read("README.md") == b"old"
    assert target.replace({"README.md": "newer"}) == []
    assert target.read("README.md") == b"newer"


def test_an_edited_card_is_kept_and_pushed(folder, built, hub_user, tmp_path):
    repo, card = hub_user.repo("edited"), tmp_path / "README.md"
    build_dataset(folder, tmp_path, Wearing(seed=1), **OPTIONS)
    edited = card.read_text().replace("Nobody wore them.", "Nobody wore them, said Ä.")
    card.write_text(edited)
    with pytest.warns(UserWarning, match=r"README\.md was not written by .*, or was edited since: it stays as it is\."):
        build_dataset(folder, tmp_path, Wearing(seed=1), push_to_hub=repo, **OPTIONS)
    assert card.read_text() == edited != built["README.md"].decode()
    assert data_set_files(repo) == built | {"README.md": edited.encode()}
    card.write_text("")
    with pytest.warns(UserWarning, match="it stays as it is"):
        build_dataset(folder, tmp_path, Wearing(seed=1), push_to_hub=repo, **OPTIONS)
    assert data_set_files(repo) == built | {"README.md": edited.encode()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        card.unlink()
        build_dataset(folder, tmp_path, Wearing(seed=1), **OPTIONS)
    assert card.read_bytes() == built["README.md"]


def test_a_note_that_the_hub_does_not_send_is_not_taken_for_damage(folder, hub_user, hub, no_waiting):
    repo = hub_user.repo("unread")
    build_dataset(folder, f"hf://datasets/{repo}", Wearing(seed=1), **OPTIONS)
    target = targets.open_target(f"hf://datasets/{repo}")
    name = next(iter(target.shards()))
    hub.fault("*", r"/resolve/", times=50, status=500)
    with pytest.raises(HubError, match="failed"):
        read_note(name, file=target.open(name))


class LostError(Exception):
    """An error of a store's client that is no ``OSError``, as those of botocore."""


class Bucket(MemoryFileSystem):
    """An object store: its files are in buckets. fsspec's own store in memory, with what s3fs adds."""

    protocol, cachable = "bucket", False
    store, pseudo_dirs = {}, [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("bucket://", "memory://"))

    def split_path(self, path):
        return path.split("/", 1)

    def put_file(self, path, to, **options):
        self.pipe_file(to, Path(path).read_bytes())


@pytest.fixture
def bucket(monkeypatch):
    """A store with the one bucket ``pairs``."""
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    monkeypatch.setattr(Bucket, "store", {})
    monkeypatch.setattr(Bucket, "pseudo_dirs", ["", "/pairs"])


def lose(method, calls=0):
    """A method that after some calls finds no connection."""
    left = [calls]

    def lost(self, *arguments, **options):
        if not left[0]:
            raise LostError("no route\nto the host.")
        left[0] -= 1
        return method(self, *arguments, **options)

    return lost


@pytest.mark.parametrize("address", ["bucket://typo/a", "bucket://typo", "bucket://", "bucket:///", "s3://"])
def test_a_store_without_its_bucket_is_refused_and_none_is_made(folder, bucket, address):
    with pytest.raises(ConfigError, match=r"there is no bucket typo\. Create it first|names no folder"):
        build_dataset(folder, address, **OPTIONS)
    assert (Bucket.store, Bucket.pseudo_dirs) == ({}, ["", "/pairs"])


@pytest.mark.parametrize("method", ["info", "find", "put_file", "pipe_file", "exists", "open", "cat_file"])
def test_any_error_of_a_store_is_one_line(bucket, monkeypatch, method, tmp_path):
    monkeypatch.setattr(Bucket, method, lose(getattr(Bucket, method)))
    target = targets.open_target("bucket://pairs/faces")
    with pytest.raises(WriteError, match=r"^bucket://pairs/faces.* could not be .*: no route\. Check .* again\.$"):
        target.prepare()
        target.shards()
        with target.place("data/a.parquet") as path:
            path.write_text("a")
        target.write({"README.md": "card", "failures.csv": None})
        target.read("README.md")
        target.open("data/a.parquet")


def test_a_lost_connection_is_not_taken_for_damage(folder, built, bucket, monkeypatch):
    build_dataset(folder, "bucket://pairs", Wearing(seed=1), **OPTIONS)
    target = targets.open_target("bucket://pairs")
    name = next(iter(target.shards()))
    file = target.open(name)
    monkeypatch.setattr(type(file._file), "readinto", lose(None), raising=False)
    with pytest.raises(WriteError, match="no route"):
        read_note(name, file=file)


def test_a_store_that_is_lost_in_the_middle(folder, built, bucket, monkeypatch):
    with monkeypatch.context() as down:
        down.setattr(Bucket, "put_file", lose(Bucket.put_file, calls=3))
        with pytest.raises(WriteError, match="no route"):
            build_dataset(folder, "bucket://pairs/a", Wearing(seed=1), **OPTIONS)
    assert build_dataset(folder, "bucket://pairs/a", Wearing(seed=1), **OPTIONS).kept == 3
    found = {name.removeprefix("/pairs/a/"): file.getvalue() for name, file in Bucket.store.items()}
    assert {name: content for name, content in found.items() if name[0] != "."} == built


def test_a_shard_that_is_half_written_to_a_store_with_folders_does_not_count(tmp_path, monkeypatch):
    target = targets.open_target(f"local://{tmp_path}/pairs")

    def half(self, path, to, **options):
        Path(to).write_bytes(Path(path).read_bytes()[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt), target.place("data/a.parquet") as path:
        killed.setattr(LocalFileSystem, "put_file", half)
        path.write_text("whole")
    assert any((tmp_path / "pairs/data").iterdir()) and target.shards() == {}
    with target.place("data/a.parquet") as path:
        path.write_text("whole")
    assert target.shards() == {"data/a.parquet": 5}


SCRIPT = """
import sys
from maskhub.data import targets
from maskhub.data.masked import Wearing
from maskhub.data.shards import build_dataset
targets.BATCH_SECONDS, targets.COMMITS_AN_HOUR = 0.1, 1e9
build_dataset(sys.argv[1], sys.argv[2], Wearing(seed=1), crops=32, shard_size=1, progress=False)
"""


@pytest.mark.slow
def test_twenty_kills_at_random_moments(folder, built, hub_user, tmp_path):
    """No run knows more than what is on the Hub, and none has a rank."""
    (tmp_path / "go.py").write_text(SCRIPT)
    repo, moments, kills, finished, partial = hub_user.repo("killed"), random.Random(0), 0, 0, 0
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    def run(target):
        return Forked(tmp_path / "go.py", folder, target, output=tmp_path / "log", environment=environment)

    for _ in range(2):  # the first one waits for imports
        start = time.monotonic()
        assert run(tmp_path / f"whole{start}").wait() == 0
        usual = time.monotonic() - start
    while kills < 20:
        process = run(f"hf://datasets/{repo}")
        time.sleep(moments.uniform(0.2, 1.5) * usual)
        kills += process.poll() is None
        process.kill()
        process.wait()
        found = data_set_files(repo) if HfApi().repo_exists(repo, repo_type="dataset") else {}
        shards = {name: data for name, data in found.items() if name.startswith("data/")}
        assert shards.items() <= built.items()  # each is whole, and the right one
        partial += 0 < len(shards) < 6
        if "README.md" in found:
            assert found == built
            finished += 1
            HfApi().delete_repo(repo, repo_type="dataset")
    assert run(f"hf://datasets/{repo}").wait() == 0
    assert data_set_files(repo) == built
    print(f"{kills} kills, {partial} left a part, {finished} data sets finished in between")
    assert partial
