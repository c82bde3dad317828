"""Export networks as ONNX graphs whose convolutions compute in 8 bits, for onnxruntime on CPUs.

    error = export_int8(network, "unmasker/graph-int8.onnx", images)

Static quantization (Jacob and others: "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018) of weights, per output channel, and of activations, whose ranges come
from calibration images. Three things make it precise and fast:

* photos have 8 bits anyway, so the network's input is quantized without loss;
* each convolution is quantized alone first: those that change the result too much stay in float32, and where it helps,
  channels are scaled to similar ranges (Nagel and others: "Data-Free Quantization Through Weight Equalization and Bias
  Correction", ICCV 2019; Xiao and others: "SmoothQuant", ICML 2023);
* norms and pixel shuffles compute channels last, as 8-bit convolutions do, so that nothing has to be transposed.

The file takes its large weights from the safetensors next to it, and onnxruntime quantizes them as it loads, so it has
less than a megabyte.
"""

import copy
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from maskhub.errors import CheckpointError
from maskhub.extras import require
from maskhub.files import write_file
from maskhub.models.channels_last import channels_last, sort_nodes
from maskhub.models.export import export_onnx, network_fingerprint, numpy_weights
from maskhub.models.onnx_file import FILE, KEY, PREFIX
from maskhub.onnx_session import open_session

__all__ = ["convolutions", "export_int8", "quantized", "ranges"]

LIMIT = 0.7
"""Of 255: by how much 8 bits may change the result. The most sensitive convolutions stay in float32 to keep it."""
LARGE = 50_000
"""Weights of more numbers are never scaled, so that they are those in the safetensors."""
REFERRED = 4096
"""Unscaled weights of this many numbers or more are taken from there."""
SAMPLES = 2000
"""Values of each activation that are kept of each calibration image."""
FEW = 6
"""Calibration images on which single convolutions are tried."""
HALF_STEP = np.float32(0.98 / 255)
"""Added to the input, so that values of photos lie on the grid of 8 bits that has 0 at 127. (A little less than half a
step, so that all of them round the same way.)"""
PIXELS = (np.float32(1 / 127.5), np.uint8(127))
"""Scale and zero point of that grid."""


class Convolution(NamedTuple):
    """A convolution in a graph: its node, and the names of its input and of its output (after a rectifier, if any)."""

    node: object
    input: str
    output: str


def export_int8(network, path, images, noise=()):
    """Write a generator as an 8-bit graph that takes its large weights from the network's safetensors.

    Args:
        network, path: a generator whose graph can be exported, and the file.
        images: float32 array N×3×R×R in [-1, 1], calibration images as the network gets them.
        noise: list of float32 arrays 1×C×h×w, for a network that takes noise.

    Returns:
        dict: name of each convolution → the change of the result, of 255, if it alone is quantized; ``None`` → the
        change by the written graph. Both are mean absolute differences where the network changes the images.

    Raises:
        MissingExtraError: onnx or onnxscript is missing. CheckpointError: the graph can't be exported, or no layer can
        be quantized within the limits. WriteError: it can't be written.
    """
    require("export")
    import onnx

    with tempfile.TemporaryDirectory(prefix="maskhub-int8-") as folder:
        export_onnx(network, Path(folder) / FILE, images.shape[-1])
        graph = channels_last(_with_biases(onnx.load(Path(folder) / FILE)))
    feeds = [{"images": one[None], **{f"noise_{n}": level for n, level in enumerate(noise)}} for one in images]
    wanted = _results(graph, feeds)

    def error(tried, count):
        return _change(feeds[:count], wanted[:count], _results(tried, feeds[:count]))

    graph, errors = _chosen(graph, feeds[:FEW], lambda tried: error(tried, FEW))
    grids = ranges(graph, feeds)
    layers = sorted(errors, key=errors.get)
    errors[None] = np.inf
    while layers:
        made = quantized(graph, layers, grids)
        errors[None] = error(made, len(feeds))
        if errors[None] <= LIMIT:
            break
        layers.pop()
    if not layers:
        raise CheckpointError(f"this {type(network).__name__} can't compute in 8 bits within {LIMIT} of 255.")
    given = dict(numpy_weights(network))
    _take_weights_out(made, given)
    onnx.helper.set_model_props(made, {KEY: network_fingerprint(network)})
    write_file(path, made.SerializeToString())
    return errors


def convolutions(graph):
    """Name of each convolution's weights, without prefix and ``.weight`` → :class:`Convolution`."""
    readers, found = {}, {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    weights = {tensor.name for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and weights.issuperset(node.input[1:]):
            after = readers.get(node.output[0], [])
            relu = len(after) == 1 and after[0].op_type == "Relu"
            name = node.input[1].removeprefix(PREFIX).removesuffix(".weight")
            found[name] = Convolution(node, node.input[0], after[0].output[0] if relu else node.output[0])
    return found


def ranges(graph, feeds, names=None):
    """Run a graph on calibration inputs: name of each convolution's input and output, or of these tensors → (scale,
    zero point) of its 8 bits, with the range clipped where that gives the least squared error."""
    if names is None:
        names = sorted({name for one in convolutions(graph).values() for name in one[1:]} - {"images"})
    values, rng = {name: [] for name in names}, np.random.default_rng(0)
    limits = {name: [0.0, 0.0] for name in names}
    session = _session(_with_outputs(graph, names))
    for feed in feeds:
        for name, array in zip(names, session.run(names, feed), strict=True):
            limits[name] = [min(limits[name][0], array.min()), max(limits[name][1], array.max())]
            values[name].append(rng.choice(array.ravel(), SAMPLES))
    grids = {name: _grid(np.concatenate(values[name]), *limits[name]) for name in names}
    return grids | dict.fromkeys(_photos(graph), PIXELS)


def quantized(graph, layers, grids):
    """A copy of a graph in which these convolutions compute in 8 bits, written as QuantizeLinear and DequantizeLinear
    around them; ``grids`` are their activations' :func:`ranges`."""
    from onnx import helper, numpy_helper

    graph = copy.deepcopy(graph)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    every, photos, nodes, done = convolutions(graph), _photos(graph), list(graph.graph.node), set()

    def add(name, array):
        graph.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(kind, inputs, output, **options):
        nodes.append(helper.make_node(kind, inputs, [output], f"{output}_{kind}", **options))
        return output

    def rounded(name):
        if name not in done:
            done.add(name)
            grid = [add(f"{name}_{what}", value) for what, value in zip(("scale", "zero"), grids[name], strict=True)]
            raised = name not in photos or node("Add", [name, add(f"{name}_half", HALF_STEP)], f"{name}_raised")
            codes = node("QuantizeLinear", [name if raised is True else raised, *grid], f"{name}_codes")
            node("DequantizeLinear", [codes, *grid], f"{name}_rounded")
        return f"{name}_rounded"

    def dequantized(name, codes, scale):
        inputs = [add(f"{name}_codes", codes), add(f"{name}_scale", scale)]
        return node(
            "DequantizeLinear",
            [*inputs, add(f"{name}_zero", 0 * codes[:, 0, 0, 0] if codes.ndim > 1 else 0 * codes)],
            f"{name}_rounded",
            axis=0,
        )

    for name in layers:
        convolution, before, after = every[name]
        weight, bias = (arrays[given] for given in convolution.input[1:])
        codes, scale = _coded(weight)
        steps = grids[before][0] * scale
        bias = bias - weight.sum((1, 2, 3)) / 255 if before in photos else bias
        for reader in graph.graph.node:
            for place, given in enumerate(reader.input):
                if given == after:
                    reader.input[place] = rounded(after)
        inputs = (
            dequantized(convolution.input[1], codes, scale),
            dequantized(convolution.input[2], np.rint(bias / steps).astype(np.int32), steps),
        )
        for place, given in enumerate((rounded(before), *inputs)):
            convolution.input[place] = given
    sort_nodes(graph, nodes)
    return graph


def _with_biases(graph):
    """The graph with zeros as the biases of convolutions that have none."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type == "Conv" and len(node.input) == 2 and node.input[1] in weights:
            name = f"{node.input[1].removesuffix('weight')}bias"
            zeros = np.zeros(weights[node.input[1]].dims[0], np.float32)
            graph.graph.initializer.append(numpy_helper.from_array(zeros, name))
            node.input.append(name)
    return graph


def _chosen(graph, feeds, error):
    """The graph with the channels of convolutions scaled where that helps, and each one's error if it alone is
    quantized."""
    grids, peaks, errors = ranges(graph, feeds), _peaks(graph, feeds), {}
    for name in convolutions(graph):
        errors[name] = error(quantized(graph, [name], grids))
        scaled = _equalized(graph, name, peaks)
        if scaled is not None:
            others = grids | ranges(scaled, feeds, [convolutions(graph)[name].input])
            tried = error(quantized(scaled, [name], others))
            if tried < errors[name]:
                graph, errors[name], grids = scaled, tried, others
    return graph, errors


def _equalized(graph, name, peaks):
    """A copy with the input channels of a convolution scaled so that activations and weights have similar ranges in
    all of them; None if what comes before can't be scaled, or the weights are to stay as they are."""
    from onnx import numpy_helper

    graph = copy.deepcopy(graph)
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    makers = {made: node for node in graph.graph.node for made in node.output}
    node, given, _ = convolutions(graph)[name]
    before = makers.get(given)
    if before is not None and before.op_type in ("Relu", "Transpose"):
        before = makers.get(before.input[0])
    kind = before.op_type if before is not None else None
    if kind not in ("Conv", "SimplifiedLayerNormalization") or makers[given].op_type not in ("Relu", "Transpose"):
        return None
    changed = [node.input[1], *before.input[1:]]
    arrays = [numpy_helper.to_array(tensors[name]) for name in changed]
    if max(array.size for array in arrays) >= LARGE:
        return None
    most = np.abs(arrays[0]).max((0, 2, 3)).clip(1e-6)
    times = np.sqrt(most / peaks[given].clip(1e-6))
    times = (times / np.exp(np.log(times).mean())).clip(0.05, 20).astype(np.float32)
    for tensor, array in zip(changed, arrays, strict=True):
        shaped = times.reshape(-1, *[1] * (array.ndim - 1))
        array = array / times[:, None, None] if tensor == changed[0] else array * shaped
        tensors[tensor].CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor))
    return graph


def _peaks(graph, feeds):
    """Name of each convolution's input → the largest value of each channel."""
    names = sorted({one.input for one in convolutions(graph).values()} - {"images"})
    session, peaks = _session(_with_outputs(graph, names)), dict.fromkeys(names, 0.0)
    for feed in feeds:
        for name, array in zip(names, session.run(names, feed), strict=True):
            peaks[name] = np.maximum(peaks[name], np.abs(array).max((0, 2, 3)))
    return peaks


def _photos(graph):
    """Names of the images and of everything that only has their values in another order."""
    found = {"images"}
    for node in graph.graph.node:
        if node.op_type in ("Transpose", "Reshape", "Pad") and node.input[0] in found:
            found.add(node.output[0])
    return found


def _grid(values, low, high):
    """Scale and zero point of 8 bits for values between these limits, clipped where that gives the least error."""
    best, low, high = np.inf, min(low, 0.0), max(high, 0.0)
    for share in np.linspace(1, 0.4, 25):
        scale = np.float32(max((high - low) * share / 255, 1e-12))
        zero = np.uint8(np.clip(np.rint(-low * share / scale), 0, 255))
        error = np.square(((np.rint(values / scale) + zero).clip(0, 255) - zero) * scale - values).mean()
        if error < best:
            best, grid = error, (scale, zero)
    return grid


def _coded(weight):
    """int8 codes and one scale for each output channel, clipped where that gives the least squared error."""
    flat = weight.reshape(len(weight), -1)
    most = np.abs(flat).max(1, keepdims=True).clip(1e-12)
    best, scales = np.full((len(flat), 1), np.inf), most / 127
    for clip in np.linspace(1, 0.6, 9):
        scale = most * clip / 127
        error = np.square(np.rint(flat / scale).clip(-127, 127) * scale - flat).sum(1, keepdims=True)
        scales, best = np.where(error < best, scale, scales), np.minimum(best, error)
    scales = scales.astype(np.float32)
    return np.rint(flat / scales).clip(-127, 127).astype(np.int8).reshape(weight.shape), scales[:, 0]


def _take_weights_out(graph, given):
    """Replace large weights, in 8 bits or not, by references to the network's float32 ones, by name."""
    from onnx import TensorProto, helper, numpy_helper

    kept, nodes = [], list(graph.graph.node)
    for tensor in graph.graph.initializer:
        name, coded = tensor.name.removesuffix("_codes"), tensor.name.endswith("_codes")
        own = given.get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
        array = numpy_helper.to_array(tensor)
        if own is None or array.size < REFERRED or not np.array_equal(_coded(own)[0] if coded else own, array):
            kept.append(tensor)
            continue
        outside = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=own.shape)
        outside.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights"), ("offset", "0"), ("length", str(own.nbytes))):
            outside.external_data.add(key=key, value=value)
        kept.append(outside)
        if coded:
            inputs = [name, f"{name}_scale", f"{name}_zero"]
            nodes.append(helper.make_node("QuantizeLinear", inputs, [tensor.name], f"{tensor.name}_made", axis=0))
    inside = {one.name: f"own/{one.name}" for one in kept if one.data_location != TensorProto.EXTERNAL}
    for one in kept:  # only references have names of the network's weights
        one.name = inside.get(one.name, one.name)
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = inside.get(name, name)
    graph.graph.ClearField("initializer")
    graph.graph.initializer.extend(kept)
    sort_nodes(graph, nodes)


def _with_outputs(graph, names):
    from onnx import TensorProto, helper

    graph = copy.deepcopy(graph)
    graph.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return graph


def _session(graph):
    return open_session(graph.SerializeToString())


def _results(graph, feeds):
    session = _session(graph)
    return [session.run(None, feed)[0] for feed in feeds]


def _change(feeds, wanted, made):
    """Mean difference of 255 between two lists of results where the first changed the images."""
    changes = []
    for feed, one, other in zip(feeds, wanted, made, strict=True):
        before, one, other = (np.rint((array.clip(-1, 1) + 1) * 127.5) for array in (feed["images"], one, other))
        inside = (one != before).any(1)
        if inside.mean() > 0.02:
            changes.append(np.abs(one - other).mean(1)[inside].mean())
    return float(np.mean(changes)) if changes else 0.0
