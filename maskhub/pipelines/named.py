"""The pipelines with a name: the bundled ones, and those in ``MASKHUB_HOME/models``, fetched or trained in the app.

fetch("user/cyclegan", "cyclegan")                  # from the Hub or a folder; then, without a network:
FaceMaskPipeline.from_pretrained("cyclegan")
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from maskhub.errors import CheckpointError, ConfigError
from maskhub.extras import installed
from maskhub.json_file import read_json
from maskhub.pipelines.fetch import WEIGHTS, check_name, fetch_pipeline, load_errors, model_name, models_folder
from maskhub.pipelines.new_model import new_model

__all__ = ["NamedPipeline", "fetch", "named_pipelines"]

KEPT = {".json", ".md", ".safetensors", ".onnx", ".jpg", ".png"}
"""Files that are fetched: no code, and no weights that run code when they are loaded."""


@dataclass(frozen=True)
class NamedPipeline:
    """A pipeline that is loaded by its ``name``: ``folder``; ``kind``, its class; ``does``, what it is for;
    ``resolution`` in pixels; ``size``, that of its weights in bytes."""

    name: str
    folder: Path
    kind: str
    does: str
    resolution: int
    size: int

    @property
    def bundled(self):
        return self.folder.parent == WEIGHTS


def named_pipelines():
    """All of them as :class:`NamedPipeline` s: the bundled ones first, then by name."""
    found = {}
    for root in (WEIGHTS, models_folder()):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if folder.name not in found and not folder.name.startswith(".") and (one := _described(folder)):
                found[folder.name] = one
    return list(found.values())


def fetch(source, name=None, revision=None):
    """Copy a pipeline into ``MASKHUB_HOME/models`` and return it as a :class:`NamedPipeline`. The same source fetched
    again replaces its copy; both appear whole or not at all.

    Args:
        source: a Hub id, ``user/name``, or a pipeline's folder.
        name: up to 64 letters, digits, '-', '_' and '.'; by default the source's.
        revision: a branch, tag or commit on the Hub.

    Raises:
        CheckpointError: there is no such pipeline, no access or connection, or it can't be loaded.
        ConfigError: an invalid name, or one that another model has; or a revision of what isn't on the Hub.
        WriteError: it could not be written.
    """
    folder = Path(source).expanduser()
    origin = str(folder.resolve() if folder.is_dir() else source)
    folder = fetch_pipeline(source, onnx=True, revision=revision)
    name = check_name(name or model_name(source).rpartition("/")[2])
    if (WEIGHTS / name).exists():
        raise ConfigError(f"the bundled {name} has this name. Choose another one with --name.")
    with load_errors(source):
        made = _described(folder)
        if made is None:
            raise CheckpointError("it has no model_index.json of a pipeline of maskhub.")
        _load(folder, made.kind)
    root = models_folder()
    taken = f"there is already a model {name!r} in {root}. Choose another name with --name."
    with new_model(root, name, {"fetched_from": origin}, taken) as temporary:
        for path in _files(folder):
            copy = temporary / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return _described(root / name)


def _files(folder):
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in KEPT]
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _load(folder, kind):
    """Load every network once; any error is raised."""
    if kind == "ReimagingPipeline":
        from maskhub.pipelines.reimaging import ReimagingPipeline

        ReimagingPipeline.from_pretrained(folder)
    elif installed("torch"):
        from maskhub.pipelines.face_mask import FaceMaskPipeline

        FaceMaskPipeline.from_pretrained(folder)
    else:
        from maskhub.pipelines.onnx_face_mask import OnnxFaceMaskPipeline

        pipeline = OnnxFaceMaskPipeline.from_pretrained(folder)
        _ = pipeline.masker, pipeline.unmasker  # loads them


def _described(folder):
    """The pipeline in a folder, or None."""
    index = read_json(folder / "model_index.json") or {}
    kind = index.get("_class_name")
    kind = kind[-1] if isinstance(kind, list) and kind else kind
    if kind not in ("FaceMaskPipeline", "ReimagingPipeline"):
        return None
    does, side = (_does(index), 256) if kind == "FaceMaskPipeline" else ("re-images covered faces", 32)
    side = index.get("resolution", side)
    return NamedPipeline(folder.name, folder, kind, does, side, _size(folder)) if isinstance(side, int) else None


def _does(index):
    off, on = (index.get(role) not in (None, [None, None]) for role in ("unmasker", "masker"))
    if index.get("wear"):
        masking = "makes drawn masks look real" if on else "draws masks by rule"
    else:
        masking = "puts masks on" if on else ""
    return ", ".join(filter(None, ("takes masks off" if off else "", masking)))


def _size(folder):
    """Bytes of weights that are loaded; a half-precision copy next to full weights isn't."""
    weights = [path for path in folder.rglob("*.safetensors") if path.is_file()]
    full = [path for path in weights if path.name.count(".") == 1]
    return sum(path.stat().st_size for path in full or weights)
