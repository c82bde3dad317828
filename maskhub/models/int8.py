"""Export networks as ONNX graphs whose convolutions compute in 8 bits, for onnxruntime on CPUs.

    error = export_int8(network, "unmasker/graph-int8.onnx", images)

Static quantization (Jacob and others: "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018) of weights, per output channel, and of activations, whose ranges come
from calibration images. Six things make it precise and fast:

* photos have 8 bits anyway, so the network's input is quantized without loss;
* weights are rounded up or down so that their errors cancel out (:mod:`maskhub.models.rounding`);
* neighbouring weights are so small that their products overflow on no processor;
* where it helps, an output's channels are brought to the same range before rounding, as their weights are scaled;
* each convolution is quantized alone first: those that lose most for the time they save stay in float32;
* what is between them computes channels last, as 8-bit convolutions do, so that hardly anything is transposed.

The file takes its large weights from the safetensors next to it and stores a bit for each, up or down. onnxruntime
rounds them as it loads, so it has less than a megabyte.
"""

import copy
import tempfile
from pathlib import Path

import numpy as np

from maskhub.errors import CheckpointError
from maskhub.extras import require
from maskhub.files import write_file
from maskhub.models.calibration import calibrated, convolutions
from maskhub.models.channels_last import channels_last, elementwise_last, sort_nodes
from maskhub.models.export import export_onnx, network_fingerprint, numpy_weights
from maskhub.models.onnx_file import FILE, KEY, NARROW
from maskhub.models.referred import take_weights_out
from maskhub.models.rounding import rounded_weights
from maskhub.onnx_session import open_session

__all__ = ["export_int8", "int8_graph"]

LIMIT = 0.45
"""Of 255: by how much 8 bits may change the result. The most sensitive convolutions stay in float32 to keep it."""
FEW = 8
"""Calibration images on which single convolutions are tried."""
WORTH = 0.9
"""An output has a scale for each channel if that reduces the error to this share: it costs a multiplication."""
MOVED = 130
"""Multiplications for which a number of a float32 output can be put into the order that others need."""
HALF_STEP = np.float32(0.98 / 255)
"""Added to the input, so that values of photos lie on the grid of 8 bits that has 0 at 127. (A little less than half a
step, so that all of them round the same way.)"""
PIXELS = (np.float32(1 / 127.5), np.uint8(127))
"""Scale and zero point of that grid."""


def export_int8(network, path, images, noise=()):
    """Write a generator as an 8-bit graph that takes its large weights from the network's safetensors.

    Args:
        network, path: a generator whose graph can be exported, and the file.
        images, noise: as for :func:`int8_graph`.

    Returns:
        dict: the errors from :func:`int8_graph`.

    Raises:
        WriteError: it can't be written. Those of :func:`int8_graph`.
    """
    import onnx

    graph, errors, orders, rounded = _made(network, images, noise)
    rules = {name: rule for name, (_, *rule, _) in rounded.items()}
    take_weights_out(graph, dict(numpy_weights(network)), orders, rules)
    onnx.helper.set_model_props(graph, {KEY: network_fingerprint(network), NARROW: "1"})
    write_file(path, graph.SerializeToString())
    return errors


def int8_graph(network, images, noise=()):
    """A generator as an 8-bit graph with its weights.

    Args:
        network: a generator whose graph can be exported.
        images: float32 array N×3×R×R in [-1, 1], calibration images as the network gets them.
        noise: list of float32 arrays 1×C×h×w, for a network that takes noise.

    Returns:
        tuple: the ``onnx.ModelProto``, with the inputs and the output of :mod:`maskhub.models.export`, and the errors:
        name of each convolution → the change of the result, of 255, if it alone is quantized; ``None`` → the change by
        the graph. Both are mean absolute differences where the network changes the images.

    Raises:
        MissingExtraError: onnx or onnxscript is missing. CheckpointError: the graph can't be exported, or no layer can
        be quantized within the limits.
    """
    return _made(network, images, noise)[:2]


def _made(network, images, noise):
    """What :func:`int8_graph` returns, the orders from :func:`~maskhub.models.channels_last.channels_last`, and the
    rounded weights of each convolution."""
    require("export")
    import onnx

    with tempfile.TemporaryDirectory(prefix="maskhub-int8-") as folder:
        export_onnx(network, Path(folder) / FILE, images.shape[-1])
        graph, orders = channels_last(_with_biases(onnx.load(Path(folder) / FILE)))
    feeds = [{"images": one[None], **{f"noise_{n}": level for n, level in enumerate(noise)}} for one in images]
    wanted = _results(graph, feeds)
    calibration = calibrated(graph, feeds, wanted)
    calibration.grids.update(dict.fromkeys(_photos(graph), PIXELS))
    arrays, every = _arrays(graph), convolutions(graph)
    rounded = {
        name: rounded_weights(arrays[one.node.input[1]], calibration.moments[name]) for name, one in every.items()
    }

    def error(layers, scaled, step=1):
        made = quantized(graph, layers, calibration, rounded, scaled)
        return made, _change(feeds[::step], wanted[::step], _results(made, feeds[::step]))

    scaled, errors, few = set(), {}, max(len(feeds) // FEW, 1)
    for name, one in every.items():
        errors[name] = error([name], scaled, few)[1]
        if not one.rectified:
            tried = error([name], {name}, few)[1]
            if tried < WORTH * errors[name]:
                scaled.add(name)
                errors[name] = tried
    work = {name: _work(rounded[name][0], calibration.sizes[one.output]) for name, one in every.items()}
    layers = [name for name in every if errors[name] <= LIMIT]
    layers.sort(key=lambda name: errors[name] ** 2 / work[name])
    while layers:
        made, errors[None] = error(layers, scaled)
        if errors[None] <= LIMIT:
            return elementwise_last(made), errors, orders, rounded
        layers.pop()
    raise CheckpointError(f"this {type(network).__name__} can't compute in 8 bits within {LIMIT} of 255.")


def _work(weight, size):
    """What a convolution costs more in float32 than in 8 bits, in multiplications."""
    return weight.size * np.prod(size[1:]) + MOVED * np.prod(size)


def quantized(graph, layers, calibration, rounded, scaled=()):
    """A copy of a graph in which these convolutions compute in 8 bits, written as QuantizeLinear and DequantizeLinear
    around them; ``rounded`` are all :func:`~maskhub.models.rounding.rounded_weights`, and ``scaled`` the names of those
    whose outputs have a scale for each channel."""
    made = _Quantizing(copy.deepcopy(graph), calibration)
    read = {made.convolutions[name].input for name in layers}
    for name in layers:
        one = made.convolutions[name]
        codes, scales, _, shift = rounded[name]
        made.quantize(one, codes, scales, shift, name in scaled and one.output not in read)
    sort_nodes(made.graph, made.nodes)
    return made.graph


class _Quantizing:
    """A graph, its old and new nodes, and the names of its values once rounded."""

    def __init__(self, graph, calibration):
        from onnx import helper

        self.graph, self.calibration, self.nodes, self.done = graph, calibration, list(graph.graph.node), {}
        self.convolutions, self.photos, self.arrays = convolutions(graph), _photos(graph), _arrays(graph)
        raised = self.node("Add", ["images", self.constant("images_half", HALF_STEP)], "images_raised")
        limits = [self.constant(f"images_{number}", value) for number, value in enumerate(PIXELS)]
        self.node("QuantizeLinear", [raised, *limits], "images_codes")
        for one in graph.graph.node:  # what puts pixels into another order does so with their codes
            if one.output[0] in self.photos:
                options = {given.name: helper.get_attribute_value(given) for given in one.attribute}
                self.node(one.op_type, [f"{one.input[0]}_codes", *one.input[1:]], f"{one.output[0]}_codes", **options)

    def constant(self, name, array):
        from onnx import numpy_helper

        self.graph.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind, inputs, output, **options):
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], f"{output}_{kind}", **options))
        return output

    def quantize(self, convolution, codes, scales, shift, scaled):
        node, before, after, _ = convolution
        readers = [(one, place) for one in self.graph.graph.node for place, at in enumerate(one.input) if at == after]
        grid, times = self.calibration.grids[before], np.float32(1)
        if scaled:
            peaks = self.calibration.peaks[after]
            times = np.maximum(peaks, 0.02 * peaks.mean()).clip(1e-12) / 127
            channels = self.constant(f"{after}_times", times[None, :, None, None])
            small = self.node("Mul", [self.on_grid(after, 1, 128), channels], f"{after}_scaled")
        else:
            small = self.on_grid(after, *self.calibration.grids[after])
        for reader, place in readers:
            reader.input[place] = small
        bias = self.arrays[node.input[2]] + shift
        if before in self.photos:
            bias = bias - scales * codes.sum((1, 2, 3), dtype=np.float32) / 255
        bias = np.rint(bias / (grid[0] * scales)).astype(np.int32)
        node.input[0] = self.on_grid(before, *grid)
        node.input[1] = self.dequantized(node.input[1], codes, scales / times)
        node.input[2] = self.dequantized(node.input[2], bias, grid[0] * scales / times)

    def on_grid(self, name, scale, zero):
        """The name of these values, rounded."""
        if name not in self.done:
            limits = [self.constant(f"{name}_scale", np.float32(scale)), self.constant(f"{name}_zero", np.uint8(zero))]
            if name not in self.photos:
                self.node("QuantizeLinear", [name, *limits], f"{name}_codes")
            self.done[name] = self.node("DequantizeLinear", [f"{name}_codes", *limits], f"{name}_rounded")
        return self.done[name]

    def dequantized(self, name, codes, scales):
        zeros = self.constant(f"{name}_zero", np.zeros_like(codes, shape=len(codes)))
        inputs = [self.constant(f"{name}_codes", codes), self.constant(f"{name}_scale", scales), zeros]
        return self.node("DequantizeLinear", inputs, f"{name}_rounded", axis=0)


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


def _photos(graph):
    """Names of the images and of everything that only has their values in another order."""
    found = {"images"}
    for node in graph.graph.node:
        mirrored = node.op_type == "Pad" and any(one.s in (b"reflect", b"edge") for one in node.attribute)
        if (mirrored or node.op_type in ("Transpose", "Reshape")) and node.input[0] in found:
            found.add(node.output[0])
    return found


def _arrays(graph):
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}


def _results(graph, feeds):
    session = open_session(graph.SerializeToString(), narrow=True)
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
