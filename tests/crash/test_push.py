"""Every request of a push is a point where the line may break; pushed again, everything is there once."""

import re
from pathlib import Path

import pytest
from hub_server import Fault
from huggingface_hub import HfApi, hf_hub_download

from maskhub.errors import HubError
from maskhub.hub import push_folder

FAULTS = {"busy": {"status": 503}, "too many requests": {"status": 429}, "broken line": {"cut_after": 0}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pairs" / "data").mkdir(parents=True)
    (tmp_path / "pairs" / "README.md").write_text("# THIS_REPOSITORY")
    for number in range(2):
        (tmp_path / "pairs" / "data" / f"{number}.parquet").write_bytes(bytes([number]) * 5000)
    return tmp_path / "pairs"


def state(repo):
    """The files of a repository and their contents, and its commits."""
    api = HfApi()
    if not api.repo_exists(repo, repo_type="dataset"):
        return {}, []
    names = [name for name in api.list_repo_files(repo, repo_type="dataset") if name != ".gitattributes"]
    files = {name: Path(hf_hub_download(repo, name, repo_type="dataset")).read_bytes() for name in names}
    return files, [commit.title for commit in api.list_repo_commits(repo, repo_type="dataset")]


@pytest.mark.parametrize("kind", FAULTS)
def test_every_request(folder, hub_user, hub, monkeypatch, no_waiting, kind):
    asked, fault_from = [], None
    real = hub.take_fault

    def take_fault(method, path):
        asked.append((method, path))
        if fault_from is not None and len(asked) > fault_from:
            options = {"status": None, "headers": {}, "cut_after": None, "corrupt": False, "hang": 0} | FAULTS[kind]
            return Fault(method, re.compile(""), 1, **options)
        return real(method, path)

    monkeypatch.setattr(hub, "take_fault", take_fault)
    push_folder(folder, hub_user.repo("whole"), repo_type="dataset")
    requests = len(asked)
    whole = state(hub_user.repo("whole"))[0]
    assert sorted(whole) == ["README.md", "data/0.parquet", "data/1.parquet"] and requests >= 4
    for number in range(requests):
        repo = hub_user.repo(f"{kind.replace(' ', '-')}{number}")
        for name in ("0", "1"):  # contents that the Hub does not have yet
            (folder / "data" / f"{name}.parquet").write_bytes(f"{kind} {number} {name}".encode() * 500)
        asked.clear()
        fault_from = number
        with pytest.raises(HubError):
            push_folder(folder, repo, repo_type="dataset")
        fault_from = None
        files, _ = state(repo)
        assert files == {}  # nobody loads half of it
        push_folder(folder, repo, repo_type="dataset")
        files, commits = state(repo)
        assert files == {
            "README.md": f"# {repo}".encode(),
            "data/0.parquet": (folder / "data" / "0.parquet").read_bytes(),
            "data/1.parquet": (folder / "data" / "1.parquet").read_bytes(),
        }
        assert commits.count("Upload with maskhub") == 1
