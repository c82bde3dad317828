"""To the Hub and back over real HTTP: pipelines, networks, cards and runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from forked import ROOT, Forked
from hub_photos import push_parquet, row
from hub_pipelines import CARD, FILES, assert_same_weights, message_of, nudged, weights
from huggingface_hub import HfApi, ModelCard, constants

from maskhub import FaceMaskPipeline, ResnetGenerator
from maskhub.errors import CheckpointError, ConfigError
from maskhub.hub import THIS_REPOSITORY, push_folder, save_pipeline
from maskhub.training.card import training_card
from maskhub.training.cyclegan import CycleGAN, CycleGANOptions
from maskhub.training.launch import launch
from maskhub.training.schedule import Timeline


def test_a_pushed_pipeline_loads_bit_equal(folder, tiny_pipeline, hub_user, load, astronaut):
    repo = hub_user.repo("masks")
    assert push_folder(folder, repo).endswith(repo)
    assert {*HfApi().list_repo_files(repo)} == FILES
    loaded = load(repo)
    assert loaded.config.resolution == 64
    assert_same_weights(loaded, tiny_pipeline)
    for direction in ("mask", "unmask"):
        there, here = (pipe(astronaut, direction, force=True) for pipe in (loaded, tiny_pipeline))
        assert np.array_equal(there, here)
        assert not np.array_equal(there, astronaut)


ANYWHERE = """
import sys
from diffusers import DiffusionPipeline
from maskhub import ResnetGenerator
try:
    DiffusionPipeline.from_pretrained(sys.argv[1])
except ValueError as error:
    assert "trust_remote_code=True" in str(error), error
pipe = DiffusionPipeline.from_pretrained(sys.argv[1], trust_remote_code=True)
one = ResnetGenerator.from_pretrained(sys.argv[1], subfolder="unmasker")
assert all((a == b).all() for a, b in zip(one.parameters(), pipe.unmasker.parameters()))
pipe.save_pretrained(sys.argv[2])
"""


@pytest.mark.parametrize("saved_by", ["this maskhub", pytest.param("an earlier one", marks=pytest.mark.slow)])
def test_a_pushed_pipeline_loads_through_diffusers(folder, tiny_pipeline, hub_user, load, tmp_path, saved_by):
    if saved_by == "an earlier one":
        for path in (folder / "pipeline.py", *folder.glob("*/maskhub.py")):
            path.unlink()
        index = (folder / "model_index.json").read_text()
        index = json.dumps({**json.loads(index), "_class_name": "FaceMaskPipeline"})
        (folder / "model_index.json").write_text(index)
    push_folder(folder, hub_user.repo("masks"))
    home = {"HF_HOME": str(tmp_path / "home"), "HF_MODULES_CACHE": str(tmp_path / "home" / "modules")}
    command = [sys.executable, "-c", ANYWHERE, hub_user.repo("masks"), str(tmp_path / "again")]
    done = subprocess.run(command, env=os.environ | home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = FaceMaskPipeline.from_pretrained(tmp_path / "again")
    assert again.config.resolution == 64
    assert_same_weights(again, tiny_pipeline)
    assert_same_weights(load(hub_user.repo("masks")), tiny_pipeline)


def test_downloaded_code_is_not_run(folder, tiny_pipeline, hub_user, load, tmp_path):
    for path in (folder / "pipeline.py", *folder.glob("*/maskhub.py")):
        path.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for loaded in (FaceMaskPipeline.from_pretrained(folder), load(push(folder, hub_user.repo("hostile")))):
        assert_same_weights(loaded, tiny_pipeline)
    assert not (tmp_path / "ran").exists()


def push(folder, repo):
    push_folder(folder, repo)
    return repo


def test_the_card_names_the_repository_only_on_the_hub(folder, hub_user):
    push_folder(folder, hub_user.repo("masks"))
    assert f"# {hub_user.repo('masks')}" in ModelCard.load(hub_user.repo("masks")).text
    assert (folder / "README.md").read_text() == CARD


def test_the_half_precision_variant(folder, tiny_pipeline, hub_user, hub, load):
    push_folder(folder, hub_user.repo("masks"))
    del hub.log[:]
    half = load(hub_user.repo("masks"), variant="fp16", dtype=torch.float16)
    read = [path for method, path, _ in hub.log if method == "GET" and path.endswith(".safetensors")]
    assert len(read) == 2 and all(path.endswith(".fp16.safetensors") for path in read)
    for small, full in zip(weights(half), weights(tiny_pipeline), strict=True):
        assert small.dtype == torch.float16
        assert torch.equal(small, full.half())


def test_where_there_is_only_the_half_precision_variant(tiny_pipeline, hub_user, load, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path, variant="fp16")
    push_folder(tmp_path, hub_user.repo("small"))
    loaded = load(hub_user.repo("small"))
    for found, full in zip(weights(loaded), weights(tiny_pipeline), strict=True):
        assert found.dtype == torch.float32
        assert torch.allclose(found, full.float(), atol=1e-3)


def test_revisions(folder, tiny_pipeline, hub_user, load, tmp_path):
    repo, api = hub_user.repo("masks"), HfApi()
    push_folder(folder, repo)
    first = api.model_info(repo).sha
    api.create_tag(repo, tag="v1")
    newer = nudged(type(tiny_pipeline).from_pretrained(folder))
    save_pipeline(newer, tmp_path / "newer")
    push_folder(tmp_path / "newer", repo, message="Longer training")
    push_folder(folder, repo, revision="old-but-good")
    assert_same_weights(load(repo), newer)
    for revision in (first, "v1", "old-but-good"):
        assert_same_weights(load(repo, revision=revision), tiny_pipeline)
    assert [commit.title for commit in api.list_repo_commits(repo)][:2] == ["Longer training", "Upload with maskhub"]
    with pytest.raises(CheckpointError):
        load(repo, revision="v2")


def test_one_network_by_id(folder, tiny_pipeline, hub_user, load):
    push_folder(folder, hub_user.repo("masks"))
    unmasker = load(hub_user.repo("masks"), ResnetGenerator, subfolder="unmasker")
    for name, tensor in unmasker.state_dict().items():
        assert torch.equal(tensor, tiny_pipeline.unmasker.state_dict()[name])


@pytest.mark.parametrize("which", ["pipeline", "network"])
def test_the_clients_own_push_to_hub(tiny_pipeline, hub_user, load, which):
    repo = hub_user.repo(which)
    if which == "pipeline":
        tiny_pipeline.push_to_hub(repo)
        assert_same_weights(load(repo), tiny_pipeline)
    else:
        tiny_pipeline.masker.push_to_hub(repo)
        loaded = load(repo, ResnetGenerator)
        assert torch.equal(loaded.tail[0].weight, tiny_pipeline.masker.tail[0].weight)
    suffixes = {Path(name).suffix for name in HfApi().list_repo_files(repo)}
    assert suffixes == {".json", ".safetensors", ".md", *([".py"] if which == "pipeline" else [])}
    assert ModelCard.load(repo).data.library_name == "diffusers"
    pushed = tiny_pipeline if which == "pipeline" else tiny_pipeline.masker
    assert "does not know this token" in message_of(pushed.push_to_hub, repo, token="hf_wrong")
    assert "write access" in message_of(pushed.push_to_hub, "somebody/masks")
    assert "safetensors only" in message_of(pushed.push_to_hub, repo, safe_serialization=False, error=ConfigError)


def test_folders_of_other_kinds(hub_user, tmp_path):
    for name in ("app.py", "README.md", ".env", "maskhub/x.py", "maskhub/__pycache__/x.pyc"):
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {THIS_REPOSITORY}")
    for kind, sdk in (("space", "gradio"), ("dataset", None)):
        push_folder(tmp_path / "app", hub_user.repo(kind), repo_type=kind, space_sdk=sdk)
        assert {*HfApi().list_repo_files(hub_user.repo(kind), repo_type=kind)} == {
            "app.py",
            "README.md",
            "maskhub/x.py",
        }


def test_a_private_repository_stays_private(folder, hub_user, load, monkeypatch):
    push_folder(folder, hub_user.repo("secret"), private=True)
    load(hub_user.repo("secret"))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError):
        load(hub_user.repo("secret"))


# ---- the card of a run ----------------------------------------------------------------------------------------------


@pytest.fixture
def finished_run():
    options = CycleGANOptions(
        unmasked="~/me/secret/portraits/", masked="alice/masked:train", output="out", seed=7, generator_width=4
    )

    def describe(named):
        yield "masker: ResnetGenerator, 11,378,179 parameters"
        yield f"unmasked: {named(options.unmasked)}, 1,700 photos"
        yield f"masked: {named(options.masked)}, streamed"

    return SimpleNamespace(
        options=options, task=CycleGAN(options), step=1000, seconds=5400, timeline=Timeline(options),
        accelerator=SimpleNamespace(num_processes=2), describe=describe,
    )  # fmt: skip


def test_the_card_of_a_run(finished_run, folder, hub_user):
    card = training_card(finished_run)
    assert card.front["trained_on"][0] == "unmasked: portraits, 1,700 photos"
    text = card.render()
    assert "1,000 steps so far, 2,000 samples, 1.50 hours, seed 7" in text
    assert "| `seed` | `7` |" in text
    assert "secret" not in text and "- unmasked: portraits, 1,700 photos" in text
    (folder / "README.md").write_text(text)
    push_folder(folder, hub_user.repo("masks"))
    card = ModelCard.load(hub_user.repo("masks"))
    card.validate()
    assert (card.data.library_name, card.data.pipeline_tag, card.data.license) == (
        "maskhub",
        "image-to-image",
        "other",
    )
    assert card.data.license_name and card.data.license_link.endswith(f"/{hub_user.repo('masks')}#licence")
    assert {"maskhub", "diffusers", "cyclegan"} <= {*card.data.tags}
    assert "pip install 'maskhub[torch]'" in card.text
    for code in re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)[1:]:  # the first one needs a photo
        exec(code, loaded := {})
        assert any(isinstance(value, (FaceMaskPipeline, ResnetGenerator)) for value in loaded.values())
    assert card.data.datasets == ["alice/masked"]
    assert f'from_pretrained("{hub_user.repo("masks")}")' in card.text
    assert THIS_REPOSITORY not in card.content


# ---- a training run that streams and pushes -------------------------------------------------------------------------


def test_a_card_that_is_not_utf_8_is_one_line(folder, hub_user):
    (folder / "README.md").write_bytes("# Straße".encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"README\.md can't be uploaded, since it is not UTF-8"):
        push_folder(folder, hub_user.repo("masks"))


def test_a_run_streams_from_the_hub_and_pushes_to_it(hub_user, load, tmp_path):
    for domain, first in (("unmasked", 0), ("masked", 12)):
        push_parquet(tmp_path, hub_user.repo(domain), [row(first + number) for number in range(7)], shards=2)
    options = "--resolution 32 --generator-width 8 --blocks 1 --discriminator-width 8 --discriminator-layers 1"
    options += f" --max-steps 3 --batch-size 2 --seed 5 --unmasked {hub_user.repo('unmasked')}:train"
    options += f" --masked {hub_user.repo('masked')}#image"

    def all_options(workers):
        own = f" --workers {workers} --output {tmp_path}/run{workers} --push-to-hub {hub_user.repo(f'run{workers}')}"
        return (options + own).split()

    script = ROOT / "train_scripts" / "train_cyclegan.py"
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    run = Forked(script, *all_options(workers=1), output=tmp_path / "output.txt", environment=environment)
    launch(CycleGAN, "", all_options(workers=0))
    output = run.communicate(timeout=120)[0]
    assert run.returncode == 0 and "Traceback" not in output, output
    assert f"pushed to {constants.ENDPOINT}/{hub_user.repo('run1')}" in output
    pipelines = [load(hub_user.repo(f"run{workers}")) for workers in (0, 1)]
    assert_same_weights(*pipelines)
    assert_same_weights(pipelines[0], FaceMaskPipeline.from_pretrained(tmp_path / "run0" / "pipeline"))
    assert [*ModelCard.load(hub_user.repo("run0")).data.datasets] == [
        hub_user.repo("masked"),
        hub_user.repo("unmasked"),
    ]
