"""ONNX graphs as TFLite files for LiteRT: pictures N×H×W×C, convolutions in 8 bits where the graph quantizes them.

In Chromium, LiteRT computes a 3×3 convolution in 8 bits three times as fast as onnxruntime's WASM does, one in float32
one and a half times as fast. Only the operators of the site's networks are known here.
"""

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper
from tflite_file import FIRST, LAST, Grid, Operator, TfliteFile

__all__ = ["to_tflite"]

VALID, SAME = schema.Padding.VALID, schema.Padding.SAME
NUMPY = {Operator.ADD: np.add, Operator.SUB: np.subtract, Operator.MUL: np.multiply}


def to_tflite(model, half=True):
    """The bytes of a TFLite file that computes what an ONNX model does.

    Args:
        model: an ``onnx.ModelProto`` with weights inside, for inputs of one size.
        half: store the float32 weights in half precision.

    Raises:
        ValueError: an operator, or a use of one, that is not known here.
    """
    return _Conversion(model, half).file()


class _Conversion:
    """Each ONNX tensor is a constant in ``arrays``, a tensor of the file in ``tensors``, or in 8 bits: ``rounded`` is
    the name of what a DequantizeLinear makes → the name of what it takes."""

    def __init__(self, model, half):
        self.model, self.made = model, TfliteFile(half)
        self.arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.codes, self.tensors, self.rounded, self.done, self.readers = {}, {}, {}, set(), {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def file(self):
        for value in self.model.graph.input:
            shape = [size.dim_value for size in value.type.tensor_type.shape.dim]
            self.tensors[value.name] = self.made.tensor([shape[axis] for axis in LAST], last=True)
        for node in self.model.graph.node:
            convert = getattr(self, f"_{node.op_type.lower()}", None)
            if convert is None:
                raise ValueError(f"the operator {node.op_type} is not known here.")
            if id(node) not in self.done:
                convert(node, {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute})
        graph = self.model.graph
        inputs = {value.name: self.tensors[value.name] for value in graph.input}
        return self.made.finish(inputs, {value.name: self.float(value.name) for value in graph.output})

    def float(self, name):
        """A tensor by its name in the ONNX graph, dequantized if need be."""
        if name not in self.tensors:
            if name in self.rounded:
                self.tensors[name] = self.made.add(Operator.DEQUANTIZE, [self.tensors[self.rounded[name]]])
            else:
                self.tensors[name] = self.made.constant(self.arrays[name])
        return self.tensors[name]

    def plain(self, name):
        """The same in ONNX's own order of axes."""
        given = self.float(name)
        return self.made.transposed(given, FIRST) if given.last else given

    def picture(self, given):
        """A tensor, N×H×W×C."""
        return given if given.last else self.made.transposed(given, LAST, last=True)

    def single(self, node):
        """The only reader of a node's result; None if there are several."""
        readers = self.readers.get(node.output[0], [])
        return readers[0] if len(readers) == 1 else None

    # 8 bits

    def _quantizelinear(self, node, options):
        source, (scale, zero) = node.input[0], (self.arrays[name] for name in node.input[1:])
        if source not in self.arrays:
            given = self.float(source)
            self.tensors[node.output[0]] = self.made.add(
                Operator.QUANTIZE, [given], options=schema.QuantizeOptionsT(), grid=self._grid(node)
            )
            return
        limits, array = np.iinfo(zero.dtype), self.arrays[source]
        codes = np.rint(array / _along(scale, array, options)) + _along(zero, array, options)
        self.arrays[node.output[0]] = codes.clip(limits.min, limits.max).astype(zero.dtype)

    def _dequantizelinear(self, node, options):
        codes, (scale, zero) = node.input[0], (self.arrays[name] for name in node.input[1:])
        if codes not in self.arrays:
            self.rounded[node.output[0]] = codes
            return
        array = self.arrays[codes]
        self.codes[node.output[0]] = array, scale
        centred = array.astype(np.float32) - _along(zero, array, options)
        self.arrays[node.output[0]] = (centred * _along(scale, array, options)).astype(np.float32)

    def _grid(self, node):
        """The grid of a QuantizeLinear, with int8 in place of uint8."""
        scale, zero = (self.arrays[name] for name in node.input[1:])
        return Grid(np.float32(scale), int(zero) - (128 if zero.dtype == np.uint8 else 0))

    # convolutions and what has windows

    def _conv(self, node, options):
        weight, group = self.arrays[node.input[1]], options.get("group", 1)
        deep = group > 1 or (weight.shape[:2] == (1, 1) and weight.shape[2] > 1)
        if deep and (weight.shape[1] != 1 or group != len(weight)):
            raise ValueError("a convolution in groups is not known here.")
        after = self.single(node)
        relu = after if after is not None and after.op_type == "Relu" else None
        after = self.single(relu) if relu is not None else after
        small = after is not None and after.op_type == "QuantizeLinear"
        small = small and node.input[0] in self.rounded and node.input[1] in self.codes
        if small:
            source = self.picture(self.tensors[self.rounded[node.input[0]]])
        else:
            source = self.picture(self.float(node.input[0]))
        chosen = schema.DepthwiseConv2DOptionsT() if deep else schema.Conv2DOptionsT()
        chosen.strideH, chosen.strideW = options["strides"]
        chosen.dilationHFactor = chosen.dilationWFactor = chosen.depthMultiplier = 1
        if relu is not None:
            chosen.fusedActivationFunction = schema.ActivationFunctionType.RELU
            self.done.add(id(relu))
        source, chosen.padding = self._padded(source, weight.shape[2:], options)
        inputs = [source, *self._weights(node, deep, source.grid if small else None)]
        shape = [1, *_sizes(source.shape, weight.shape[2:], options["strides"], chosen.padding), len(weight)]
        operator = Operator.DEPTHWISE_CONV_2D if deep else Operator.CONV_2D
        made = self.made.add(operator, inputs, shape, chosen, self._grid(after) if small else None, last=True)
        self.tensors[(after if small else relu or node).output[0]] = made
        if small:
            self.done.add(id(after))

    def _weights(self, node, deep, grid):
        """Weights and bias of a convolution, whole numbers if its input has a grid."""
        order, axis = ([1, 2, 3, 0], 3) if deep else (LAST, 0)
        weight = self.arrays[node.input[1]]
        bias = self.arrays[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), np.float32)
        if grid is None:
            return self.made.constant(weight.transpose(order)), self.made.constant(bias)
        codes, scale = self.codes[node.input[1]]
        zero, steps = np.zeros(len(scale), int), grid.scale * scale
        numbers = np.rint(bias / steps).astype(np.int32)
        weights = self.made.constant(codes.transpose(order), Grid(scale, zero, axis))
        return weights, self.made.constant(numbers, Grid(steps, zero))

    def _padded(self, source, kernel, options):
        """A picture, with a border if TFLite's own padding would be another; and the padding."""
        pads = list(options.get("pads", [0] * 4))
        if not any(pads):
            return source, VALID
        if options["strides"] == [1, 1] and pads == [size // 2 for size in kernel] * 2:
            return source, SAME
        return self.made.bordered(source, *pads), VALID

    def _pool(self, node, options, operator):
        source = self.picture(self.float(node.input[0]))
        kernel, chosen = options["kernel_shape"], schema.Pool2DOptionsT()
        uneven = any(size % step for size, step in zip(source.shape[1:3], kernel, strict=True))
        if any(options.get("pads", [])) or uneven:
            raise ValueError("pooling with a border is not known here.")
        (chosen.filterHeight, chosen.filterWidth), (chosen.strideH, chosen.strideW) = kernel, options["strides"]
        chosen.padding = VALID
        shape = [1, *_sizes(source.shape, kernel, options["strides"], VALID), source.shape[3]]
        self.tensors[node.output[0]] = self.made.add(operator, [source], shape, chosen)

    def _maxpool(self, node, options):
        self._pool(node, options, Operator.MAX_POOL_2D)

    def _averagepool(self, node, options):
        self._pool(node, options, Operator.AVERAGE_POOL_2D)

    def _resize(self, node, options):
        given = self.picture(self.float(node.input[0]))
        if len(node.input) > 3 and node.input[3]:
            sizes = [int(size) for size in self.arrays[node.input[3]][2:]]
        else:
            sizes = [int(size * by) for size, by in zip(given.shape[1:3], self.arrays[node.input[2]][2:], strict=True)]
        mode, place = options["mode"], options["coordinate_transformation_mode"]
        if (mode, place, options["nearest_mode"]) == (b"nearest", b"asymmetric", b"floor"):
            operator, chosen = Operator.RESIZE_NEAREST_NEIGHBOR, schema.ResizeNearestNeighborOptionsT()
        elif (mode, place) == (b"linear", b"half_pixel"):
            operator, chosen = Operator.RESIZE_BILINEAR, schema.ResizeBilinearOptionsT()
            chosen.halfPixelCenters = True
        else:
            raise ValueError(f"resizing by {mode}, {place} is not known here.")
        shape = [1, *sizes, given.shape[3]]
        self.tensors[node.output[0]] = self.made.add(operator, [given, self.made.whole(*sizes)], shape, chosen)

    # single values

    def _same(self, node, operator, options=None):
        self.tensors[node.output[0]] = self.made.add(operator, [self.float(node.input[0])], options=options)

    def _relu(self, node, options):
        self._same(node, Operator.RELU)

    def _sigmoid(self, node, options):
        self._same(node, Operator.LOGISTIC)

    def _tanh(self, node, options):
        self._same(node, Operator.TANH)

    def _softmax(self, node, options):
        chosen = schema.SoftmaxOptionsT()
        chosen.beta = 1.0
        self._same(node, Operator.SOFTMAX, chosen)

    def _clip(self, node, options):
        given = self.float(node.input[0])
        for operator, name in zip((Operator.MAXIMUM, Operator.MINIMUM), node.input[1:], strict=True):
            limit = self.made.constant(self.arrays[name].reshape(1))
            given = self.made.add(operator, [given, limit], options=schema.MaximumMinimumOptionsT())
        self.tensors[node.output[0]] = given

    def _both(self, node, operator, options):
        """An operator on two tensors, of which one may be a constant."""
        arrays = [self.arrays.get(name) for name in node.input]
        if all(array is not None for array in arrays):
            self.arrays[node.output[0]] = NUMPY[operator](*arrays)
            return
        named = list(zip(node.input, arrays, strict=True))
        last = any(self.float(name).last for name, array in named if array is None)
        given = []
        for name, array in named:
            if array is None:
                given.append(self.picture(self.float(name)) if last else self.float(name))
            else:
                turned = array.transpose(LAST) if last and array.ndim == 4 else array
                given.append(self.made.constant(turned.reshape(-1) if array.size == 1 else turned))
        shape = np.broadcast_shapes(*(one.shape for one in given))
        self.tensors[node.output[0]] = self.made.add(operator, given, shape, options, last=last)

    def _add(self, node, options):
        self._both(node, Operator.ADD, schema.AddOptionsT())

    def _sub(self, node, options):
        self._both(node, Operator.SUB, schema.SubOptionsT())

    def _mul(self, node, options):
        self._both(node, Operator.MUL, schema.MulOptionsT())

    # axes

    def _transpose(self, node, options):
        order, given = list(options["perm"]), self.float(node.input[0])
        if order == (LAST if given.last else FIRST):  # the file has it in this order already
            self.tensors[node.output[0]] = given._replace(last=not given.last)
        else:
            self.tensors[node.output[0]] = self.made.transposed(self.plain(node.input[0]), order)

    def _reshape(self, node, options):
        given = self.plain(node.input[0])
        count, sizes = int(np.prod(given.shape)), [int(size) for size in self.arrays[node.input[1]]]
        shape = [count // -int(np.prod(sizes)) if size == -1 else size for size in sizes]
        self.tensors[node.output[0]] = self.made.reshaped(given, shape)

    def _squeeze(self, node, options):
        given, axes = self.plain(node.input[0]), {int(axis) for axis in self.arrays[node.input[1]]}
        shape = [size for axis, size in enumerate(given.shape) if axis not in axes]
        self.tensors[node.output[0]] = self.made.reshaped(given, shape)

    def _slice(self, node, options):
        (start,), (end,), (axis,) = (self.arrays[name] for name in node.input[1:4])
        if len(node.input) > 4 and self.arrays[node.input[4]] != 1:
            raise ValueError("a slice with steps is not known here.")
        given = self.plain(node.input[0])
        self.tensors[node.output[0]] = self.made.part(given, axis, start, min(end, given.shape[axis]))

    def _split(self, node, options):
        given, start = self.float(node.input[0]), 0
        axis = LAST.index(options["axis"]) if given.last else options["axis"]
        for name, size in zip(node.output, self.arrays[node.input[1]], strict=True):
            self.tensors[name] = self.made.part(given, axis, start, start + size)
            start += size

    def _gather(self, node, options):
        given, place, axis = self.plain(node.input[0]), int(self.arrays[node.input[1]]), options.get("axis", 0)
        part = self.made.part(given, axis, place, place + 1)
        shape = [size for at, size in enumerate(given.shape) if at != axis]
        self.tensors[node.output[0]] = self.made.reshaped(part, shape)

    def _concat(self, node, options):
        given, chosen = [self.plain(name) for name in node.input], schema.ConcatenationOptionsT()
        chosen.axis = axis = options["axis"]
        shape = list(given[0].shape)
        shape[axis] = sum(one.shape[axis] for one in given)
        self.tensors[node.output[0]] = self.made.add(Operator.CONCATENATION, given, shape, chosen)

    # sums over axes

    def _simplifiedlayernormalization(self, node, options):
        """x · gain / √(mean x² + ε) over the last axis."""
        given, add = self.float(node.input[0]), self.made.add
        if given.last or options["axis"] != -1:
            raise ValueError("a norm over other axes is not known here.")
        thin, kept = [*given.shape[:-1], 1], schema.ReducerOptionsT()
        kept.keepDims = True
        square = add(Operator.MUL, [given, given], options=schema.MulOptionsT())
        mean = add(Operator.MEAN, [square, self.made.whole(len(thin) - 1)], thin, kept)
        least = self.made.constant(np.float32([options["epsilon"]]))
        share = add(Operator.RSQRT, [add(Operator.ADD, [mean, least], options=schema.AddOptionsT())])
        made = add(Operator.MUL, [given, share], options=schema.MulOptionsT())
        gain = self.made.constant(self.arrays[node.input[1]])
        self.tensors[node.output[0]] = add(Operator.MUL, [made, gain], options=schema.MulOptionsT())

    def _matmul(self, node, options):
        one, other = (self.plain(name) for name in node.input)
        shape = [*one.shape[:-1], other.shape[-1]]
        self.tensors[node.output[0]] = self.made.add(
            Operator.BATCH_MATMUL, [one, other], shape, schema.BatchMatMulOptionsT()
        )

    def _gemm(self, node, options):
        given, (weight, bias) = self.plain(node.input[0]), (self.arrays[name] for name in node.input[1:])
        inputs = [given, self.made.constant(weight), self.made.constant(bias)]
        shape = [given.shape[0], len(weight)]
        self.tensors[node.output[0]] = self.made.add(
            Operator.FULLY_CONNECTED, inputs, shape, schema.FullyConnectedOptionsT()
        )

    def _reduce(self, node, options, operator):
        given = self.picture(self.float(node.input[0]))
        if sorted(int(axis) % 4 for axis in self.arrays[node.input[1]]) != [2, 3] or options.get("keepdims", 1):
            raise ValueError("a reduction over other axes is not known here.")
        shape = [given.shape[0], given.shape[3]]
        self.tensors[node.output[0]] = self.made.add(
            operator, [given, self.made.whole(1, 2)], shape, schema.ReducerOptionsT(), last=False
        )

    def _reducemean(self, node, options):
        self._reduce(node, options, Operator.MEAN)

    def _reducemax(self, node, options):
        self._reduce(node, options, Operator.REDUCE_MAX)


def _along(values, array, options):
    """One value, or values along an axis, in a form that is computed with an array."""
    return (
        values.reshape([-1 if axis == options.get("axis", 1) else 1 for axis in range(array.ndim)])
        if values.ndim
        else values
    )


def _sizes(shape, kernel, strides, padding):
    """Height and width after a convolution or pooling."""
    less = [0, 0] if padding == SAME else [size - 1 for size in kernel]
    return [-(-(size - off) // step) for size, off, step in zip(shape[1:3], less, strides, strict=True)]
