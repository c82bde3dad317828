"""Check a network's files before anything is built from them: configuration, shapes and sizes.

The files may be broken or hostile. What they claim is checked against bounds and against each other before memory is
allocated for it.
"""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from maskhub.errors import CheckpointError, first_line

__all__ = ["check_finite", "check_stored", "read_header", "read_json", "utf8_path"]

MAX_JSON = 1 << 20
"""Largest configuration file in bytes; ours have a few hundred."""
MAX_HEADER = 4 << 20
"""Largest safetensors header in bytes; those of our networks have some ten thousand."""
FLOATS = ("F64", "F32", "F16", "BF16")
STEM = "diffusion_pytorch_model"


def read_json(path):
    """Read a JSON file of bounded size that contains an object, as a dict; CheckpointError for another or no file."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_JSON:
            raise CheckpointError(f"{path} is too large for a configuration.")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is not JSON.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a configuration: it has no JSON object.")
    return found


def read_header(path):
    """Read the header of a safetensors file: name → (dtype as safetensors writes it, shape). CheckpointError if there
    is no such file, or its header is too large or damaged."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise CheckpointError(f"{path} can't be read as safetensors: its header is too large.")
            header = file.read(length)
        if len(header) < length or length < 2:
            raise CheckpointError(f"{path} can't be read as safetensors: it is truncated.")
        entries = json.loads(header)
        return {
            str(name): (str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise CheckpointError(f"{path} can't be read as safetensors ({error.strerror or error}).") from error
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path} can't be read as safetensors: its header is damaged.") from error


@contextmanager
def utf8_path(path):
    """A path to the same file or folder with a UTF-8 name; safetensors and onnxruntime accept no other."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "link"
            link.symlink_to(Path(path).absolute())
            yield link
    else:
        yield path


def check_stored(kind, folder, variant=None):
    """Check that the files of a network (a subclass of ``Network``, a folder and a variant) fit together: bounds of the
    configuration, names and shapes of the weights; CheckpointError if they don't. Uses no more memory than the sizes of
    the files justify: the network is built without allocating its weights."""
    folder = Path(folder)
    config = read_json(folder / "config.json")
    name = config.get("_class_name", kind.__name__)
    if name != kind.__name__:
        raise CheckpointError(f"{folder} contains a {str(name)[:80]}, not a {kind.__name__}.")
    wanted = _shapes(kind, config)
    found = {}
    for path in _weights(folder, variant):
        found |= read_header(path)
    misfit = f"the weights in {folder} don't fit the configuration"
    for name, shape in wanted.items():
        dtype, stored = found.pop(name, (None, None))
        if stored is None:
            if not name.endswith("num_batches_tracked"):
                raise CheckpointError(f"{misfit}: {name} is missing.")
        elif stored != shape:
            raise CheckpointError(f"{misfit}: {name} is {_times(stored)}, not {_times(shape)}.")
        elif dtype not in FLOATS and not name.endswith("num_batches_tracked"):
            raise CheckpointError(f"{misfit}: {name} has type {dtype[:20]}.")
    if found:
        raise CheckpointError(f"{misfit}: the network has no {next(iter(found))[:80]}.")


def check_finite(tensors, where):
    """Refuse weights (name → tensor) with non-finite values, which would paint black faces, with a
    :class:`CheckpointError` that names the first of them and where they come from."""
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"the weights of {where} are broken: {name} has values that are not finite numbers.")


def _shapes(kind, config):
    """Names and shapes of a network's weights."""
    import torch

    try:
        with torch.device("meta"):
            network = kind.from_config(config)
    except Exception as error:  # out of bounds, or an invalid value for diffusers
        raise CheckpointError(f"the configuration can't be used: {first_line(error)[:300]}.") from error
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _weights(folder, variant):
    """The safetensors files of a variant: one, or several numbered ones."""
    marked = (f".{variant}.", f".{variant}-") if variant else ()
    paths = sorted(folder.glob(f"{STEM}*.safetensors"))
    chosen = [p for p in paths if (any(m in p.name for m in marked) if variant else p.name.count(".") == 1)]
    if not chosen:
        which = f"{STEM}.{variant}.safetensors" if variant else f"{STEM}.safetensors"
        raise CheckpointError(f"{folder} has no weights: {which} is missing.")
    return chosen


def _times(shape):
    return "×".join(map(str, shape)) or "one number"
