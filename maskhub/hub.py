"""Model cards, and the way to and from the Hugging Face Hub."""

import json
import os
import shutil
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from maskhub.errors import CheckpointError, HubError

__all__ = ["push_folder", "save_pipeline", "training_card"]


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
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(stale, ignore_errors=True)
    try:
        pipeline.save_pretrained(partial, safe_serialization=True)
        if "fp16" in variants:
            half = type(pipeline)(
                **{name: _half_copy(network) for name, network in pipeline.components.items() if network is not None},
                resolution=pipeline.config.resolution,
            )
            half.save_pretrained(partial, safe_serialization=True, variant="fp16")
        if card:
            (partial / "README.md").write_text(card, encoding="utf-8")
        if folder.exists():
            os.replace(folder, stale)
        os.replace(partial, folder)
    except Exception as error:  # safetensors has its own classes for a full disk
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"the pipeline could not be written to {folder}: {error}") from error
    shutil.rmtree(stale, ignore_errors=True)


def _half_copy(network):
    copy = type(network).from_config(network.config)
    copy.load_state_dict(network.state_dict())
    return copy.half()


def push_folder(folder, repo_id, *, revision=None, private=None, message="Upload with maskhub", token=None):
    """Upload a pipeline folder to the Hub as one commit, making the repository where there is none.

    An upload that broke off can simply be repeated: files that arrived are not sent again.

    Returns:
        the address of the repository.

    Raises:
        HubError: no right to write there, a wrong token, a bad name, or no connection after several tries.
    """
    api = HfApi(token=token)
    try:
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repo_id, revision=revision, commit_message=message)
    except HFValidationError as error:
        raise HubError(f"{repo_id!r} is no repository id: it must look like user/name.") from error
    except RepositoryNotFoundError as error:
        raise HubError(f"there is no repository {repo_id}, or this token has no right to it: log in with `hf auth login`.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status == 401:
            raise HubError("the Hub does not know this token: log in with `hf auth login` or set HF_TOKEN.") from error
        if status == 403:
            raise HubError(f"this token has no right to write to {repo_id}: use one with write access.") from error
        raise HubError(f"the upload to {repo_id} failed ({_line(error)}): run the same command again.") from error
    except OSError as error:  # connection errors of every client are among these
        raise HubError(f"the upload to {repo_id} broke off ({_line(error)}): run the same command again.") from error
    return str(url)


def training_card(loop):
    """The model card of a training run: what it was trained on, how, for how long; figures are left to `evaluate`."""
    config, method = loop.config, loop.method
    seen = loop.step * config.batch_size * config.gradient_accumulation * loop.accelerator.num_processes
    options = "\n".join(f"| `{name}` | `{value}` |" for name, value in sorted(config.resumable().items()))
    sources = "\n".join(f"- {line}" for line in loop.describe())
    front = {
        "library_name": "diffusers",
        "pipeline_tag": "image-to-image",
        "tags": ["maskhub", "face-mask", method.name.lower(), "gan"],
    }
    return f"""---
{_front_matter(front)}---
# {method.name} between unmasked and masked faces

```python
from maskhub import FaceMaskPipeline

pipe = FaceMaskPipeline.from_pretrained("THIS_REPOSITORY")
masked = pipe.mask("photo.jpg")
unmasked = pipe.unmask(masked)
```

Method: [{method.name}]({method.paper}), trained with [maskhub](https://github.com/maskhub/maskhub).

## Training
{sources}
- {loop.step:,} steps so far, {seen:,} photos of each domain, {loop.seconds / 3600:.2f} hours, seed {config.seed}

| option | value |
|---|---|
{options}

## Limits
An unmasked face is a plausible invention, not the person's face, and never evidence of what someone looks like. No
figures have been measured for this checkpoint yet. It carries the licences of the photos that it was trained on.
"""


def _front_matter(values):
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


def _line(error):
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
