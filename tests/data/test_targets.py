"""Where a data set is built besides folders: the (loopback) Hub, on a busy day, with few commits, and with kills."""

import os
import random
import time

import pytest
from crash_disk import visible
from forked import Forked
from hub_photos import data_set_files
from huggingface_hub import HfApi

from maskhub.data import targets
from maskhub.data.masked import Wearing
from maskhub.data.shards import build_dataset
from maskhub.errors import ConfigError

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
