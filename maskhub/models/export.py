"""Export networks as ONNX files, for onnxruntime and other runtimes.

    difference = export_onnx(network, "masker/model.onnx", resolution=256)

The input is ``images``, float32 N×3×H×W in [-1, 1]. Networks that take noise also have ``noise_0``, ``noise_1``, ...,
as returned by ``draw_noise``. The output is ``translated``, with the shape of the images; those of a mask detector are
``presence`` and ``region``. N is dynamic; H and W are if requested and supported by the network. The file stores a
fingerprint of the weights, so that a file made from other weights is never used by mistake.
:class:`~maskhub.models.onnx_file.OnnxFile` runs it.
"""

import contextlib
import copy
import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from maskhub.errors import CheckpointError, ConfigError, first_line
from maskhub.extras import require
from maskhub.files import written_file
from maskhub.models.onnx_file import KEY, PREFIX, OnnxFile, fingerprint

__all__ = ["OPSET", "export_onnx", "network_fingerprint", "numpy_weights", "quiet_export"]

OPSET = 20
TOLERANCE = 1e-3
"""Largest allowed difference between the export and torch, in [-1, 1] (an eighth of an 8-bit step)."""


def export_onnx(network, path, resolution, *, any_size=False, weights=True):
    """Write a generator as an ONNX file, and compare it with torch on random images, alone and in a batch; returns the
    largest absolute difference, in [-1, 1].

    MissingExtraError if onnx or onnxscript is missing, ConfigError if the network always draws random numbers,
    CheckpointError if the graph can't be exported, or its output differs from the network's, WriteError if it can't be
    written. An existing file is kept then.

    Args:
        network, path: :class:`~maskhub.models.network.Network` of images N×3×H×W, exported in float32; and the file.
        resolution: side in pixels of the images that the graph is made for.
        any_size: make H and W dynamic if possible; the export takes longer, and the graph is as fast.
        weights: include the weights in the file.
    """
    require("export")
    name, path = type(network).__name__, Path(path)
    if network.config.get("noisy"):
        raise ConfigError(
            f"this {name} keeps dropout on in evaluation (noisy), so its graph would not be deterministic."
        )
    # not the network's own `to`, which warns about modules that diffusers keeps in float32
    network = nn.Module.to(copy.deepcopy(network), "cpu", torch.float32).eval()
    why, given = None, () if weights else numpy_weights(network)
    with written_file(path) as temporary:
        for axes in ((0, 2, 3), (0,)) if any_size else ((0,),):
            try:
                with torch.no_grad(), quiet_export():
                    _write(network, temporary, resolution, axes, weights)
                difference = _difference(network, OnnxFile(temporary, given), resolution)
            except OSError:  # the disk, not the graph
                raise
            except Exception as error:  # exporters raise errors of many types
                why = f"can't be exported: {first_line(error)}"
                continue
            if difference <= TOLERANCE:
                return difference
            why = f"differs from its ONNX graph by {difference:.2g}"
        raise CheckpointError(f"this {name} {why}.")


def network_fingerprint(network, weights=True):
    """The :func:`~maskhub.models.onnx_file.fingerprint` of a network, with or without its weights."""
    return fingerprint(type(network).__name__, network.config, numpy_weights(network) if weights else ())


def numpy_weights(network):
    """Pairs of name and float32 array, as :class:`~maskhub.models.onnx_file.OnnxFile` takes them."""
    return [(name, tensor.detach().cpu().float().contiguous().numpy()) for name, tensor in network.state_dict().items()]


class _Recorded(nn.Module):
    """The network with its noise as an input."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, noise):
        return self.network(images, noise=noise) if noise else self.network(images)


def _write(network, path, resolution, axes, weights):
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
        opset_version=OPSET,
        input_names=["images", *(f"noise_{number}" for number in range(len(noise)))],
        output_names=list(network.outputs),
        verbose=False,
    )
    program.model.metadata_props[KEY] = network_fingerprint(network, weights)
    if weights:
        program.save(str(path))
    else:
        _write_graph(program.model, network, path)


def _write_graph(model, network, path):
    """Write the graph with references instead of weights, and without the exporter's metadata."""
    import onnx_ir

    values = model.graph.initializers
    for name, array in numpy_weights(network):
        name = PREFIX + name
        if name in values:  # a norm's count of batches is not used
            values[name].const_value = onnx_ir.ExternalTensor(
                "weights", 0, array.nbytes, onnx_ir.DataType.FLOAT, shape=onnx_ir.Shape(array.shape), name=name
            )
    for noted in (model.graph, *values.values(), *model.graph, *(out for node in model.graph for out in node.outputs)):
        noted.metadata_props.clear()
        noted.doc_string = None
    onnx_ir.save(model, path)


@torch.no_grad()
def _difference(network, file, resolution):
    worst, draws = 0.0, torch.Generator().manual_seed(0)
    sizes = [(1, resolution, resolution), (3, resolution, resolution)]
    sizes += [] if file.resolution else [(1, resolution + 64, resolution + 128)]
    for size in sizes:
        images = torch.rand(size[0], 3, *size[1:], generator=draws) * 2 - 1
        noise = network.draw_noise(*size, draws) if network.takes_noise else []
        wanted = network(images, noise=noise) if noise else network(images)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        found = file(images.numpy(), [level.numpy() for level in noise])
        worst = max(worst, *(abs(a - b.numpy()).max() for a, b in zip(found, wanted, strict=True)))
    return float(worst)


@contextlib.contextmanager
def quiet_export():
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
