"""Export networks as ONNX graphs whose convolutions compute in 8 bits, for onnxruntime on CPUs.

    error = export_int8(network, "unmasker/graph-int8.onnx", images)

Static quantization (Jacob and others: "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018) of weights, per output channel, and of activations, whose ranges come
from calibration images. Five things make it precise and fast:

* photos have 8 bits anyway, so the network's input is quantized without loss;
* weights are rounded up or down so that their errors cancel out (:mod:`maskhub.models.rounding`);
* channels of small outputs are brought to the same range before rounding, as the weights that make them are scaled;
* each convolution is quantized alone first: those that lose most for the time they save stay in float32;
* norms and pixel shuffles compute channels last, as 8-bit convolutions do, so that nothing has to be transposed.

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
from maskhub.models.channels_last import channels_last, sort_nodes
from maskhub.models.export import export_onnx, network_fingerprint, numpy_weights
from maskhub.models.onnx_file import FILE, KEY
from maskhub.models.referred import take_weights_out
from maskhub.models.rounding import rounded_weights
from maskhub.onnx_session import open_session

__all__ = ["export_int8", "int8_graph"]

LIMIT = 0.4
"""Of 255: by how much 8 bits may change the result. The most sensitive convolutions stay in float32 to keep it."""
FEW = 8
"""Calibration images on which single convolutions are tried."""
SMALL = 100_000
"""Outputs of up to this many numbers get a scale for each channel, which costs a multiplication: 0.03 ms, or 0.3 ms for
one of half a million numbers."""
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
    scales = {name: scales for name, (_, scales, _) in rounded.items()}
    take_weights_out(graph, dict(numpy_weights(network)), orders, scales)
    onnx.helper.set_model_props(graph, {KEY: network_fingerprint(network)})
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

    def error(layers, every=1):
        made = quantized(graph, layers, calibration, rounded)
        return made, _change(feeds[::every], wanted[::every], _results(made, feeds[::every]))

    errors = {name: error([name], max(len(feeds) // FEW, 1))[1] for name in every}
    work = {name: rounded[name][0].size * np.prod(calibration.sizes[one.output][1:]) for name, one in every.items()}
    layers = sorted(errors, key=lambda name: errors[name] ** 2 / work[name])
    while layers:
        made, errors[None] = error(layers)
        if errors[None] <= LIMIT:
            return made, errors, orders, rounded
        layers.pop()
    raise CheckpointError(f"this {type(network).__name__} can't compute in 8 bits within {LIMIT} of 255.")


def quantized(graph, layers, calibration, rounded):
    """A copy of a graph in which these convolutions compute in 8 bits, written as QuantizeLinear and DequantizeLinear
    around them; ``rounded`` are all :func:`~maskhub.models.rounding.rounded_weights`."""
    from onnx import helper, numpy_helper

    graph = copy.deepcopy(graph)
    every, photos, nodes, done = convolutions(graph), _photos(graph), list(graph.graph.node), {}
    arrays, read = _arrays(graph), {every[name].input for name in layers}

    def add(name, array):
        graph.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(kind, inputs, output, **options):
        nodes.append(helper.make_node(kind, inputs, [output], f"{output}_{kind}", **options))
        return output

    def on_grid(name, scale, zero):
        """The name of these values, rounded."""
        if name not in done:
            limits = [add(f"{name}_scale", np.float32(scale)), add(f"{name}_zero", np.uint8(zero))]
            if name not in photos:
                node("QuantizeLinear", [name, *limits], f"{name}_codes")
            done[name] = node("DequantizeLinear", [f"{name}_codes", *limits], f"{name}_rounded")
        return done[name]

    def dequantized(name, codes, scale):
        inputs = [
            add(f"{name}_codes", codes),
            add(f"{name}_scale", scale),
            add(f"{name}_zero", np.zeros_like(codes, shape=len(codes))),
        ]
        return node("DequantizeLinear", inputs, f"{name}_rounded", axis=0)

    raised = node("Add", ["images", add("images_half", HALF_STEP)], "images_raised")
    node("QuantizeLinear", [raised, *(add(f"images_{n}", value) for n, value in enumerate(PIXELS))], "images_codes")
    for one in graph.graph.node:  # what puts pixels into another order does so with their codes
        if one.output[0] in photos:
            twin = copy.deepcopy(one)
            twin.input[0], twin.output[0], twin.name = (
                f"{one.input[0]}_codes",
                f"{one.output[0]}_codes",
                f"{one.name}_codes",
            )
            nodes.append(twin)
    for name in layers:
        convolution, before, after, rectified = every[name]
        codes, scales, shift = rounded[name]
        bias = arrays[convolution.input[2]] + shift
        if before in photos:
            bias = bias - scales * codes.sum((1, 2, 3), dtype=np.float32) / 255
        readers = [
            (reader, place) for reader in graph.graph.node for place, given in enumerate(reader.input) if given == after
        ]
        times = np.float32(1)
        if rectified or after in read or np.prod(calibration.sizes[after]) > SMALL:
            small = on_grid(after, *calibration.grids[after])
        else:
            peaks = calibration.peaks[after]
            times = np.maximum(peaks, 0.02 * peaks.mean()).clip(1e-12) / 127
            channels = add(f"{after}_times", times[None, :, None, None])
            small = node("Mul", [on_grid(after, 1, 128), channels], f"{after}_scaled")
        for reader, place in readers:
            reader.input[place] = small
        convolution.input[0] = on_grid(before, *calibration.grids[before])
        convolution.input[1] = dequantized(convolution.input[1], codes, scales / times)
        steps = calibration.grids[before][0] * scales
        convolution.input[2] = dequantized(convolution.input[2], np.rint(bias / steps).astype(np.int32), steps / times)
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
    session = open_session(graph.SerializeToString())
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
