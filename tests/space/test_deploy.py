"""Deploying the Space to the loopback Hub."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
import yaml
from app_process import PATIENCE, ROOT
from huggingface_hub import HfApi, hf_hub_download

from maskhub.errors import ConfigError


def deploy(*args, **settings):
    environment = os.environ | {"MASKHUB_WEB_DIST": "none"} | settings
    how = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": PATIENCE}
    return subprocess.run([sys.executable, "space/deploy.py", *args], **how)


def test_a_space_is_made_and_brought_up_to_date(hub, hub_user, tmp_path):
    repo = hub_user.repo("masks")
    done = deploy(repo, "--private")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"deployed to {hub.url}/spaces/{repo}"

    api = HfApi()
    info = api.repo_info(repo, repo_type="space")
    assert info.private
    names = api.list_repo_files(repo, repo_type="space")
    wanted = {"app.py", "requirements.txt", "README.md", "maskhub/__init__.py", "space/examples/astronaut.jpg"}
    assert wanted < set(names)
    assert not [name for name in names if "__pycache__" in name or name == "space/README.md"]
    for name in ("README.md", "maskhub/faces/weights/face_detection_yunet_2023mar.onnx"):
        fetched = hf_hub_download(repo, name, repo_type="space", cache_dir=tmp_path)
        here = (ROOT / ("space/README.md" if name == "README.md" else name)).read_bytes()
        with open(fetched, "rb") as file:
            assert file.read() == here.replace(b"THIS_REPOSITORY", repo.encode())

    api.upload_file(path_or_fileobj=b"old", path_in_repo="space/old.py", repo_id=repo, repo_type="space")
    api.upload_file(path_or_fileobj=b"kept", path_in_repo="notes.txt", repo_id=repo, repo_type="space")
    assert deploy(repo).returncode == 0
    names = api.list_repo_files(repo, repo_type="space")
    assert "space/old.py" not in names and "notes.txt" in names


def test_a_static_space_gets_the_site_alone(hub, hub_user, tmp_path, monkeypatch):
    from space import deploy as module

    monkeypatch.setenv("MASKHUB_WEB_DIST", str(tmp_path))
    repo = hub_user.repo("site")
    with pytest.raises(ConfigError, match="npm run build"):
        module.deploy(repo, static=True)
    for name in ("index.html", "README.md", "models/new.onnx.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    module.deploy(repo, static=True)
    api = HfApi()
    api.upload_file(path_or_fileobj=b"old", path_in_repo="models/old.onnx.gz", repo_id=repo, repo_type="space")
    module.deploy(repo, static=True)
    names = set(api.list_repo_files(repo, repo_type="space")) - {".gitattributes"}
    assert names == {"index.html", "README.md", "models/new.onnx.gz"}
    app = module.files()
    assert {"web/dist/index.html", "web/dist/models/new.onnx.gz"} < set(app)
    assert app["README.md"] == ROOT / "space" / "README.md"


def test_the_card_of_the_static_space_asks_for_isolation():
    front = yaml.safe_load((ROOT / "web" / "space.md").read_text(encoding="utf-8").split("---")[1])
    assert front["sdk"] == "static" and front["app_file"] == "index.html"
    headers = front["custom_headers"]
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert len(front["short_description"]) <= 60


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["not an id"], "a repository id looks like user/name"),
        (["user/name", "--token", "hf_wrong"], "does not know this token"),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(hub, hub_user, args, words):
    done = deploy(*args)
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_a_read_token_is_told_so(hub, hub_user):
    done = deploy(hub_user.repo("masks"), HF_TOKEN=hub_user.read_token)
    assert done.returncode == 2 and "write access" in done.stderr


def test_the_card_is_what_a_space_needs():
    front = yaml.safe_load((ROOT / "space" / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py" and front["license"] == "apache-2.0"
    assert front["sdk_version"].split(".")[:2] == version("gradio").split(".")[:2]
    assert len(front["short_description"]) <= 60
    assert {front["colorFrom"], front["colorTo"]} < {
        "red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray",
    }  # fmt: skip
