"""Model cards, and the way to the Hugging Face Hub.

save_pipeline(pipeline, "runs/a/pipeline", card=training_card(loop))
push_folder("runs/a/pipeline", "alice/masks")
FaceMaskPipeline.from_pretrained("alice/masks", revision="main")      # and back
"""

import os
import shutil
from pathlib import Path

from maskhub.cards import THIS_REPOSITORY
from maskhub.errors import CheckpointError
from maskhub.hub_errors import hub_errors, patient

__all__ = ["THIS_REPOSITORY", "hub_errors", "push_folder", "save_pipeline", "training_card"]

_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}


def save_pipeline(pipeline, folder, card=None, variants=("fp16",)):
    """Write a pipeline folder aside and put it in the place of an older one in one move.

    Args:
        pipeline: a :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline` in float32.
        folder: where it goes; an earlier pipeline there is replaced.
        card: text of its ``README.md``.
        variants: half-precision copies of the weights beside the float32 ones (``"fp16"``).

    Raises:
        CheckpointError: it could not be written; an older folder is untouched.
    """
    folder = Path(folder)
    partial, stale = folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.stale")
    try:
        if stale.exists() and not folder.exists():  # killed between the two moves below
            os.replace(stale, folder)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(stale, ignore_errors=True)
        pipeline.save_pretrained(partial, safe_serialization=True)
        if "fp16" in variants:
            for name, network in pipeline.components.items():
                if network is not None:
                    _half_copy(network).save_pretrained(partial / name, safe_serialization=True, variant="fp16")
        if card:
            (partial / "README.md").write_text(card, encoding="utf-8")
        if folder.exists():
            os.replace(folder, stale)
        os.replace(partial, folder)
    except Exception as error:  # safetensors has its own classes for a full disk
        shutil.rmtree(partial, ignore_errors=True)
        if stale.exists() and not folder.exists():
            os.replace(stale, folder)
        raise CheckpointError(f"the pipeline could not be written to {folder}: {error}") from error
    shutil.rmtree(stale, ignore_errors=True)


def _half_copy(network):
    copy = type(network).from_config(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.half()


def push_folder(
    folder,
    repo_id,
    *,
    repo_type="model",
    space_sdk=None,
    revision=None,
    private=None,
    message="Upload with maskhub",
    token=None,
):
    """Upload a folder to the Hub as one commit, making the repository where there is none.

    The commit is made once every file has arrived, so that nobody ever loads half of it. An upload that broke off can
    simply be repeated: files that arrived are not sent again. ``THIS_REPOSITORY`` in ``README.md`` becomes the
    repository's id; the folder itself stays as it is. Hidden files are left out.

    Args:
        folder: a pipeline or network folder, or any folder for a ``"dataset"`` or ``"space"``.
        repo_id: ``user/name``, or a name of one's own.
        repo_type: ``"model"``, ``"dataset"`` or ``"space"``.
        space_sdk: ``"gradio"`` for a new Space.
        revision: branch to commit to; made where it is missing. The default branch if not given.
        private: make a new repository private (or public); an older one keeps its state.
        message: title of the commit.
        token: instead of the one that is logged in.

    Returns:
        the address of the repository.

    Raises:
        CheckpointError: ``folder`` is no model folder, or holds pickled weights.
        HubError: no right to write there, a wrong token, a bad name, or no connection after several tries.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    folder = Path(folder)
    paths = _files(folder, repo_type)
    api = HfApi(token=token)
    with hub_errors(f"the upload to {repo_id}"):
        url = patient(
            api.create_repo, repo_id, repo_type=repo_type, space_sdk=space_sdk, private=private, exist_ok=True
        )
        operations = []
        for path in paths:
            name, content = path.relative_to(folder).as_posix(), path
            if name == "README.md":
                content = path.read_text(encoding="utf-8").replace(THIS_REPOSITORY, url.repo_id).encode()
            operations.append(CommitOperationAdd(name, content))
        if revision:
            patient(api.create_branch, url.repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        patient(  # files that have arrived are not sent again
            api.create_commit,
            url.repo_id,
            operations,
            commit_message=message,
            repo_type=repo_type,
            revision=revision or "main",
        )
    return str(url)


def _files(folder, repo_type):
    """The files to upload, sorted; a model's are checked, since its folder may just as well be the whole run's."""
    if repo_type == "model" and not any((folder / name).is_file() for name in ("model_index.json", "config.json")):
        inside = folder / "pipeline"
        hint = f" Did you mean {inside}?" if (inside / "model_index.json").is_file() else ""
        raise CheckpointError(f"{folder} is no pipeline folder: it has no model_index.json.{hint}")
    visible = (p for p in folder.rglob("*") if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    paths = sorted(path for path in visible if path.is_file() and "__pycache__" not in path.parts)
    if not paths:
        raise CheckpointError(f"there is nothing to upload in {folder}.")
    pickled = [path.relative_to(folder).as_posix() for path in paths if path.suffix in _PICKLES]
    if repo_type == "model" and pickled:
        raise CheckpointError(
            f"{folder} holds pickled weights, which can run code where they are loaded: {', '.join(pickled)}. "
            "Remove them, or turn them into safetensors with `maskhub convert`."
        )
    return paths


def training_card(loop):
    """The model card of a training run: what it was trained on, how, for how long; figures are left to `evaluate`.

    Args:
        loop: a :class:`~maskhub.training.loop.TrainingLoop`.

    Returns:
        text of a ``README.md`` with the Hub's YAML front matter. Folders are named without their path, which is nobody
        else's business; the licence is "other", since weights carry the terms of photos that maskhub can't know.
    """
    from huggingface_hub import ModelCardData

    config, method = loop.config, loop.method
    seen = config.batches_before(loop.step) * config.batch_size * loop.accelerator.num_processes
    names = {name: _public_name(source) for name, source in loop.sources.items()}
    lines = []
    for line in loop.describe():
        for name, source in loop.sources.items():
            if line.startswith(f"{name}: {source.spec}"):
                line = f"{name}: {names[name]}" + line.removeprefix(f"{name}: {source.spec}")
        lines.append(f"- {line}")
    described = "\n".join(lines)
    resumable = config.resumable() | names
    if config.init_from:
        resumable["init_from"] = Path(config.init_from).name
    uses = [f'{part}ed = pipe.{part}("photo.jpg")' for part in ("mask", "unmask") if f"{part}er" in method.generators]
    uses = "\n".join(uses)
    options = "\n".join(f"| `{name}` | `{value}` |" for name, value in sorted(resumable.items()))
    front = ModelCardData(
        library_name="diffusers",
        pipeline_tag="image-to-image",
        tags=["maskhub", "face-mask", method.name.lower(), "gan"],
        license="other",
        license_name="terms-of-the-training-photos",
        license_link=f"https://huggingface.co/{THIS_REPOSITORY}#licence",
        trained_against=list(method.trained_against) or None,
        datasets=sorted({source.dataset for source in loop.sources.values() if _on_hub(source)}) or None,
    )
    return f"""---
{front.to_yaml()}
---
# {method.name} between unmasked and masked faces

```python
from maskhub import FaceMaskPipeline

pipe = FaceMaskPipeline.from_pretrained("{THIS_REPOSITORY}")
{uses}
```

Method: [{method.name}]({method.paper}), trained with maskhub.

## Training
{described}
- {loop.step:,} steps so far, {seen:,} samples, {loop.seconds / 3600:.2f} hours, seed {config.seed}

| option | value |
|---|---|
{options}

## Limits
An unmasked face is a plausible invention, not the person's face, and never evidence of what someone looks like. No
figures have been measured for this checkpoint yet.

## Licence
These weights carry the terms of the photos that they were trained on: where one of these sets is for research only
(CelebA and Labeled Faces in the Wild are), so are the weights.
"""


def _on_hub(source):
    return source.dataset is not None


def _public_name(source):
    if _on_hub(source) or source.spec.startswith("builtin:"):
        return source.spec
    return Path(source.spec).resolve().name
