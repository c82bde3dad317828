"""Networks as ONNX graphs for onnxruntime-web: small to load, cheap to run, held against torch.

A graph takes one picture and has no sequence operators. Three things make it fast and small:

* the gains of its norms are folded into the convolutions after them (exact);
* :func:`calculated_in_8_bits`: the convolutions of chosen layers compute with 8-bit weights and activations, whose
  ranges come from calibration photos (Jacob and others: "Quantization and Training of Neural Networks for Efficient
  Integer-Arithmetic-Only Inference", CVPR 2018);
* :func:`packed`: the other large weights lie in the file with 8 bits, the rest with 16, and become float32 on loading.
"""

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

__all__ = ["OPSET", "calculated_in_8_bits", "packed", "recorded", "run"]

OPSET = 20
LARGE = 2048
"""Weights of this many numbers or more are stored in 8 bits."""
CLIPS = np.linspace(1.0, 0.6, 9)
TOLERANCE = 2e-3
"""Largest difference in [-1, 1] between torch and a graph with float32 weights."""


def recorded(network, side):
    """A network's graph for one picture, with float32 weights, held against torch.

    Raises:
        SystemExit: the graph computes something else.
    """
    network = nn.Module.to(copy.deepcopy(network), "cpu", torch.float32).eval()
    noise = network.draw_noise(1, side, side) if getattr(network, "takes_noise", False) else []
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _OnePicture(network), (images, *noise), dynamo=True, optimize=True, opset_version=OPSET, verbose=False,
            input_names=["images", *(f"noise_{number}" for number in range(len(noise)))],
        )  # fmt: skip
        wanted = network(images, noise=noise) if noise else network(images)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    graph = _folded(program.model_proto)
    names = ("presence", "region") if len(wanted) > 1 else ("translated",)
    for value, name in zip(graph.graph.output, names, strict=True):
        _rename(graph, value.name, name)
    feeds = {"images": images.numpy(), **{f"noise_{number}": level.numpy() for number, level in enumerate(noise)}}
    for one, other in zip(run(graph, feeds), wanted, strict=True):
        difference = float(np.abs(one - other.numpy()).max())
        if not difference <= TOLERANCE * max(1.0, float(other.abs().max())):
            raise SystemExit(f"the graph of {type(network).__name__} is off by {difference:.2g}: not written.")
    return graph


class _OnePicture(nn.Module):
    """A network with its noise as inputs."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, *noise):
        return self.network(images, noise=list(noise)) if noise else self.network(images)


def run(graph, feeds):
    """The outputs of a graph."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def _folded(model):
    """The graph with each gain per channel that only one convolution reads multiplied into its weights."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers = {name: [node for node in graph.node if name in node.input] for node in graph.node for name in node.output}
    for node in [node for node in graph.node if node.op_type == "Mul"]:
        gains = [name for name in node.input if name in weights and len(weights[name].dims) == 4]
        readings = readers[node.output[0]]
        if len(gains) != 1 or len(readings) != 1 or readings[0].op_type != "Conv":
            continue
        (gain,), (convolution,) = (numpy_helper.to_array(weights[name]) for name in gains), readings
        weight = weights[convolution.input[1]]
        if gain.shape != (1, weight.dims[1], 1, 1):
            continue
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * gain, weight.name))
        convolution.input[0] = next(name for name in node.input if name not in gains)
        graph.node.remove(node)
        graph.initializer.remove(weights[gains[0]])
    return model


class _Photos(CalibrationDataReader):
    def __init__(self, feeds):
        self.feeds = iter(feeds)

    def get_next(self):
        return next(self.feeds, None)


def calculated_in_8_bits(graph, layers, feeds):
    """The graph with the convolutions of some layers, and the rectifiers after them, computed in whole numbers.

    Args:
        graph: with float32 weights.
        layers: parts of the names of these convolutions' weights.
        feeds: inputs of the graph, from which the activations' ranges are taken.
    """
    chosen = [node for node in graph.graph.node if node.op_type == "Conv" and _named(node.input[1], layers)]
    if not chosen:
        return graph
    made = {node.output[0] for node in chosen}
    chosen += [node for node in graph.graph.node if node.op_type == "Relu" and node.input[0] in made]
    with tempfile.TemporaryDirectory(prefix="maskhub-web-") as folder:
        path = Path(folder) / "graph.onnx"
        logging.disable(logging.WARNING)
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of each step
            quantize_static(
                copy.deepcopy(graph), path, _Photos(feeds), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=["Conv", "Relu"],
                nodes_to_quantize=[node.name for node in chosen],
            )  # fmt: skip
        logging.disable(logging.NOTSET)
        return onnx.load(path)


def packed(graph, exact=()):
    """The graph with its float32 weights in 8 bits or half precision, and without the exporter's notes.

    Args:
        graph: what :func:`recorded` or :func:`calculated_in_8_bits` returned.
        exact: parts of the names of those weights that have at least half precision.
    """
    steps = {name for node in graph.graph.node if node.op_type.endswith("QuantizeLinear") for name in node.input}
    steps |= {name for node in graph.graph.node if node.op_type == "DequantizeLinear" for name in node.input}
    initializers, nodes = [], []
    for tensor in graph.graph.initializer:
        array, name = numpy_helper.to_array(tensor), tensor.name
        if array.dtype != np.float32 or array.size < 16 or name in steps:
            initializers.append(tensor)
        elif array.size >= LARGE and array.ndim == 4 and not _named(name, exact):
            codes, scale = _coded(array)
            initializers += [numpy_helper.from_array(codes, f"{name}_q"), numpy_helper.from_array(scale, f"{name}_s")]
            # not DequantizeLinear: onnxruntime would leave that to each run
            nodes.append(helper.make_node("Cast", [f"{name}_q"], [f"{name}_f"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}_f", f"{name}_s"], [name]))
        else:
            initializers.append(numpy_helper.from_array(array.astype(np.float16), f"{name}_h"))
            nodes.append(helper.make_node("Cast", [f"{name}_h"], [name], to=TensorProto.FLOAT))
    nodes += graph.graph.node
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
    made = helper.make_graph(nodes, "maskhub", graph.graph.input, graph.graph.output, initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _named(name, parts):
    return any(part in name for part in parts)


def _coded(array):
    """int8 codes and one scale for each output channel, clipped where that gives the least squared error."""
    flat = array.reshape(len(array), -1)
    most = np.abs(flat).max(1, keepdims=True).clip(1e-12)
    best, codes, scales = np.full((len(flat), 1), np.inf), None, None
    for clip in CLIPS:
        scale = (most * clip / 127).astype(np.float32)
        tried = np.rint(flat / scale).clip(-127, 127)
        error = ((tried * scale - flat) ** 2).sum(1, keepdims=True)
        better = error < best
        codes = tried if codes is None else np.where(better, tried, codes)
        scales = scale if scales is None else np.where(better, scale, scales)
        best = np.minimum(best, error)
    return codes.astype(np.int8).reshape(array.shape), scales.astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))


def _rename(graph, old, new):
    for node in graph.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for value in graph.graph.output:
        if value.name == old:
            value.name = new
