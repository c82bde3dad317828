"""Rewrite ONNX graphs so that what surrounds their convolutions computes channels last.

onnxruntime's 8-bit convolutions take and return N×H×W×C. Norms over the channels, pixel shuffles, and what adds or
rectifies their values are therefore written in that order, between transpositions which onnxruntime cancels out against
each other.
"""

import numpy as np

__all__ = ["channels_last", "elementwise_last", "sort_nodes"]

FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def channels_last(graph):
    """Rewrite a graph in place, with the same results, for images of one size and batches of any.

    Returns:
        tuple: the graph, and the new orders of weights: name → (axis, order of its old channels).
    """
    from onnx import numpy_helper

    rewriting, orders = _Rewriting(graph), {}
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in list(graph.graph.node):
        if node.op_type == "Mul":
            rewriting.norm(node)
        elif node.op_type in ("DepthToSpace", "Conv"):
            source = rewriting.makers.get(node.input[0])
            if node.op_type == "Conv":
                order = rewriting.unshuffle(node)
                changed = {} if order is None else {node.input[1]: (1, order)}
            elif source is not None and source.op_type == "Conv":
                order = rewriting.shuffle(node)
                changed = dict.fromkeys(source.input[1:], (0, order))
            else:
                changed = {}
            for name, (axis, order) in changed.items():
                array = np.take(numpy_helper.to_array(weights[name]), order, axis)
                weights[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))
                orders[name] = axis, order
    sort_nodes(graph, rewriting.nodes())
    return graph, orders


def elementwise_last(graph):
    """Rewrite a graph in place so that additions, rectifications and multiplications by channel compute channels last
    too, where their neighbours do: float32 convolutions then take their input in that order, which onnxruntime reads
    directly, but only if the file says so. The results are the same bits."""
    from onnx import helper, numpy_helper

    tensors, nodes = {tensor.name: tensor for tensor in graph.graph.initializer}, list(graph.graph.node)
    chosen = _elementwise_near_transposes(nodes, tensors)
    last = {node.output[0]: node.input[0] for node in nodes if _transposes(node, FIRST)}
    made, same = [], {}

    def turned(name):
        if name not in last:
            last[name] = f"{name}/last"
            if name in tensors:
                array = np.ascontiguousarray(numpy_helper.to_array(tensors[name]).transpose(LAST))
                graph.graph.initializer.append(numpy_helper.from_array(array, last[name]))
            else:
                made.append(helper.make_node("Transpose", [name], [last[name]], f"{name}/to_last", perm=LAST))
        return last[name]

    for node in nodes:
        if id(node) in chosen:
            name, inputs = node.output[0], [turned(given) for given in node.input]
            last[name] = f"{name}/last"
            made.append(helper.make_node(node.op_type, inputs, [last[name]], node.name))
            made.append(helper.make_node("Transpose", [last[name]], [name], f"{name}/to_first", perm=FIRST))
        elif _transposes(node, LAST) and node.input[0] in last:
            same[node.output[0]] = last[node.input[0]]
        else:
            made.append(node)
    for node in made:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
    sort_nodes(graph, made)
    return graph


def _elementwise_near_transposes(nodes, tensors):
    """The ids of elementwise nodes from which other such nodes lead to a transposition from or to channels last."""

    def by_channel(name):
        return name not in tensors or (len(tensors[name].dims) == 4 and list(tensors[name].dims[2:]) == [1, 1])

    names = {node.output[0] for node in nodes if _transposes(node, FIRST)}
    names |= {node.input[0] for node in nodes if _transposes(node, LAST)}
    waiting = [node for node in nodes if node.op_type in ("Add", "Mul", "Relu") and all(map(by_channel, node.input))]
    chosen = set()
    while near := [node for node in waiting if names & {*node.input, *node.output}]:
        chosen |= {id(node) for node in near}
        names |= {name for node in near for name in (*node.input, *node.output)} - tensors.keys()
        waiting = [node for node in waiting if id(node) not in chosen]
    return chosen


def _transposes(node, order):
    return node.op_type == "Transpose" and list(node.attribute[0].ints) == order


def sort_nodes(graph, nodes):
    """Make these the nodes of a graph, each after those whose results it takes; nodes and initializers that no result
    depends on are left out."""
    makers = {name: node for node in nodes for name in node.output}
    done, order, waiting = set(), [], [makers[value.name] for value in reversed(graph.graph.output)]
    while waiting:
        node = waiting[-1]
        before = [makers[name] for name in node.input if name in makers and id(makers[name]) not in done]
        if before:
            waiting.extend(before)
            continue
        waiting.pop()
        if id(node) not in done:
            done.add(id(node))
            order.append(node)
    used = {name for node in order for name in node.input}
    tensors = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    for field, values in (("node", order), ("initializer", tensors), ("value_info", [])):
        values = [type(value).FromString(value.SerializeToString()) for value in values]
        graph.graph.ClearField(field)
        getattr(graph.graph, field).extend(values)


class _Rewriting:
    """The new nodes of a graph, and those that they replace."""

    def __init__(self, graph):
        import onnx

        self.graph, self.new, self.old = graph, [], set()
        self.makers = {name: node for node in graph.graph.node for name in node.output}
        self.tensors = {tensor.name for tensor in graph.graph.initializer}
        known = onnx.shape_inference.infer_shapes(graph).graph
        self.shapes = {
            value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
            for value in (*known.value_info, *known.input)
        }

    def nodes(self):
        return [node for node in self.graph.graph.node if id(node) not in self.old] + self.new

    def add(self, kind, inputs, output, **options):
        from onnx import helper

        self.new.append(helper.make_node(kind, inputs, [output], f"{output}_{kind}", **options))
        return output

    def constant(self, name, values):
        from onnx import numpy_helper

        self.graph.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def norm(self, node):
        """Replace x · gain / √(mean x² + ε) over the channels, of which ``node`` is the multiplication by the gain."""
        gain = next((name for name in node.input if name in self.tensors), None)
        chain = ("Mul", "Reciprocal", "Sqrt", "Add", "ReduceMean", "Pow")
        found, at = [node], next((name for name in node.input if name != gain), None)
        for kind in chain:
            inner = self.makers.get(at)
            if gain is None or inner is None or inner.op_type != kind:
                return
            found.append(inner)
            follows = chain[chain.index(kind) + 1] if kind != "Pow" else None
            names = [name for name in inner.input if getattr(self.makers.get(name), "op_type", None) == follows]
            at = names[0] if names else None
        x, channels = found[-1].input[0], self.shapes[found[-1].input[0]][1]
        if x not in found[1].input:
            return
        out = node.output[0]
        scale = self.constant(f"{out}/gain", self._value(gain).reshape(channels))
        epsilon = next(self._value(name) for name in found[4].input if name in self.tensors)
        there = self.add("Transpose", [x], f"{out}/1", perm=LAST)
        made = self.add(
            "SimplifiedLayerNormalization", [there, scale], f"{out}/2", axis=-1, epsilon=float(epsilon), stash_type=1
        )
        self.old.add(id(node))  # the other nodes are left out, since nothing takes their results
        self.add("Transpose", [made], out, perm=FIRST)

    def shuffle(self, node):
        """Replace a pixel shuffle; returns the new order of the channels before it."""
        out = node.output[0]
        (_, channels, height, width), (_, fewer, tall, wide) = self.shapes[node.input[0]], self.shapes[out]
        times = tall // height
        x = self.add("Transpose", [node.input[0]], f"{out}/1", perm=LAST)
        shape = self.constant(f"{out}/shape", [-1, width, times, times * fewer])
        x = self.add("Reshape", [x, shape], f"{out}/2")
        x = self.add("Transpose", [x], f"{out}/3", perm=[0, 2, 1, 3])
        x = self.add("Reshape", [x, self.constant(f"{out}/size", [-1, tall, wide, fewer])], f"{out}/4")
        self.old.add(id(node))
        self.add("Transpose", [x], out, perm=FIRST)
        return np.arange(channels).reshape(fewer, -1).T.ravel()

    def unshuffle(self, convolution):
        """Replace what folds the images' pixels into channels before a convolution; returns the new order of these
        channels, or None if there is no such thing."""
        last = self.makers.get(convolution.input[0])
        middle = self.makers.get(last.input[0]) if last is not None and last.op_type == "Reshape" else None
        first = self.makers.get(middle.input[0]) if middle is not None and middle.op_type == "Transpose" else None
        if first is None or first.op_type != "Reshape" or list(middle.attribute[0].ints) != [0, 1, 3, 5, 2, 4]:
            return None
        source, out = first.input[0], convolution.input[0]
        (_, fewer, tall, _), (_, channels, height, width) = self.shapes[source], self.shapes[out]
        times = tall // height
        x = self.add("Transpose", [source], f"{out}/1", perm=LAST)
        x = self.add("Reshape", [x, self.constant(f"{out}/shape", [-1, times, width, times * fewer])], f"{out}/2")
        x = self.add("Transpose", [x], f"{out}/3", perm=[0, 2, 1, 3])
        x = self.add("Reshape", [x, self.constant(f"{out}/size", [-1, height, width, channels])], f"{out}/4")
        convolution.input[0] = self.add("Transpose", [x], f"{out}/folded", perm=FIRST)
        return np.arange(channels).reshape(fewer, -1).T.ravel()

    def _value(self, name):
        from onnx import numpy_helper

        return numpy_helper.to_array(next(tensor for tensor in self.graph.graph.initializer if tensor.name == name))
