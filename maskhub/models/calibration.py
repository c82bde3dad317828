"""What the convolutions of an ONNX graph compute on calibration images, for their computation in 8 bits."""

import copy
from typing import NamedTuple

import numpy as np

from maskhub.models.onnx_file import PREFIX
from maskhub.models.rounding import grid
from maskhub.onnx_session import open_session

__all__ = ["Calibration", "Convolution", "calibrated", "convolutions"]

SPOTS = 256
"""Pixels of each activation that are kept of each calibration image."""
OUTSIDE = 0.05
"""Probability of a pixel where the network changes nothing to be kept, relative to others. What is computed there
hardly matters, but must not come out as a change."""


class Convolution(NamedTuple):
    """A convolution in a graph: its node, the names of its input and of its output (after a rectifier, if any), and
    whether there is one."""

    node: object
    input: str
    output: str
    rectified: bool


class Calibration(NamedTuple):
    """By the names of activations: ``grids`` → (scale, zero point) of 8 bits; ``peaks`` → the largest absolute value of
    each channel; ``sizes`` → their shape without the batch. By the names of convolutions: ``moments`` → as
    :func:`~maskhub.models.rounding.rounded_weights` takes them."""

    grids: dict
    peaks: dict
    sizes: dict
    moments: dict


def convolutions(graph):
    """Name of each plain convolution's weights, without prefix and ``.weight`` → :class:`Convolution`."""
    readers, found = {}, {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    weights = {tensor.name for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        if node.op_type != "Conv" or len(node.input) != 3 or not weights.issuperset(node.input[1:]):
            continue
        if _attribute(node, "group", 1) != 1 or set(_attribute(node, "dilations", [1])) != {1}:
            continue
        after = readers.get(node.output[0], [])
        relu = len(after) == 1 and after[0].op_type == "Relu"
        name = node.input[1].removeprefix(PREFIX).removesuffix(".weight")
        found[name] = Convolution(node, node.input[0], after[0].output[0] if relu else node.output[0], relu)
    return found


def calibrated(graph, feeds, wanted):
    """Run a graph with float32 weights on calibration inputs, whose results are known: :class:`Calibration`."""
    every, rng = convolutions(graph), np.random.default_rng(0)
    names = sorted({name for one in every.values() for name in (one.input, one.output)} - {"images"})
    kernels = {tensor.name: tensor.dims[2:] for tensor in graph.graph.initializer if len(tensor.dims) == 4}
    session = open_session(with_outputs(graph, names).SerializeToString())
    values, peaks, moments = {name: [] for name in names}, dict.fromkeys(names, 0.0), dict.fromkeys(every, 0.0)
    limits = {name: [0.0, 0.0] for name in names}
    for feed, result in zip(feeds, wanted, strict=True):
        changed = (np.abs(result - feed["images"]) > 1 / 255).any((0, 1))
        arrays = {name: array[0] for name, array in zip(names, session.run(names, feed), strict=True)}
        arrays["images"] = feed["images"][0]
        for name in names:
            array = arrays[name]
            values[name].append(array[(slice(None), *_spots(array.shape[1:], changed, rng))])
            peaks[name] = np.maximum(peaks[name], np.abs(array).max((1, 2)))
            limits[name] = [min(limits[name][0], array.min()), max(limits[name][1], array.max())]
        for name, one in every.items():
            spots = _spots(arrays[one.output].shape[1:], changed, rng)
            patches = _patches(arrays[one.input], one.node, kernels[one.node.input[1]], spots)
            moments[name] = moments[name] + patches.T @ patches
    grids = {name: grid(np.concatenate([part.ravel() for part in values[name]]), *limits[name]) for name in names}
    return Calibration(grids, peaks, {name: array.shape for name, array in arrays.items()}, moments)


def with_outputs(graph, names):
    """A copy of a graph that also returns these values."""
    from onnx import TensorProto, helper

    graph = copy.deepcopy(graph)
    graph.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return graph


def _spots(size, changed, rng):
    """Rows and columns of some pixels of an activation, most of them where the result differs from the image."""
    rows, columns = (np.arange(own) * whole // own for own, whole in zip(size, changed.shape, strict=True))
    if rows.size * columns.size <= SPOTS:
        return np.divmod(np.arange(rows.size * columns.size), columns.size)
    chances = np.where(changed[np.ix_(rows, columns)], 1.0, OUTSIDE).ravel()
    return np.divmod(rng.choice(chances.size, SPOTS, p=chances / chances.sum()), columns.size)


def _patches(array, node, kernel, spots):
    """The inputs C×H×W of a convolution at these pixels of its output, n×(C·k·k + 1), with a last value of 1."""
    top, left, bottom, right = _attribute(node, "pads", [0, 0, 0, 0])
    tall, wide = _attribute(node, "strides", [1, 1])
    padded = np.pad(array, ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (1, 2))
    taken = windows[:, spots[0] * tall, spots[1] * wide].transpose(1, 0, 2, 3).reshape(len(spots[0]), -1)
    return np.concatenate([taken, np.ones((len(taken), 1), np.float32)], 1)


def _attribute(node, name, default):
    from onnx import helper

    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)
