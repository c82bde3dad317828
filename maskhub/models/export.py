"""Export networks as ONNX files, for onnxruntime and other runtimes.

    difference = export_onnx(network, "masker/model.onnx", resolution=256)

The input is ``images``, float32 N×3×H×W in [-1, 1]. Networks that take noise also have ``noise_0``, ``noise_1``, ...,
as returned by ``draw_noise``. The output is ``translated``, with the shape of the images. N is dynamic; H and W are if
requested and supported by the network (see :class:`OnnxFile`). The file stores a fingerprint of the weights, so that a
file made from other weights is never used by mistake.
"""

import contextlib
import copy
import hashlib
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from maskhub.errors import CheckpointError, ConfigError, first_line

__all__ = ["FILE", "GRAPH", "OnnxFile", "export_onnx", "fingerprint", "have_onnxruntime"]

FILE = "model.onnx"
"""File name in a network's folder, as in Hugging Face's own ONNX exports."""
GRAPH = "graph.onnx"
"""File name of a graph without weights."""
OPSET = 20
TOLERANCE = 1e-3
"""Largest allowed difference between the export and torch, in [-1, 1] (an eighth of an 8-bit step)."""
_KEY = "maskhub"
_PREFIX = "network."
"""Prefix of the weights' names in a graph."""
_INSTALL = "pip install 'maskhub[export]' first."


def export_onnx(network, path, resolution, *, any_size=False, weights=True, opset=OPSET):
    """Write a generator as an ONNX file, and compare it with torch on random images, alone and in a batch.

    Args:
        network, path: generator N×3×H×W → N×3×H×W, exported in float32; and the file.
        resolution: side in pixels of the images that the graph is made for.
        any_size: make H and W dynamic if possible; the export takes longer, and the graph is as fast.
        weights: include the weights in the file.
        opset: ONNX operator set version.

    Returns:
        the largest absolute difference from torch, in [-1, 1].

    Raises:
        ConfigError: onnx, onnxscript or onnxruntime is missing, or the network always draws random numbers.
        CheckpointError: the graph can't be exported, or its output differs from the network's.
    """
    try:
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise ConfigError(f"the export needs onnx and onnxscript: {_INSTALL}") from error
    name, path = type(network).__name__, Path(path)
    if network.config.get("noisy"):
        raise ConfigError(
            f"this {name} keeps dropout on in evaluation (noisy), so its graph would not be deterministic."
        )
    # not the network's own `to`, which warns about modules that diffusers keeps in float32
    network = nn.Module.to(copy.deepcopy(network), "cpu", torch.float32).eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    why = None
    for axes in ((0, 2, 3), (0,)) if any_size else ((0,),):
        try:
            with torch.no_grad(), _quiet():
                _write(network, path, resolution, opset, axes, weights)
            difference = _difference(network, OnnxFile(path, None if weights else network), resolution)
        except OSError:  # the disk, not the graph
            raise
        except Exception as error:  # exporters raise errors of many types
            why = f"can't be exported: {first_line(error)}"
            continue
        if difference <= TOLERANCE:
            return difference
        why = f"differs from its ONNX graph by {difference:.2g}"
    path.unlink(missing_ok=True)
    raise CheckpointError(f"this {name} {why}.")


def fingerprint(network, weights=True):
    """A hash of a network's class, configuration and ``weights``; the fp16 variant has the same hash."""
    config = {key: value for key, value in network.config.items() if not key.startswith("_")}
    digest = hashlib.sha256(json.dumps([type(network).__name__, config], sort_keys=True, default=str).encode())
    for name, tensor in sorted(network.state_dict().items()) if weights else ():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()


def have_onnxruntime():
    """Whether onnxruntime is installed."""
    import importlib.util

    return importlib.util.find_spec("onnxruntime") is not None


class OnnxFile:
    """A network in onnxruntime, on the CPU, with as many threads as torch uses.

    Args:
        path: a file written by :func:`export_onnx`.
        network: supplies its current weights to a file without weights.

    Attributes:
        fingerprint: of the network it was made from.
        resolution: the only image side it accepts, or None if H and W are dynamic.

    Raises:
        ConfigError: onnxruntime is missing.
        CheckpointError: no such file, or one with other inputs.
    """

    def __init__(self, path, network=None):
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(f"the backend onnxruntime is not installed: {_INSTALL}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        # threads that wait by spinning would take the cores from other work
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not Path(path).is_file():
            raise CheckpointError(f"there is no file {path}. Create it with `maskhub convert --to onnx`.")
        if network is not None:
            # keep a reference: the session does not copy them
            self._weights = {name: onnxruntime.OrtValue.ortvalue_from_numpy(x) for name, x in _arrays(network)}
            options.add_external_initializers(list(self._weights), list(self._weights.values()))
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base class
            raise CheckpointError(f"{path} can't be read by onnxruntime: {first_line(error)}.") from error
        self.names = [put.name for put in self.session.get_inputs()]
        if self.names[:1] != ["images"]:
            raise CheckpointError(f"{path} was not made by `maskhub convert --to onnx`: its inputs are {self.names}.")
        self.fingerprint = self.session.get_modelmeta().custom_metadata_map.get(_KEY, "")
        side = self.session.get_inputs()[0].shape[-1]
        self.resolution = side if isinstance(side, int) else None

    def __call__(self, images, noise=()):
        """Translate: float32 N×3×H×W tensor in [-1, 1], with noise from ``draw_noise``, to the same shape."""
        given = [tensor.detach().cpu().float().contiguous().numpy() for tensor in (images, *noise)]
        (out,) = self.session.run(None, dict(zip(self.names, given, strict=True)))
        return torch.from_numpy(np.asarray(out))


class _Recorded(nn.Module):
    """The network with its noise as an input."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, noise):
        return self.network(images, noise=noise) if noise else self.network(images)


def _write(network, path, resolution, opset, axes, weights):
    """Trace the graph with these axes dynamic, and write it."""
    count = 2  # a batch of one would be exported as a constant
    images = torch.rand(count, 3, resolution, resolution) * 2 - 1
    noise = network.draw_noise(count, resolution, resolution) if network.takes_noise else []
    free = dict.fromkeys(axes, torch.export.Dim.DYNAMIC) | {0: torch.export.Dim("batch")}
    recorded = torch.export.export(_Recorded(network), (images, noise), dynamic_shapes=(free, [free] * len(noise)))
    program = torch.onnx.export(
        recorded,
        dynamo=True,
        optimize=weights,  # otherwise values precomputed from the weights would stay when the weights change
        opset_version=opset,
        input_names=["images", *(f"noise_{number}" for number in range(len(noise)))],
        output_names=["translated"],
        verbose=False,
    )
    program.model.metadata_props[_KEY] = fingerprint(network, weights)
    if weights:
        program.save(str(path))
    else:
        _write_graph(program.model, network, path)


def _write_graph(model, network, path):
    """Write the graph with references instead of weights, and without the exporter's metadata."""
    import onnx_ir

    values = model.graph.initializers
    for name, array in _arrays(network):
        values[name].const_value = onnx_ir.ExternalTensor(
            "weights", 0, array.nbytes, onnx_ir.DataType.FLOAT, shape=onnx_ir.Shape(array.shape), name=name
        )
    for noted in (model.graph, *values.values(), *model.graph, *(out for node in model.graph for out in node.outputs)):
        noted.metadata_props.clear()
        noted.doc_string = None
    onnx_ir.save(model, path)


def _arrays(network):
    """The weights as numpy arrays in float32, by their names in the graph."""
    for name, tensor in network.state_dict().items():
        yield _PREFIX + name, tensor.detach().cpu().float().contiguous().numpy()


@torch.no_grad()
def _difference(network, file, resolution):
    worst, draws = 0.0, torch.Generator().manual_seed(0)
    sizes = [(1, resolution, resolution), (3, resolution, resolution)]
    sizes += [] if file.resolution else [(1, resolution + 64, resolution + 128)]
    for size in sizes:
        images = torch.rand(size[0], 3, *size[1:], generator=draws) * 2 - 1
        noise = network.draw_noise(*size, draws) if network.takes_noise else []
        wanted = network(images, noise=noise) if noise else network(images)
        worst = max(worst, float((file(images, noise) - wanted).abs().max()))
    return worst


@contextlib.contextmanager
def _quiet():
    """Silence the exporter's log messages."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.__trace", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
