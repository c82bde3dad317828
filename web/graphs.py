"""The package's ONNX graphs, for one picture of one size, with their weights inside."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from safetensors.numpy import load_file

from maskhub.models.channels_last import sort_nodes
from maskhub.models.onnx_file import PREFIX

__all__ = ["halved", "one_size", "only", "with_weights", "without_reshapes"]

LARGE = 16
"""Weights of this many numbers or more are stored in half precision."""


def with_weights(path):
    """A network's graph with the weights that it takes from the safetensors next to it.

    Raises:
        SystemExit: there is no such graph.
    """
    if not path.is_file():
        raise SystemExit(f"there is no {path}. Create it with `maskhub convert --to onnx-graph` or `--to int8`.")
    model = onnx.load(path, load_external_data=False)
    (weights,) = sorted(path.parent.glob("*.safetensors"))[:1]
    arrays = load_file(weights)
    for tensor in model.graph.initializer:
        if external_data_helper.uses_external_data(tensor):
            array = arrays[tensor.name.removeprefix(PREFIX)].astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


def one_size(model, *sizes):
    """A graph whose input has these sizes, in which everything that follows from them is computed, and without
    sequences."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
        dimension.dim_value = size
    for _ in range(2):  # the first time it only fuses what it computes the second time
        model = _optimized(model)
    return _without_sequences(model)


def _optimized(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="maskhub-web-") as folder:
        options.optimized_model_filepath = str(Path(folder) / "graph.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def _without_sequences(model):
    """Replace SplitToSequence and SequenceAt, which WebGPU does not have, by Split."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes, parts = list(model.graph.node), {}
    for split in [node for node in nodes if node.op_type == "SplitToSequence"]:
        count = numpy_helper.to_array(weights[split.input[1]]).size
        parts[split.output[0]] = [f"{split.output[0]}_{number}" for number in range(count)]
        split.op_type, split.output[:] = "Split", parts[split.output[0]]
        kept = [one for one in split.attribute if one.name == "axis"]
        split.ClearField("attribute")
        split.attribute.extend(kept)
    for node in [node for node in nodes if node.op_type == "SequenceAt"]:
        at = int(numpy_helper.to_array(weights[node.input[1]]))
        node.op_type, node.input[:] = "Identity", [parts[node.input[0]][at]]
    return model


def only(model, name):
    """A graph with what one of its results takes, and nothing else."""
    kept = [value for value in model.graph.output if value.name == name]
    model.graph.ClearField("output")
    model.graph.output.extend(kept)
    sort_nodes(model, list(model.graph.node))
    return model


def without_reshapes(model):
    """A graph without its Reshape nodes, for one that only flattens its results."""
    graph, results = model.graph, {value.name for value in model.graph.output}
    flat = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Reshape"}
    renamed = {source: name for name, source in flat.items() if name in results}
    kept = [node for node in graph.node if node.op_type != "Reshape"]
    for node in kept:
        node.input[:] = [flat.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    sort_nodes(model, kept)
    return model


def halved(model):
    """A graph with its float32 weights in half precision; they become float32 as it is loaded."""
    weights, nodes = [], []
    for tensor in model.graph.initializer:
        array, name = numpy_helper.to_array(tensor), tensor.name
        if array.dtype == np.float32 and array.size >= LARGE:
            weights.append(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        else:
            weights.append(tensor)
    graph = helper.make_graph([*nodes, *model.graph.node], "maskhub", model.graph.input, model.graph.output, weights)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=10)
