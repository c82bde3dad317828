"""Networks as ONNX files, for onnxruntime and whatever else reads them.

    difference = export_onnx(network, "masker/model.onnx", resolution=256)

The file takes ``images``, float32 N×3×H×W in [-1, 1], and for a network that takes noise ``noise_0``, ``noise_1``, ...,
as its ``draw_noise`` draws them; it gives ``translated``, as large as the images. N is free, and H and W are where that
was asked for and the network allows it (:class:`OnnxFile` tells). A fingerprint of the weights lies in the
file, so that one of other weights is never taken for the network's own.
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
"""Its name in a network's folder, as in Hugging Face's own ONNX exports."""
GRAPH = "graph.onnx"
"""The name of one without weights."""
OPSET = 20
TOLERANCE = 1e-3
"""Largest difference from torch in [-1, 1] (an eighth of an 8-bit step) that an export may have."""
_KEY = "maskhub"
_PREFIX = "network."
"""Of the weights' names in a graph."""
_INSTALL = "pip install 'maskhub[export]' first."


def export_onnx(network, path, resolution, *, any_size=False, weights=True, opset=OPSET):
    """Write a generator as an ONNX file, and hold it against torch on random pictures, alone and in a batch.

    Args:
        network: generator N×3×H×W → N×3×H×W; exported in float32.
        path: of the file.
        resolution: side in pixels of the pictures that the graph is for.
        any_size: leave H and W free where that can be; the recording takes longer, and the graph runs no faster.
        weights: put them into the file too.
        opset: of ONNX.

    Returns:
        the largest absolute difference from torch, in [-1, 1].

    Raises:
        ConfigError: onnx, onnxscript or onnxruntime are missing, or the network draws random numbers of its own.
        CheckpointError: the graph can't be exported, or does not do what the network does.
    """
    try:
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise ConfigError(f"the export needs onnx and onnxscript: {_INSTALL}") from error
    name, path = type(network).__name__, Path(path)
    if network.config.get("noisy"):
        raise ConfigError(f"this {name} drops out at random on purpose (noisy): such a graph has no fixed result.")
    # not the network's own `to`, which warns of what diffusers' large models keep in float32
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
        except Exception as error:  # of many kinds, for as many reasons
            why = f"can't be exported: {first_line(error)}"
            continue
        if difference <= TOLERANCE:
            return difference
        why = f"does something else as an ONNX graph, off by {difference:.2g}"
    path.unlink(missing_ok=True)
    raise CheckpointError(f"this {name} {why}.")


def fingerprint(network, weights=True):
    """A hash of a network's class and configuration, and of its ``weights``; of its fp16 variant it is the same."""
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
    """A network in onnxruntime, on the CPU with as many threads as torch has.

    Args:
        path: of a file that :func:`export_onnx` wrote.
        network: whose weights a file without any is given; those of this moment.

    Attributes:
        fingerprint: of the network that it was made of.
        resolution: the only side that it takes, or None where H and W are free.

    Raises:
        ConfigError: onnxruntime is missing. CheckpointError: no such file, or one of other inputs.
    """

    def __init__(self, path, network=None):
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(f"the backend onnxruntime is not installed: {_INSTALL}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        # threads that wait by spinning would take the cores from what runs next
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not Path(path).is_file():
            raise CheckpointError(f"there is no file {path}: make it with `maskhub convert --to onnx`.")
        if network is not None:
            # kept: the session only refers to them
            self._weights = {name: onnxruntime.OrtValue.ortvalue_from_numpy(x) for name, x in _arrays(network)}
            options.add_external_initializers(list(self._weights), list(self._weights.values()))
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own have no base but this
            raise CheckpointError(f"{path} can't be read by onnxruntime: {first_line(error)}.") from error
        self.names = [put.name for put in self.session.get_inputs()]
        if self.names[:1] != ["images"]:
            raise CheckpointError(f"{path} is no file of `maskhub convert --to onnx`: it takes {self.names}.")
        self.fingerprint = self.session.get_modelmeta().custom_metadata_map.get(_KEY, "")
        side = self.session.get_inputs()[0].shape[-1]
        self.resolution = side if isinstance(side, int) else None

    def __call__(self, images, noise=()):
        """Translate: float32 N×3×H×W tensor in [-1, 1], and the noise of ``draw_noise``, to the same shape."""
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
    """Record the graph with these axes free and write it."""
    count = 2  # a batch of one would be taken for a constant
    images = torch.rand(count, 3, resolution, resolution) * 2 - 1
    noise = network.draw_noise(count, resolution, resolution) if network.takes_noise else []
    free = dict.fromkeys(axes, torch.export.Dim.DYNAMIC) | {0: torch.export.Dim("batch")}
    recorded = torch.export.export(_Recorded(network), (images, noise), dynamic_shapes=(free, [free] * len(noise)))
    program = torch.onnx.export(
        recorded,
        dynamo=True,
        optimize=weights,  # else what is worked out of weights beforehand would stay when they change
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
    """Write the graph with references in the place of the network's weights, and without the exporter's notes."""
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
    """The exporter's talk about itself is no news to a user."""
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
