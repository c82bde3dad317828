"""The backends that can run a generator, and a measurement of which is fastest with the same result.

    run = make_runner(network, "onnxruntime", folder="pipeline/masker")
    made = run(batch, noise)            # float32 N×3×H×W in [-1, 1], on the CPU
    name, run = fastest(network, batch, noise, folder)

``torch`` is the network itself and the reference for the others, which hold copies of its weights.
"""

import copy
import platform
import threading
import time
import warnings
from pathlib import Path

import torch
from torch import nn

from maskhub.errors import CheckpointError, ConfigError, MaskHubError
from maskhub.models.export import export_onnx, network_fingerprint, numpy_weights
from maskhub.models.network import choose
from maskhub.models.onnx_file import FILE, GRAPH, INT8, OnnxFile

__all__ = ["BACKENDS", "TOLERANCE", "Backends", "candidates", "fastest", "make_runner"]

BACKENDS = {
    "torch": "the network itself",
    "torch-channels-last": "in the channels-last memory format",
    "torch-bf16": "in bfloat16, channels last",
    "torch-compile": "compiled by torch.compile, channels last; the first picture takes a minute",
    "onnxruntime": "by onnxruntime on the CPU, from the folder's model.onnx or graph.onnx, or from one exported first",
    "onnxruntime-int8": "by onnxruntime in 8 bits, from the folder's graph-int8.onnx",
}
TOLERANCE = 1.0
"""Largest mean difference from ``torch`` in 8-bit units that counts as the same result."""
WORTH = 0.9
"""A backend is chosen only if it needs less than this share of ``torch``'s time, since measurements are noisy."""
SECONDS = 2.0
"""Time limit of the measurement once a network has warmed up."""


class Backends:
    """The runners of one pipeline, each created when it is first needed: by a name in :data:`BACKENDS`, or ``"auto"``:
    measured on the first batch. The pipeline's ``folder``, or None, may contain exported files."""

    def __init__(self, name="torch", folder=None):
        choose("the backend", name, {**BACKENDS, "auto": ""})
        self.name, self.folder = name, folder
        self.chosen, self._runners, self._lock = {}, {}, threading.Lock()

    def runner(self, role, network, batch, noise):
        """The runner of the network of this role, ``"masker"`` or ``"unmasker"``; ``auto`` measures with this input."""
        # network.device and .dtype take a millisecond: they go through all modules
        first = next(network.parameters(), torch.empty(0))
        key = role, id(network), str(first.device), first.dtype
        with self._lock:
            if key not in self._runners:
                folder = self.folder and Path(self.folder) / role
                if self.name == "auto":
                    made = fastest(network, batch, noise, folder)
                else:
                    made = self.name, make_runner(network, self.name, folder, batch.shape[-1])
                self.chosen[role], self._runners[key] = made
            return self._runners[key]


def make_runner(network, backend="torch", folder=None, resolution=256):
    """A function that runs a generator in eval mode: float32 N×3×H×W in [-1, 1] and the list of noise from its
    ``draw_noise`` → float32 N×3×H×W on the CPU. ``folder`` may hold its exported file; ``resolution`` is the side of
    its images, in case it must be exported first. ConfigError for an unknown backend or missing packages,
    CheckpointError if the ONNX file was made from other weights."""
    return choose("the backend", backend, _MAKERS)(network, folder, resolution)


@torch.inference_mode()
def fastest(network, batch, noise, folder=None):
    """Measure the :func:`candidates` on this batch: name and runner of the fastest backend. Its mean difference from
    ``torch`` is at most :data:`TOLERANCE`; one that is not clearly faster gives way to ``torch``."""
    plain = make_runner(network)
    best, least, budget = ("torch", plain), None, SECONDS
    for name in candidates(network, folder, batch.shape[-1]):
        try:
            run = plain if name == "torch" else make_runner(network, name, folder, batch.shape[-1])
            made = run(batch, noise)
        except MaskHubError:
            continue
        if name == "torch":
            wanted = made
        elif not (made - wanted).abs().mean() * 127.5 <= TOLERANCE:
            continue
        taken, used = _seconds(run, batch, noise, budget / 3)
        budget = max(budget - used, 0.0)
        if least is None:
            least = WORTH * taken
        elif taken < least:
            best, least = (name, run), taken
    return best


def candidates(network, folder=None, resolution=256):
    """The backends that ``auto`` tries, ``torch`` first: those available without compiling or exporting."""
    names = ["torch", "torch-channels-last"]
    if network.dtype == torch.float32 and _has_bf16(network.device):
        names.append("torch-bf16")
    if network.device.type == "cpu":
        files = {"onnxruntime": (FILE, GRAPH), "onnxruntime-int8": (INT8,)}
        names += [name for name, tried in files.items() if _is_ready(network, folder, resolution, tried)]
    return names


def _seconds(run, batch, noise, budget):
    """The shortest time of a few runs, and their total; at least one run."""
    start, times = time.perf_counter(), []
    while len(times) < 7 and (not times or time.perf_counter() - start < budget):
        begun = time.perf_counter()
        run(batch, noise)
        times.append(time.perf_counter() - begun)
    return min(times), time.perf_counter() - start


def _has_bf16(device):
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    if platform.machine() in ("arm64", "aarch64"):
        return True
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # older torch lacks it
    return capabilities().get("avx512_bf16", False)


def _at_hand(network, folder, names=(FILE, GRAPH)):
    """The first of these files that the folder has, with the network's weights unless it has its own; None without one.
    CheckpointError if it can't be read, or belongs to another network."""
    for name in names:
        path = folder and Path(folder) / name
        if path and path.is_file():
            file = OnnxFile(path, () if name == FILE else numpy_weights(network), torch.get_num_threads())
            if file.fingerprint != network_fingerprint(network, weights=name != GRAPH):
                raise CheckpointError(
                    f"{path} was made from other weights than the network's. Run `maskhub convert --to onnx` again."
                )
            return file
    return None


def _is_ready(network, folder, resolution, names):
    """Whether one of these files is there and matches."""
    try:
        file = _at_hand(network, folder, names)
    except MaskHubError:
        return False
    return bool(file) and file.resolution in (None, resolution)


def _torch(network, folder, resolution, memory_format=torch.contiguous_format):
    @torch.inference_mode()
    def run(batch, noise=()):
        batch = batch.to(network.device, network.dtype, memory_format=memory_format)
        made = network(batch, noise=list(noise)) if len(noise) else network(batch)
        return made.float().cpu()

    return run


def _channels_last(network, folder, resolution):
    # a copy: the original may still be training and keeps its memory layout
    network = nn.Module.to(copy.deepcopy(network), memory_format=torch.channels_last)
    return _torch(network, folder, resolution, torch.channels_last)


def _bf16(network, folder, resolution):
    return _channels_last(nn.Module.to(copy.deepcopy(network), torch.bfloat16), folder, resolution)


def _compiled(network, folder, resolution):
    inner = nn.Module.to(copy.deepcopy(network), memory_format=torch.channels_last)
    # for each size: compiling for any size, as torch does once a size has varied, fails for the light generator (2.13)
    forward = torch.compile(inner.forward, dynamic=False)

    @torch.inference_mode()
    def run(batch, noise=()):
        batch = batch.to(inner.device, inner.dtype, memory_format=torch.channels_last)
        noise = [tensor.to(inner.device, inner.dtype) for tensor in noise]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return (forward(batch, noise=noise) if noise else forward(batch)).float().cpu()

    return run


def _onnx(network, folder, resolution):
    file = _at_hand(network, folder)
    if file and file.resolution in (None, resolution):
        return _with_tensors(file)
    import tempfile

    with tempfile.TemporaryDirectory(prefix="maskhub-onnx-") as aside:
        export_onnx(network, Path(aside) / FILE, resolution)
        return _with_tensors(OnnxFile(Path(aside) / FILE, threads=torch.get_num_threads()))


def _int8(network, folder, resolution):
    file = _at_hand(network, folder, [INT8])
    if not file:
        where = folder or "this pipeline, which was not loaded from a folder,"
        raise ConfigError(f"{where} has no {INT8}. Create it with `maskhub convert --to int8`.")
    if file.resolution not in (None, resolution):
        raise ConfigError(f"{folder}/{INT8} is for images of {file.resolution} pixels a side, not {resolution}.")
    return _with_tensors(file)


def _with_tensors(file):
    def run(batch, noise=()):
        arrays = [tensor.detach().cpu().float().contiguous().numpy() for tensor in (batch, *noise)]
        return torch.from_numpy(file(arrays[0], arrays[1:])[0])

    return run


_MAKERS = {
    "torch": _torch,
    "torch-channels-last": _channels_last,
    "torch-bf16": _bf16,
    "torch-compile": _compiled,
    "onnxruntime": _onnx,
    "onnxruntime-int8": _int8,
}
