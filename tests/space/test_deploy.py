"""Deploying the Space to the loopback Hub."""

import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from app_process import PATIENCE, ROOT
from forked import Forked
from huggingface_hub import HfApi, hf_hub_download

from maskhub.errors import ConfigError, HubError


def deploy(*args, **settings):
    """Run the script; returns its exit code and what it printed."""
    environment = os.environ | {"MASKHUB_WEB_DIST": "none"} | settings
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output.txt"
        process = Forked(ROOT / "space" / "deploy.py", *args, output=output, environment=environment)
        return process.wait(PATIENCE), process.text()


def test_a_space_is_made_and_brought_up_to_date(hub, hub_user, tmp_path):
    repo = hub_user.repo("masks")
    assert deploy(repo, "--private") == (0, f"deployed to {hub.url}/spaces/{repo}\n")

    api = HfApi()
    info = api.repo_info(repo, repo_type="space")
    assert info.private
    names = api.list_repo_files(repo, repo_type="space")
    wanted = {"app.py", "requirements.txt", "README.md", "maskhub/__init__.py", "space/examples/astronaut.jpg"}
    assert wanted < set(names)
    assert not [name for name in names if "__pycache__" in name or name == "space/README.md"]
    for name in ("README.md", "maskhub/faces/weights/yunet.onnx"):
        fetched = hf_hub_download(repo, name, repo_type="space", cache_dir=tmp_path)
        here = (ROOT / ("space/README.md" if name == "README.md" else name)).read_bytes()
        with open(fetched, "rb") as file:
            assert file.read() == here.replace(b"THIS_REPOSITORY", repo.encode())

    api.upload_file(path_or_fileobj=b"old", path_in_repo="space/old.py", repo_id=repo, repo_type="space")
    api.upload_file(path_or_fileobj=b"kept", path_in_repo="notes.txt", repo_id=repo, repo_type="space")
    assert deploy(repo)[0] == 0
    names = api.list_repo_files(repo, repo_type="space")
    assert "space/old.py" not in names and "notes.txt" in names


@pytest.fixture
def small_app(monkeypatch):
    """Uploads of a few files instead of the whole package."""
    from space import deploy as module

    found = module.files

    def few():
        return {
            name: path for name, path in found().items() if "/" not in name or name.endswith(("zero.py", "demo.py"))
        }

    monkeypatch.setattr(module, "FOLDERS", ("space",))
    monkeypatch.setattr(module, "files", few)
    return module


@pytest.fixture
def poor(hub, hub_user):
    """The user without a paid plan."""
    hub.without_plan.add(hub_user.name)
    yield hub_user
    hub.without_plan.discard(hub_user.name)


def test_zerogpu_is_free_and_gets_its_own_versions(small_app, hub, poor, tmp_path):
    repo = poor.repo("zero")
    small_app.deploy(repo, zero=True)
    assert hub.find("spaces", repo).extra == {"sdk": "gradio", "hardware": "zero-a10g"}

    def fetched(name):
        return Path(hf_hub_download(repo, name, repo_type="space", cache_dir=tmp_path)).read_text(encoding="utf-8")

    front = yaml.safe_load(fetched("README.md").split("---")[1])
    assert (front["python_version"], front["suggested_hardware"]) == ("3.12.12", "zero-a10g")
    requirements = fetched("requirements.txt").splitlines()
    here = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert "torch==2.8.0" in requirements and requirements[-1].startswith("spaces>=")
    same = [[line for line in lines if not line.startswith("torch==")] for lines in (requirements[:-1], here)]
    assert same[0] == same[1]
    assert "import spaces" in fetched("app.py")


def test_what_is_not_free_says_what_is(small_app, hub, poor):
    for options, name in (({}, "cpu-basic"), ({"hardware": "cpu-upgrade"}, "cpu-upgrade")):
        with pytest.raises(HubError) as raised:
            small_app.deploy(poor.repo("paid"), **options)
        text = str(raised.value)
        assert f"on {name} needs a paid plan" in text and "--zero" in text and "--static" in text and "\n" not in text
    assert hub.find("spaces", poor.repo("paid")) is None
    small_app.deploy(poor.repo("moved"), zero=True)
    with pytest.raises(HubError, match="on t4-small needs a paid plan"):  # an existing Space
        small_app.deploy(poor.repo("moved"), hardware="t4-small")


def test_paid_hardware_for_a_new_space_and_for_one_that_is_there(small_app, hub, hub_user):
    repo = hub_user.repo("paid")
    small_app.deploy(repo, hardware="cpu-upgrade")
    assert hub.find("spaces", repo).extra["hardware"] == "cpu-upgrade"
    small_app.deploy(repo, zero=True)
    assert hub.find("spaces", repo).extra["hardware"] == "zero-a10g"
    small_app.deploy(repo)
    assert hub.find("spaces", repo).extra["hardware"] == "zero-a10g"  # stays as it is


def test_a_space_of_someone_else_is_one_line(small_app, hub_user):
    with pytest.raises(HubError, match="this token may not create or change the Space nobody/app") as raised:
        small_app.deploy("nobody/app", zero=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"zero": True, "static": True}, "exclude each other"),
        ({"zero": True, "hardware": "t4-small"}, "exclude each other"),
        ({"hardware": "abacus"}, "--hardware is 'abacus'; it must be one of cpu-basic, cpu-upgrade"),
    ],
)
def test_bad_hardware_is_one_line(small_app, options, words):
    with pytest.raises(ConfigError, match=words):
        small_app.deploy("user/app", **options)


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
    code, said = deploy(*args)
    assert code == 2 and words in said and said.count("\n") == 1


def test_a_read_token_is_told_so(hub, hub_user):
    code, said = deploy(hub_user.repo("masks"), HF_TOKEN=hub_user.read_token)
    assert code == 2 and "write access" in said and said.count("\n") == 1


def test_the_card_is_what_a_space_needs():
    front = yaml.safe_load((ROOT / "space" / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["sdk"] == "gradio" and front["app_file"] == "app.py" and front["license"] == "apache-2.0"
    assert front["sdk_version"].split(".")[:2] == version("gradio").split(".")[:2]
    assert len(front["short_description"]) <= 60
    assert {front["colorFrom"], front["colorTo"]} < {
        "red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray",
    }  # fmt: skip
