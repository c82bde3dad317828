"""A pipeline's folder, from wherever it is: here, or on the Hugging Face Hub."""

from pathlib import Path

from maskhub.errors import CheckpointError
from maskhub.hub_errors import hub_errors

__all__ = ["fetch_options", "fetch_pipeline", "model_name", "with_variant"]

_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")


def fetch_pipeline(name, variant=None, onnx=False, **options):
    """The local folder of a pipeline; one on the Hub is downloaded into the cache first.

    diffusers' own download refuses every pipeline whose networks come from another package, and would take the weights
    of all variants. Only configurations and safetensors are fetched, never code or pickles.

    Args:
        name: a folder, or ``user/name`` on the Hub.
        variant: such as ``"fp16"``, which is also fetched where there are no others.
        onnx: fetch the exported networks too, where there are any; their graphs alone are small and always fetched.
        options: ``cache_dir``, ``force_download``, ``local_files_only``, ``revision`` and ``token`` of huggingface_hub.

    Returns:
        ``pathlib.Path``.

    Raises:
        CheckpointError: no such folder or repository, no right to it, or no connection.
    """
    folder, failed = Path(name).expanduser(), f"no pipeline could be loaded from {name}"
    if folder.is_dir():
        return folder
    if folder.is_absolute() or len(folder.parts) != 2:
        raise CheckpointError(f"{failed}: there is no such folder, and a Hub id looks like user/name.")
    from huggingface_hub import snapshot_download

    weights = [f"*.{variant}.safetensors", f"*.{variant}-*.safetensors"] if variant else ["*.safetensors"]
    weights += ["*.onnx" if onnx else "*/graph.onnx"]
    others = [] if variant else ["*.*.safetensors"]  # weights of a variant have a second dot
    with hub_errors(f"{failed}: there is no such folder, and the download from the Hub", CheckpointError):
        fetched = snapshot_download(str(name), allow_patterns=["*.json", *weights], ignore_patterns=others, **options)
    if not (Path(fetched) / "model_index.json").is_file():
        raise CheckpointError(f"{failed}: the repository on the Hub has no model_index.json.")
    if not variant and not any(Path(fetched).rglob("*.safetensors")):
        return fetch_pipeline(name, "fp16", onnx, **options)
    return Path(fetched)


def with_variant(folder, options):
    """A ``from_pretrained``'s options; for a folder of one variant's weights alone with this one, in float32."""
    names = [path.name.split(".") for path in Path(folder).rglob("*.safetensors")]
    if options.get("variant") or not names or any(len(name) < 3 for name in names):
        return options
    import torch

    return {"dtype": torch.float32, **options, "variant": names[0][-2]}


def fetch_options(options):
    """Take those of :func:`fetch_pipeline` out of a ``from_pretrained``'s options, as a dict."""
    return {name: options.pop(name) for name in _OPTIONS if name in options}


def model_name(source):
    """A Hub id as it is; of a folder its own name, not where it lies: that may name a person."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return str(source)
    names = [name for name in folder.resolve().parts[-2:] if name != "pipeline"]
    return names[-1] if names else "unnamed"
