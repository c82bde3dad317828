"""The Hub where things go wrong: bad names and tokens, lines that break, full disks: one line, and nothing is lost."""

import pytest
from hub_pipelines import CARD, FILES, assert_same_weights, message_of, nudged
from huggingface_hub import HfApi, constants

from maskhub import FaceMaskPipeline, ResnetGenerator
from maskhub.errors import CheckpointError, WriteError
from maskhub.hub import push_folder, save_pipeline
from maskhub.models.weights import find_weights


def test_a_wrong_token(folder, hub_user, monkeypatch):
    assert "does not know this token" in message_of(push_folder, folder, hub_user.repo("masks"), token="hf_wrong")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not know this token: log in" in message_of(push_folder, folder, hub_user.repo("masks"))
    monkeypatch.delenv("HF_TOKEN")
    assert "wants a token: log in" in message_of(push_folder, folder, hub_user.repo("masks"))


def test_no_right_to_write(folder, hub_user, load):
    assert "write access" in message_of(push_folder, folder, hub_user.repo("masks"), token=hub_user.read_token)
    assert "write access" in message_of(push_folder, folder, "somebody/masks")
    push_folder(folder, hub_user.repo("masks"))
    assert "write access" in message_of(push_folder, folder, hub_user.repo("masks"), token=hub_user.read_token)
    load(hub_user.repo("masks"), token=hub_user.read_token)


def test_a_bad_name_of_a_network(tiny_pipeline, hub_user):
    assert "a repository id looks like" in message_of(tiny_pipeline.masker.push_to_hub, "a/b/c")


@pytest.mark.parametrize("name", ["a/b/c", "me/what ever", "-x/y", ""])
def test_a_bad_name(folder, hub_user, name):
    assert "a repository id looks like user/name" in message_of(push_folder, folder, name)


def test_the_hub_is_not_there(folder, hub_user, load, monkeypatch, no_waiting):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "could not be reached" in message_of(push_folder, folder, hub_user.repo("masks"))
    assert "could not be reached" in message_of(load, hub_user.repo("masks"), error=CheckpointError)


def test_nothing_to_load(hub_user, load):
    text = message_of(load, hub_user.repo("nothing"), error=CheckpointError)
    assert hub_user.repo("nothing") in text
    HfApi().create_repo(hub_user.repo("empty"))
    message_of(load, hub_user.repo("empty"), error=CheckpointError)
    message_of(load, hub_user.repo("nothing"), ResnetGenerator, error=CheckpointError)
    message_of(load, hub_user.repo("empty"), ResnetGenerator, error=CheckpointError)
    for name in ("not an id", "-user/-name", "runs/a/pipeline", "/nowhere", "name"):
        assert "user/name" in message_of(load, name, error=CheckpointError)


def test_only_model_folders_are_pushed_as_models(folder, hub_user, tmp_path):
    repo = hub_user.repo("masks")
    assert f"Did you mean {folder}?" in message_of(push_folder, tmp_path, repo, error=CheckpointError)
    assert "not a pipeline folder" in message_of(push_folder, tmp_path / "nothing", repo, error=CheckpointError)
    (folder / "optimizer.pt").write_bytes(b"pickle")
    assert "optimizer.pt" in message_of(push_folder, folder, repo, error=CheckpointError)
    assert not HfApi().repo_exists(repo)


def test_a_broken_upload_leaves_no_half_commit(folder, tiny_pipeline, hub_user, hub, load, tmp_path, no_waiting):
    repo, api = hub_user.repo("masks"), HfApi()
    push_folder(folder, repo)
    before = api.model_info(repo).sha
    newer = nudged(type(tiny_pipeline).from_pretrained(folder))
    save_pipeline(newer, tmp_path / "newer", card=CARD)

    hub.fault("PUT", "/_lfs/", times=1000, cut_after=1000)
    assert "run the same command again" in message_of(push_folder, tmp_path / "newer", repo)
    assert api.model_info(repo).sha == before
    assert_same_weights(load(repo), tiny_pipeline)

    hub.faults.clear()
    push_folder(tmp_path / "newer", repo)
    assert_same_weights(load(repo), newer)
    assert len(api.list_repo_commits(repo)) == 3  # the first is the empty repository


def test_a_repeated_upload_sends_only_what_is_missing(folder, hub_user, hub, no_waiting):
    hub.fault("POST", "/commit/", times=1000, status=503)
    message_of(push_folder, folder, hub_user.repo("masks"))
    hub.faults.clear()
    sent = [path for method, path, status in hub.log if method == "PUT" and status == 200]
    push_folder(folder, hub_user.repo("masks"))
    assert [path for method, path, status in hub.log if method == "PUT" and status == 200] == sent
    assert {*HfApi().list_repo_files(hub_user.repo("masks"))} == FILES


def test_a_line_that_breaks_once_is_no_error(folder, tiny_pipeline, hub_user, hub, load, no_waiting):
    hub.fault("PUT", "/_lfs/", cut_after=1000)
    push_folder(folder, hub_user.repo("masks"))
    hub.fault("GET", r"masker/.*\.safetensors", cut_after=1000)
    assert_same_weights(load(hub_user.repo("masks")), tiny_pipeline)
    assert sum(status == "cut" for _, _, status in hub.log) == 2


def test_a_cached_pipeline_loads_without_the_hub(folder, tiny_pipeline, hub_user, tmp_path, monkeypatch, no_waiting):
    push_folder(folder, hub_user.repo("masks"))
    FaceMaskPipeline.from_pretrained(hub_user.repo("masks"), cache_dir=tmp_path)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for options in ({}, {"local_files_only": True}):
        loaded = FaceMaskPipeline.from_pretrained(hub_user.repo("masks"), cache_dir=tmp_path, **options)
        assert_same_weights(loaded, tiny_pipeline)


def test_the_token_is_not_sent_on_to_the_cdn(folder, tiny_pipeline, hub_user, hub, load):
    push_folder(folder, hub_user.repo("masks"), private=True)
    hub.cdn = True
    assert_same_weights(load(hub_user.repo("masks")), tiny_pipeline)
    # the loopback CDN answers 403 to whoever shows it a token
    statuses = [status for _, path, status in hub.log if path.startswith("/_cdn/")]
    assert statuses and {*statuses} <= {200, 206}


# ---- on disk --------------------------------------------------------------------------------------------------------


def test_a_failed_write_keeps_the_older_pipeline(folder, tiny_pipeline, monkeypatch):
    newer = nudged(type(tiny_pipeline).from_pretrained(folder))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ResnetGenerator, "save_pretrained", full)
    with pytest.raises(WriteError, match="No space left"):
        save_pipeline(newer, folder)
    assert_same_weights(FaceMaskPipeline.from_pretrained(folder), tiny_pipeline)
    assert [path.name for path in folder.parent.iterdir()] == ["pipeline"]


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "config.json", "model_index.json"])
def test_wrong_bytes_are_refused_and_leave_the_cache(name, folder, tiny_pipeline, hub, hub_user, tmp_path):
    repo, options = hub_user.repo("masks"), {"cache_dir": tmp_path / "cache"}
    push_folder(folder, repo)
    hub.fault("GET", "/" + name.replace(".", r"\."), corrupt=True)
    text = message_of(FaceMaskPipeline.from_pretrained, repo, **options, error=CheckpointError)
    hub.faults.clear()
    assert f"{name} does not have the checksum" in text and "Run the same command again" in text
    assert_same_weights(FaceMaskPipeline.from_pretrained(repo, **options), tiny_pipeline)


def test_a_cache_that_was_changed_on_the_disk_is_noticed(folder, tiny_pipeline, hub_user, tmp_path):
    repo, options = hub_user.repo("masks"), {"cache_dir": tmp_path / "cache"}
    push_folder(folder, repo)
    FaceMaskPipeline.from_pretrained(repo, **options)
    weights = next((tmp_path / "cache").rglob("unmasker/*model.safetensors")).resolve()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    text = message_of(FaceMaskPipeline.from_pretrained, repo, **options, local_files_only=True, error=CheckpointError)
    assert "does not have the checksum" in text and not weights.exists()
    assert_same_weights(FaceMaskPipeline.from_pretrained(repo, **options), tiny_pipeline)


def test_wrong_bytes_of_single_networks_and_weights(tiny_pipeline, hub, hub_user, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repo = hub_user.repo("network")
    tiny_pipeline.masker.push_to_hub(repo)
    for _ in range(2):
        hub.fault("GET", r"\.safetensors", corrupt=True)
        message_of(ResnetGenerator.from_pretrained, repo, cache_dir=tmp_path / "cache", error=CheckpointError)
        hub.fault("GET", r"\.safetensors", corrupt=True)
        message_of(find_weights, "diffusion_pytorch_model.safetensors", repo, error=CheckpointError)
    hub.faults.clear()
    ResnetGenerator.from_pretrained(repo, cache_dir=tmp_path / "cache")
    assert find_weights("diffusion_pytorch_model.safetensors", repo).is_file()
