"""Take the weights out of an 8-bit ONNX graph: it refers to the network's float32 ones, which onnxruntime rounds as it
loads, and stores one bit for each, up or down."""

import numpy as np

from maskhub.models.channels_last import sort_nodes
from maskhub.models.onnx_file import PREFIX

__all__ = ["take_weights_out"]

REFERRED = 4096
"""Weights of fewer numbers stay in the graph."""


def take_weights_out(graph, given, orders, rules):
    """Replace large weights, in 8 bits or not, by references, in place.

    Args:
        graph: from :func:`~maskhub.models.int8.quantized`.
        given: name → float32 array of the network's weights.
        orders: from :func:`~maskhub.models.channels_last.channels_last`.
        rules: name of each convolution → scales and largest absolute values of its rounded weights, one for each output
            channel.
    """
    from onnx import numpy_helper

    kept, made, renamed = [], [], {}
    for tensor in graph.graph.initializer:
        name, coded = tensor.name.removesuffix("_codes"), tensor.name.endswith("_codes")
        array, own = numpy_helper.to_array(tensor), given.get(name.removeprefix(PREFIX))
        parts = None
        if own is not None and array.size >= REFERRED and name.startswith(PREFIX):
            rule = rules[name.removeprefix(PREFIX).removesuffix(".weight")] if coded else None
            parts = _reference(name, own, array, orders.get(name), rule)
        if parts is None:  # only references have names of the network's weights
            renamed[tensor.name] = tensor.name = f"own/{tensor.name}"
            kept.append(tensor)
            continue
        kept += parts[0]
        made += parts[1]
        renamed[tensor.name] = parts[2]
    nodes = list(graph.graph.node)
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
    graph.graph.ClearField("initializer")
    graph.graph.initializer.extend(kept)
    sort_nodes(graph, nodes + made)


def _reference(name, own, array, order, rule):
    """Initializers and nodes that make this array from the network's own weights, and its name; None if they can't."""
    from onnx import TensorProto, helper, numpy_helper

    tensors, nodes = [TensorProto(name=name, data_type=TensorProto.FLOAT, dims=own.shape)], []
    tensors[0].data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights"), ("offset", "0"), ("length", str(own.nbytes))):
        tensors[0].external_data.add(key=key, value=value)

    def node(kind, *inputs, **options):
        names = []
        for given in inputs:
            if not isinstance(given, str):
                tensors.append(numpy_helper.from_array(given, f"{name}/{kind}/{len(tensors)}"))
            names.append(given if isinstance(given, str) else tensors[-1].name)
        nodes.append(helper.make_node(kind, names, [f"{name}/{len(nodes)}"], f"{name}/{kind}/{len(nodes)}", **options))
        return nodes[-1].output[0]

    made = name
    if order is not None:
        axis, order = order
        own, made = own.take(order, axis), node("Gather", name, order, axis=axis)
    if rule is None:
        return (tensors, nodes, made) if np.array_equal(own, array) else None
    scale, limit = (values[:, None, None, None] for values in rule)
    low = np.floor(own / scale)
    up = array > low
    if own.size % 8 or not np.array_equal((low + up).clip(-limit, limit), array):
        return None
    made = node("Floor", node("Div", made, scale))
    bits = node(
        "BitShift", np.packbits(up, bitorder="little")[:, None], np.arange(8, dtype=np.uint8), direction="RIGHT"
    )
    bits = node("Cast", node("BitwiseAnd", bits, np.uint8(1)), to=TensorProto.FLOAT)
    made = node("Add", made, node("Reshape", bits, np.array(own.shape)))
    made = node("Max", node("Min", made, limit), -limit)
    return tensors, nodes, node("Cast", made, to=TensorProto.INT8)
