"""Training state on disk: everything that a run needs to go on bit for bit, in safetensors and JSON, no pickle.

    checkpoints/step-00000020/
        networks.safetensors      every network's weights and buffers, live ones
        ema.safetensors           the moving averages
        optimizers.safetensors    Adam's moments
        process-0.safetensors     one a process: torch's random numbers, image pools
        state.json                step, optimizer settings, loss scale, options, versions

A checkpoint is written aside (``.step-00000020.partial``), flushed, then renamed: what bears a final name is whole.
"""

import json
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from maskhub.errors import CheckpointError
from maskhub.hub_errors import readable

__all__ = [
    "check_same_options",
    "flatten",
    "latest_checkpoint",
    "load_checkpoint",
    "load_moments",
    "moments",
    "prune_checkpoints",
    "resume_path",
    "unflatten",
    "write_checkpoint",
]

_NAME = re.compile(r"step-(\d+)")


def flatten(tree, prefix=""):
    """A nested dict of tensors as one flat dict with dotted keys (dots inside keys are kept by a / between levels)."""
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, name + "/")
        else:
            flat[name] = value
    return flat


def unflatten(flat):
    """The inverse of :func:`flatten`; every key comes back as a string."""
    tree = {}
    for name, value in flat.items():
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def write_checkpoint(folder, step, shared, own, record, accelerator):
    """Write one checkpoint; called by every process, returns when it is whole.

    Args:
        folder: the run's ``checkpoints`` folder.
        step: completed steps.
        shared: name → nested dict of tensors, equal on every process; one file each, written by the main process.
        own: nested dict of this process's tensors.
        record: what goes into ``state.json``.
        accelerator: for the processes to wait for each other.

    Raises:
        CheckpointError: it could not be written (a full disk, say). Older checkpoints are untouched.
    """
    folder = Path(folder)
    partial, final = folder / f".step-{step:08d}.partial", folder / f"step-{step:08d}"
    problem = None
    try:
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        accelerator.wait_for_everyone()
        _save(own, partial / f"process-{accelerator.process_index}.safetensors")
        if accelerator.is_main_process:
            for name, tree in shared.items():
                _save(tree, partial / f"{name}.safetensors")
            text = json.dumps({"step": step, "processes": accelerator.num_processes, **record}, indent=1)
            _write_text(partial / "state.json", text)
    except (OSError, SafetensorError) as error:
        problem = error
    # a process that failed must not leave the others waiting, nor let a broken checkpoint be named whole
    failed = torch.tensor([problem is not None], dtype=torch.float32, device=accelerator.device)
    if accelerator.reduce(failed, "sum").item():
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(problem, "strerror", None) or problem or "another process failed"
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {folder}: {reason}. "
            "The last complete one is untouched; make room and go on with --resume latest."
        ) from problem
    if accelerator.is_main_process:
        if final.exists():  # a run resumed from further back comes by again
            stale = folder / f".step-{step:08d}.stale"
            os.replace(final, stale)
            os.replace(partial, final)
            shutil.rmtree(stale, ignore_errors=True)
        else:
            os.replace(partial, final)
        _sync_folder(folder)
    accelerator.wait_for_everyone()
    return final


def load_checkpoint(path, process_index):
    """Read a checkpoint: ``(record, shared, own)`` as given to :func:`write_checkpoint`.

    Raises:
        CheckpointError: no checkpoint there, or a damaged one.
    """
    path = Path(path)
    record_file = path / "state.json"
    if not record_file.is_file():
        raise CheckpointError(
            f"{path} is no checkpoint (it has no state.json). "
            "Give a folder such as RUN/checkpoints/step-00001000, or latest."
        )
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        shared = {
            file.stem: unflatten(load_file(file))
            for file in sorted(path.glob("*.safetensors"))
            if not file.stem.startswith("process-")
        }
        own_file = path / f"process-{process_index}.safetensors"
        own = unflatten(load_file(own_file)) if own_file.exists() else None
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"the checkpoint {path} is damaged: {error}. Resume from an older one.") from error
    return record, shared, own


def latest_checkpoint(folder):
    """The whole checkpoint with the most steps in ``folder``, or None."""
    found = [(int(match[1]), path) for path in Path(folder).glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return max(found)[1] if found else None


def resume_path(output, resume):
    """The checkpoint that a run in the folder ``output`` goes on from, or None where it begins.

    Args:
        resume: ``"latest"``, a checkpoint's folder, or None for a new run.

    Raises:
        CheckpointError: a new run where there is one already.
    """
    newest = latest_checkpoint(Path(output) / "checkpoints")
    if resume is None and newest:
        raise CheckpointError(f"{output} already holds a run: go on with --resume latest, or choose another --output.")
    return newest if resume == "latest" else resume


def check_same_options(path, now, then):
    """Raise :class:`CheckpointError` unless the options ``now`` are those that the checkpoint's run had ``then``."""
    changed = [f"{name} {then.get(name)!r} → {now[name]!r}" for name in now if now[name] != then.get(name)]
    if changed:
        raise CheckpointError(f"{path} was trained with other options: {'; '.join(changed)}.")


def moments(optimizer):
    """What a torch optimizer knows of its parameters, as a tree of tensors; its settings are ``param_groups``."""
    return {str(index): dict(values) for index, values in optimizer.state_dict()["state"].items()}


def load_moments(optimizer, tensors, groups):
    """The inverse of :func:`moments`, with the settings."""
    optimizer.load_state_dict({"state": {int(i): values for i, values in tensors.items()}, "param_groups": groups})


def prune_checkpoints(folder, keep):
    """Delete all but the ``keep`` newest checkpoints, and what an interrupted write left behind."""
    found = sorted(path for path in Path(folder).glob("step-*") if _NAME.fullmatch(path.name))
    for path in [*found[:-keep], *Path(folder).glob(".step-*")]:
        shutil.rmtree(path, ignore_errors=True)


def _save(tree, path):
    tensors = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in flatten(tree).items()}
    save_file(tensors, path)
    readable(path)
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _write_text(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
