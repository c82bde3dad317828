"""Save pipelines with their model cards, and upload them to the Hugging Face Hub.

save_pipeline(pipeline, "runs/a/pipeline", card=text)
push_folder("runs/a/pipeline", "alice/masks")
FaceMaskPipeline.from_pretrained("alice/masks", revision="main")      # and back
"""

import json
from pathlib import Path

from maskhub.cards import THIS_REPOSITORY
from maskhub.errors import CheckpointError
from maskhub.files import write_file, written_folder
from maskhub.hub_errors import hub_errors, patient
from maskhub.models.stored import read_json
from maskhub.pipelines.fetch import meant
from maskhub.pipelines.remote_code import code_files, with_code

__all__ = ["THIS_REPOSITORY", "check_push", "hub_errors", "push_folder", "save_pipeline", "write_pipeline"]

_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}


def save_pipeline(pipeline, folder, card=None, variants=("fp16",)):
    """Write a pipeline in float32 to a folder, replacing an older one, with ``card`` as its ``README.md``.

    ``variants`` are additional half-precision copies of the weights (``"fp16"``). WriteError if it could not be
    written; an older folder is untouched.
    """
    with written_folder(folder) as temporary:
        write_pipeline(pipeline, temporary, card, variants)


def write_pipeline(pipeline, folder, card=None, variants=("fp16",)):
    """Like :func:`save_pipeline`, but into an existing folder, file by file."""
    pipeline.save_pretrained(folder, safe_serialization=True)
    if "fp16" in variants:
        for name, network in pipeline.components.items():
            if network is not None:
                _half_copy(network).save_pretrained(folder / name, safe_serialization=True, variant="fp16")
    if card:
        write_file(folder / "README.md", card)


def _half_copy(network):
    copy = type(network).from_config(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.half()


def push_folder(
    folder, repo_id, *, repo_type="model", space_sdk=None, revision=None, private=None, message="Upload with maskhub",
    token=None,
):  # fmt: skip
    """Upload a folder to the Hub as one commit, creating the repository if needed; returns its URL.

    The commit is made once every file has been uploaded, so that nobody can load a partial model. An interrupted upload
    can simply be repeated: uploaded files are not sent again. ``THIS_REPOSITORY`` in ``README.md`` is replaced by the
    repository's id in the upload only. Hidden files are left out.

    Args:
        folder: a pipeline or network folder, or any folder for a ``"dataset"`` or ``"space"``.
        repo_id: ``user/name``, or just a name for your own namespace.
        revision: branch to commit to, created if missing; by default the repository's default branch.
        private: whether a new repository is private; None: as the user or organisation has chosen. An existing one
            keeps its visibility.
        message, token: title of the commit; token used instead of the one that is logged in.

    Raises:
        CheckpointError: ``folder`` is not a model folder, or contains pickled weights or a card that is not UTF-8.
        HubError: no write access, a wrong token, a bad name, or no connection after several tries.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    folder = Path(folder)
    paths = _files(folder, repo_type)
    api = HfApi(token=token)
    with hub_errors(f"the upload to {repo_id}"):
        url = patient(
            api.create_repo, repo_id, repo_type=repo_type, space_sdk=space_sdk, private=private, exist_ok=True
        )
        operations, files = [], _code(folder) if repo_type == "model" else {}
        for path in paths:
            name, content = path.relative_to(folder).as_posix(), path
            if name == "README.md":
                content = _text(path).replace(THIS_REPOSITORY, url.repo_id).encode()
            operations.append(CommitOperationAdd(name, files.pop(name, content)))
        operations += [CommitOperationAdd(name, content) for name, content in files.items()]
        if revision:
            patient(api.create_branch, url.repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        commit = {"commit_message": message, "repo_type": repo_type, "revision": revision or "main"}
        patient(api.create_commit, url.repo_id, operations, **commit)  # uploaded files are not sent again
    return str(url)


def check_push(repo_id, *, repo_type="model", token=None):
    """Check, before work that takes hours, that :func:`push_folder` can upload its result: create the repository if
    needed, and ask whether this token may write to it. HubError as there."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with hub_errors(f"the upload to {repo_id}"):
        url = patient(api.create_repo, repo_id, repo_type=repo_type, exist_ok=True)
        api.auth_check(url.repo_id, repo_type=repo_type, write=True)


def _text(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} can't be uploaded, since it is not UTF-8: save it as UTF-8.") from error


def _code(folder):
    """Files that a pipeline saved by an earlier maskhub lacks: path → bytes."""
    path = folder / "model_index.json"
    index = read_json(path) if path.is_file() else {}
    if index.get("_class_name") != "FaceMaskPipeline":
        return {}
    files = {path.name: json.dumps(with_code(index), indent=2, sort_keys=True) + "\n", **code_files(index)}
    return {name: text.encode() for name, text in files.items()}


def _files(folder, repo_type):
    """The files to upload, sorted; a model's are checked, since the folder could be the whole training run."""
    if repo_type == "model" and not any((folder / name).is_file() for name in ("model_index.json", "config.json")):
        raise CheckpointError(f"{folder} is not a pipeline folder: it has no model_index.json.{meant(folder)}")
    visible = (p for p in folder.rglob("*") if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    paths = sorted(path for path in visible if path.is_file() and "__pycache__" not in path.parts)
    if not paths:
        raise CheckpointError(f"there is nothing to upload in {folder}.")
    pickled = [path.relative_to(folder).as_posix() for path in paths if path.suffix in _PICKLES]
    if repo_type == "model" and pickled:
        raise CheckpointError(
            f"{folder} contains pickled weights, which can run code when they are loaded: {', '.join(pickled)}. "
            "Remove them, or convert them to safetensors with `maskhub convert`."
        )
    return paths
