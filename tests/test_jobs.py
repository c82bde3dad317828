"""The scripts in jobs/: their inline metadata is what uv reads, and they do what they say, on the loopback Hub."""

import re
import runpy
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from maskhub.data.portraits import FOLDER

ROOT = Path(__file__).parents[1]
JOBS = ROOT / "jobs"
BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""The reference implementation's expression for a block of metadata (PEP 723)."""


@pytest.fixture
def run(monkeypatch, tmp_path, capfd):
    """Run a job as ``uv run`` would, in this environment; returns exit code and output."""
    monkeypatch.chdir(tmp_path)

    def call(name, *args):
        monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
        code = 0
        try:
            runpy.run_path(str(JOBS / name), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        return code, "".join(capfd.readouterr())

    return call


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.py")), ids=lambda path: path.name)
def test_the_metadata_is_what_the_project_offers(path):
    (block,) = BLOCK.finditer(path.read_text(encoding="utf-8"))
    lines = block["content"].splitlines()
    metadata = tomllib.loads("\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["requires-python"] == project["requires-python"]
    (needed,) = metadata["dependencies"]
    assert re.fullmatch(r"maskhub\[(\w+)\]", needed)[1] in project["optional-dependencies"]


def test_a_masked_data_set_is_made_and_pushed(run, hub_user, tmp_path):
    (tmp_path / "faces").mkdir()
    for name in ("london_00000.webp", "london_00001.webp"):
        shutil.copy(FOLDER / name, tmp_path / "faces")
    repo = hub_user.repo("masked-faces")
    code, text = run("mask_dataset.py", tmp_path / "faces", repo, "--workers", 0, "--private", "--style", "cloth")
    assert not code and "2 made" in text and "pushed to" in text
    info = HfApi().dataset_info(repo)
    assert info.private and any(file.rfilename.endswith(".parquet") for file in info.siblings)


SMALL = ["reimaging", "--hidden", "16", "--latent", "8", "--discriminator-hidden", "16", "--batch-size", "4"]
SMALL += ["--max-steps", "1", "--sample-every", "0"]


def test_a_method_is_trained_and_pushed(run, hub_user):
    repo = hub_user.repo("trained")
    code, text = run("train.py", *SMALL, "--push-to-hub", repo)
    assert not code and f"/{repo}" in text
    assert HfApi().model_info(repo).siblings


def test_a_result_that_could_not_be_pushed_is_an_error_before_the_first_step(run, hub_user, monkeypatch):
    mine = hub_user.repo("mine")
    HfApi().create_repo(mine)
    for token, repo, words in (
        (hub_user.token, "somebody/masks", "this token has no access to it. Use one with write access"),
        (hub_user.read_token, mine, "this token has no access to it. Use one with write access"),
        ("hf_wrong", mine, "the Hub does not know this token"),
        (hub_user.token, "a/b/c", "a repository id looks like user/name"),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        code, text = run("train.py", *SMALL, "--push-to-hub", repo)
        assert code == 2 and f"error: the upload to {repo} failed: {words}" in text and "wrote" not in text


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("mask_dataset.py", [], "give SOURCE and TARGET"),
        ("mask_dataset.py", ["user/faces"], "give SOURCE and TARGET"),
        ("mask_dataset.py", ["user/faces", "--private"], "give SOURCE and TARGET"),
        ("train.py", [], "the method is ''; it must be one of cyclegan"),
        ("train.py", ["gan"], "the method is 'gan'; it must be one of cyclegan"),
    ],
)
def test_a_missing_argument_is_one_line(run, name, args, words):
    code, _ = run(name, *args)
    assert words in code and "\n" not in code
