"""Checkpoints: everything a run needs to resume bit for bit, in safetensors and JSON, without pickle.

    checkpoints/step-00000020/
        networks.safetensors      weights and buffers of every network, not averaged
        ema.safetensors           the moving averages
        optimizers.safetensors    the optimizers' state tensors
        process-0.safetensors     one per process: torch's random state, image pools
        state.json                step, options, optimizer settings, versions, SHA-256 of every file

A folder with a final name was written completely; the hashes detect damage that came later.
"""

import hashlib
import json
import re
from contextlib import ExitStack
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from maskhub.errors import CheckpointError, WriteError, first_line
from maskhub.files import remove_folder, write_file, written_folder

__all__ = [
    "Record", "checkpoints", "flatten", "latest_checkpoint", "load_checkpoint", "load_moments", "load_networks",
    "moments", "prune_checkpoints", "resume_path", "unflatten", "write_checkpoint",
]  # fmt: skip

STATE = "state.json"
_NAME = re.compile(r"step-(\d+)")


class Record(BaseModel):
    """What ``state.json`` holds.

    Attributes:
        step, seconds: completed steps, and the time that they took.
        written: number of this checkpoint in the order of writing, from 1.
        processes: number of processes that wrote it.
        method: name of the task.
        photos: fingerprint of the photos.
        options: the options that a resumed run must share.
        optimizers, averages: param groups by optimizer, and steps of each moving average.
        scaler: state of the fp16 loss scaler, or None.
        versions: versions of maskhub and torch.
        files: name → SHA-256.
    """

    step: int
    written: int
    processes: int
    method: str
    seconds: float
    photos: str
    options: dict
    optimizers: dict
    averages: dict
    scaler: dict | None
    versions: dict
    files: dict = {}


def flatten(tree, prefix=""):
    """Flatten a nested dict of tensors; levels of the keys are joined by ``/``."""
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, name + "/")
        else:
            flat[name] = value
    return flat


def unflatten(flat):
    """The inverse of :func:`flatten`; all keys become strings."""
    tree = {}
    for name, value in flat.items():
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def moments(optimizer):
    """The per-parameter state of a torch optimizer as a nested dict of tensors, without its ``param_groups``."""
    return {str(index): dict(values) for index, values in optimizer.state_dict()["state"].items()}


def load_moments(optimizer, tensors, groups):
    """The inverse of :func:`moments`; ``groups`` are the optimizer's ``param_groups``."""
    optimizer.load_state_dict({"state": {int(i): values for i, values in tensors.items()}, "param_groups": groups})


# ---- writing ---------------------------------------------------------------------------------------------------------


def write_checkpoint(folder, shared, own, record, accelerator):
    """Write one checkpoint; every process must call it. Returns its folder when it is complete. WriteError if it could
    not be written, on a full disk for example; older checkpoints are untouched.

    Args:
        folder: the run's ``checkpoints`` folder.
        shared, own: nested dicts of tensors: by name, the same on every process, each a file of the main process; and
            those of this process.
        record: :class:`Record`; ``written`` and ``files`` are filled in here.
        accelerator: synchronises the processes.
    """
    folder, main = Path(folder), accelerator.is_main_process
    final, problem, place = folder / f"step-{record.step:08d}", None, [None]
    try:
        with ExitStack() as stack:
            if main:
                try:
                    place = [str(stack.enter_context(written_folder(final)))]
                except WriteError as error:
                    problem = error
            if accelerator.num_processes > 1:
                broadcast_object_list(place)
            if place[0] is not None:
                try:
                    _write(own, Path(place[0]) / f"process-{accelerator.process_index}.safetensors")
                except WriteError as error:
                    problem = error
            _raise_together(problem, accelerator)
            if main:
                for name, tree in shared.items():
                    _write(tree, Path(place[0]) / f"{name}.safetensors")
                _write_record(Path(place[0]), record, folder)
    except WriteError as error:
        raise WriteError(
            f"the checkpoint of step {record.step} could not be written: {first_line(error)}. "
            "The last complete one is untouched; free some space and continue with --resume latest."
        ) from error
    accelerator.wait_for_everyone()
    return final


def _raise_together(problem, accelerator):
    """Raise in all processes if one failed: none keeps waiting, and no incomplete checkpoint gets its final name."""
    failed = torch.tensor([problem is not None], dtype=torch.float32, device=accelerator.device)
    if accelerator.reduce(failed, "sum").item():
        raise problem or WriteError("another process failed.")


def _write(tree, path):
    tensors = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in flatten(tree).items()}
    write_file(path, save(tensors))


def _write_record(place, record, folder):
    written = max((_written(path) for path in _folders(folder)), default=0) + 1
    files = {path.name: _sha256(path.read_bytes()) for path in sorted(place.glob("*.safetensors"))}
    content = record.model_copy(update={"written": written, "files": files}).model_dump()
    write_file(place / STATE, json.dumps({"sha256": _digest(content), **content}, indent=1) + "\n")


def prune_checkpoints(folder, keep):
    """Delete all but the ``keep`` most recently written checkpoints.

    The order of writing counts, not the step: a run that was resumed from an earlier step keeps its new checkpoints.
    """
    for path in checkpoints(folder)[:-keep]:
        remove_folder(path)


# ---- reading ---------------------------------------------------------------------------------------------------------


def checkpoints(folder):
    """The checkpoints in a folder in the order of writing; those with a damaged ``state.json`` come first."""
    return sorted(_folders(folder), key=lambda path: (_written(path), path.name))


def latest_checkpoint(folder):
    """The most recently written checkpoint in ``folder``, or None."""
    found = checkpoints(folder)
    return found[-1] if found else None


def load_checkpoint(path, process=0):
    """Read a checkpoint and verify all its files: ``(record, shared, own)`` as given to :func:`write_checkpoint`.
    ``own`` is that of the process with this index, None if the run had fewer processes. CheckpointError if ``path`` is
    not an intact checkpoint."""
    path = Path(path)
    record, trees = _read_record(path), {}
    if "process-0.safetensors" not in record.files:
        raise _damaged(path, "process-0.safetensors is missing")
    for name, expected in record.files.items():
        trees[name.removesuffix(".safetensors")] = _load(path, name, expected)
    own = {name: trees.pop(name) for name in list(trees) if name.startswith("process-")}
    return record, trees, own.get(f"process-{process}")


def load_networks(path):
    """The state dicts of a checkpoint's networks, by name; errors as for :func:`load_checkpoint`."""
    record = _read_record(Path(path))
    return _load(Path(path), "networks.safetensors", record.files.get("networks.safetensors"))


def resume_path(output, resume, say=print):
    """The checkpoint from which a run in the folder ``output`` resumes, or None for a new run: ``resume`` is its
    folder, None, or ``"latest"``, the most recently written intact one. Damaged ones are skipped, each with a line to
    ``say``. CheckpointError if ``output`` already holds a run and ``resume`` is None, or all its checkpoints are
    damaged."""
    found = checkpoints(Path(output) / "checkpoints")
    if resume is None and found:
        raise CheckpointError(
            f"{output} already holds a run: continue it with --resume latest, or choose another --output."
        )
    if resume != "latest":
        return resume and Path(resume)
    for path in reversed(found):
        try:
            load_checkpoint(path)
            return path
        except CheckpointError as error:
            say(f"skipped: {error}")
    if found:
        raise CheckpointError(f"all checkpoints in {output} are damaged: start a new run with another --output.")
    return None


def _folders(folder):
    return [path for path in Path(folder).glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]


def _written(path):
    try:
        return _read_record(path).written
    except CheckpointError:
        return 0


def _read_record(path):
    file = path / STATE
    if not file.is_file():
        raise CheckpointError(
            f"{path} is not a checkpoint: it has no {STATE}. "
            "Use a folder such as RUN/checkpoints/step-00001000, or latest."
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is not a mapping")
        expected, record = content.pop("sha256", None), Record(**content)
    except ValidationError as error:
        raise _damaged(path, f"{STATE} has a wrong or missing field ({error.errors()[0]['loc'][0]})") from None
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, f"{STATE} can't be read ({first_line(error)})") from None
    if expected != _digest(content):
        raise _damaged(path, f"{STATE} has changed since it was written")
    return record


def _load(path, name, expected):
    try:
        data = (path / name).read_bytes()
    except FileNotFoundError:
        raise _damaged(path, f"{name} is missing") from None
    except OSError as error:
        raise _damaged(path, f"{name} can't be read ({error.strerror})") from None
    if _sha256(data) != expected:
        raise _damaged(path, f"{name} has changed since it was written")
    try:
        return unflatten(load(data))
    except SafetensorError as error:
        raise _damaged(path, f"{name} is not a safetensors file ({first_line(error)})") from None


def _damaged(path, what):
    return CheckpointError(f"the checkpoint {path} is damaged: {what}.")


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


def _digest(content):
    return _sha256(json.dumps(content, sort_keys=True).encode())
