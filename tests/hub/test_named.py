"""``maskhub models``: pipelines fetched from the Hub or a folder are loaded by name, without the Hub."""

import json

import numpy as np
import pytest
from hub_pipelines import CARD, assert_same_weights, nudged

from maskhub import FaceMaskPipeline
from maskhub.errors import CheckpointError, ConfigError
from maskhub.evaluation.trained_against import card_folder
from maskhub.hub import push_folder, save_pipeline
from maskhub.pipelines.fetch import models_folder
from maskhub.pipelines.named import named_pipelines
from space import kept, methods


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path / "home"))


@pytest.fixture
def pushed(tiny_pipeline, hub_user, tmp_path):
    save_pipeline(tiny_pipeline, tmp_path / "first", CARD.replace("diffusers", "maskhub\ntrained_on: 20 photos"))
    push_folder(tmp_path / "first", hub_user.repo("masks"))
    return hub_user.repo("masks")


def test_a_fetched_model_is_loaded_by_its_name_without_the_hub(run, pushed, tiny_pipeline, hub, tmp_path):
    code, out, _ = run("models", "fetch", pushed)
    assert code == 0 and f"fetched {pushed} as masks, " in out and "takes masks off, puts masks on, 64 pixels" in out
    del hub.log[:]
    loaded = FaceMaskPipeline.from_pretrained("masks")
    assert_same_weights(loaded, tiny_pipeline)
    assert loaded.model_name == "masks" and not hub.log
    assert (card_folder("masks") / "README.md").is_file()
    with pytest.raises(ConfigError, match="masks is the name of a pipeline on this machine, which has no revisions"):
        FaceMaskPipeline.from_pretrained("masks", revision="v1")
    names = {path.name for path in models_folder().joinpath("masks").rglob("*") if path.is_file()}
    assert "README.md" in names and not any(name.endswith((".py", ".bin")) for name in names)
    listed = run("models", "list")[1].splitlines()
    assert [line.split()[0] for line in listed] == [*(one.name for one in named_pipelines() if one.bundled), "masks"]


def test_a_newer_revision_replaces_the_copy_and_another_model_does_not(run, pushed, tiny_pipeline, tmp_path):
    assert run("models", "fetch", pushed, "--name", "mine")[0] == 0
    save_pipeline(nudged(tiny_pipeline), tmp_path / "second")
    push_folder(tmp_path / "second", pushed)
    assert run("models", "fetch", pushed, "--name", "mine")[0] == 0
    assert_same_weights(FaceMaskPipeline.from_pretrained("mine"), tiny_pipeline)
    code, _, error = run("models", "fetch", tmp_path / "first", "--name", "mine")
    assert code == 2 and "there is already a model 'mine'" in error
    assert_same_weights(FaceMaskPipeline.from_pretrained("mine"), tiny_pipeline)


def test_what_cannot_be_loaded_is_not_fetched(run, tiny_pipeline, tmp_path):
    save_pipeline(tiny_pipeline, tmp_path / "broken")
    weights = tmp_path / "broken" / "masker" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    save_pipeline(tiny_pipeline, tmp_path / "run" / "pipeline")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    for options, words in (
        ([tmp_path / "broken"], "no pipeline could be loaded from"),
        ([tmp_path / "run"], f"it has no model_index.json. Did you mean {tmp_path / 'run' / 'pipeline'}?"),
        ([other], "it has no model_index.json of a pipeline of maskhub."),
        (["nothing"], "`maskhub models list` has no such name"),
        ([tmp_path / "other", "--revision", "v1"], "is a folder, which has no revisions"),
        (
            ["light-256", "--name", "mine", "--revision", "v1"],
            "is the name of a pipeline on this machine, which has no revisions",
        ),
        (["light-256"], "the bundled light-256 has this name"),
        (["light-256", "--name", "a/b"], "a model can't be called 'a/b'"),
    ):
        code, _, error = run("models", "fetch", *options)
        assert code == 2 and words in error and error.count("\n") == 1, error
    assert not models_folder().exists() or not list(models_folder().glob("[!.]*"))


def test_the_compare_tab_shows_fetched_models_once_and_says_which_is_broken(
    run, pushed, astronaut, recwarn, monkeypatch
):
    run("models", "fetch", pushed, "--name", "whole")
    run("models", "fetch", pushed, "--name", "broken")
    monkeypatch.setenv("MASKHUB_COMPARE", f"whole, {models_folder() / 'whole'}")
    for weights in (models_folder() / "broken").rglob("*.safetensors"):
        weights.write_bytes(b"")
    listed = methods.methods(FaceMaskPipeline.bundled())
    shown = {method.name: method for method in listed}
    assert len(listed) == len(shown)
    assert {"light-256", "two-step-256", "whole", "broken"} < set(shown)
    assert shown["whole"].trained_on == "20 photos"
    made = shown["whole"].run(astronaut, "mask")
    assert (np.asarray(made) != np.asarray(astronaut)).any()
    with pytest.raises(Exception, match="it could not be loaded"):
        shown["broken"].run(astronaut, "mask")


def test_the_compare_tab_shows_a_model_as_it_was_last_fetched(run, pushed, tiny_pipeline, astronaut, tmp_path):
    def made():
        (method,) = [one for one in methods.methods(FaceMaskPipeline.bundled()) if one.name == "mine"]
        return np.asarray(method.run(astronaut, "mask")), method.trained_on

    run("models", "fetch", pushed, "--name", "mine")
    before, trained_on = made()
    save_pipeline(
        nudged(tiny_pipeline), tmp_path / "second", CARD.replace("diffusers", "maskhub\ntrained_on: 30 photos")
    )
    push_folder(tmp_path / "second", pushed)
    assert run("models", "fetch", pushed, "--name", "mine")[0] == 0
    after, more = made()
    assert (trained_on, more) == ("20 photos", "30 photos") and (before != after).any()


def test_what_could_not_be_loaded_is_tried_again_after_some_minutes_or_when_its_folder_changed(tmp_path, monkeypatch):
    asked = []

    def load(name):
        asked.append(name)
        if not (tmp_path / "here" / "model_index.json").exists():
            raise CheckpointError(f"no connection to {name}")
        return object()

    kept_pipe = kept.Kept(load, most=2)
    for _ in range(3):
        with pytest.raises(CheckpointError, match="no connection to user/model"):
            kept_pipe("user/model")
    assert asked == ["user/model"]
    with monkeypatch.context() as later, pytest.raises(CheckpointError):
        later.setattr(kept, "TRY_AGAIN", -1.0)
        kept_pipe("user/model")
    assert len(asked) == 2
    (tmp_path / "here").mkdir()
    with pytest.raises(CheckpointError):
        kept_pipe(tmp_path / "here")
    (tmp_path / "here" / "model_index.json").write_text("{}")
    made = kept_pipe(tmp_path / "here")
    assert kept_pipe(tmp_path / "here") is made and len(asked) == 4
    for name in ("a", "b"):  # the least recently used one is dropped
        kept_pipe(name)
    assert kept_pipe(tmp_path / "here") is not made
