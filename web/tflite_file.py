"""Writes TFLite files: tensors, constants and operators, one after the other."""

from typing import NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["FIRST", "LAST", "Grid", "Kind", "Operator", "Tensor", "TfliteFile", "fixed"]

Operator, Kind = schema.BuiltinOperator, schema.TensorType
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]
"""Orders of axes: from N×H×W×C to N×C×H×W, and back."""
HALVED = 16
"""float32 constants of this many numbers or more are stored in half precision."""
KINDS = {
    np.dtype(np.float32): Kind.FLOAT32,
    np.dtype(np.float16): Kind.FLOAT16,
    np.dtype(np.int32): Kind.INT32,
    np.dtype(np.int8): Kind.INT8,
}
VERSIONS = {Operator.CONV_2D: 3, Operator.DEPTHWISE_CONV_2D: 3, Operator.DEQUANTIZE: 3, Operator.PAD: 2}
"""Of the operators whose first version has no 8 bits, or no half precision."""


class Grid(NamedTuple):
    """The values of a tensor in 8 bits: one scale and zero point, or one for each place along an axis."""

    scale: object
    zero: object
    axis: int = 0


class Tensor(NamedTuple):
    """A tensor in a file: its number and shape there, its grid if it has 8 bits, and whether it is N×H×W×C where the
    graph that it comes from has N×C×H×W."""

    number: int
    shape: list
    grid: Grid | None = None
    last: bool = False


class TfliteFile:
    """A file being written.

    Args:
        half: store float32 constants in half precision. LiteRT widens them once, as it loads the file.
    """

    def __init__(self, half):
        self.half, self.codes, self.stored = half, {}, {}
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [schema.BufferT()], []
        self.model.subgraphs, self.graph.tensors, self.graph.operators = [self.graph], [], []

    def finish(self, inputs, outputs):
        """The file's bytes; ``inputs`` and ``outputs`` are name → :class:`Tensor`."""
        for name, tensor in (*inputs.items(), *outputs.items()):
            self.graph.tensors[tensor.number].name = name.encode()
        self.graph.inputs = [tensor.number for tensor in inputs.values()]
        self.graph.outputs = [tensor.number for tensor in outputs.values()]
        return _packed(self.model)

    def tensor(self, shape, kind=Kind.FLOAT32, grid=None, last=False):
        """Add a tensor."""
        made, shape = schema.TensorT(), [int(size) for size in shape]
        made.shape, made.type, made.buffer = shape, kind, 0
        made.name = f"t{len(self.graph.tensors)}".encode()
        if grid is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(grid.scale).astype(np.float32)
            made.quantization.zeroPoint = np.atleast_1d(grid.zero).astype(np.int64)
            made.quantization.quantizedDimension = grid.axis
        self.graph.tensors.append(made)
        return Tensor(len(self.graph.tensors) - 1, shape, grid, last)

    def constant(self, array, grid=None):
        """Add a tensor of constants, once if there is the same already."""
        array = np.ascontiguousarray(array)
        if self.half and array.dtype == np.float32 and array.size >= HALVED:
            return self.add(Operator.DEQUANTIZE, [self.constant(array.astype(np.float16))], array.shape)
        key = (array.tobytes(), array.dtype, array.shape) if grid is None else object()
        if key not in self.stored:
            made = self.stored[key] = self.tensor(array.shape, KINDS[array.dtype], grid)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(array.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            self.graph.tensors[made.number].buffer = len(self.model.buffers) - 1
        return self.stored[key]

    def whole(self, *numbers):
        """A constant of int32."""
        return self.constant(np.array(numbers, np.int32))

    def add(self, operator, inputs, shape=None, options=None, grid=None, last=None):
        """Add an operator; returns its result, which has the shape and the order of axes of the first input if nothing
        else is given, and 8 bits if there is a grid."""
        if operator not in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode = operator, min(operator, 127)
            code.version = VERSIONS.get(operator, 1)
            self.codes[operator] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        shape = inputs[0].shape if shape is None else shape
        last = inputs[0].last if last is None else last
        made = self.tensor(shape, Kind.FLOAT32 if grid is None else Kind.INT8, grid, last)
        added = schema.OperatorT()
        added.opcodeIndex, added.outputs = self.codes[operator], [made.number]
        added.inputs = [one.number for one in inputs]
        if options is not None:
            added.builtinOptions = options
            name = type(options).__name__.removesuffix("T")
            added.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        self.graph.operators.append(added)
        return made

    def transposed(self, given, order, last=False):
        """A tensor with its axes in another order."""
        shape, options = [given.shape[axis] for axis in order], schema.TransposeOptionsT()
        return self.add(Operator.TRANSPOSE, [given, self.whole(*order)], shape, options, given.grid, last)

    def reshaped(self, given, shape):
        """A tensor with other axes."""
        options = schema.ReshapeOptionsT()
        options.newShape = shape
        return self.add(Operator.RESHAPE, [given, self.whole(*shape)], shape, options, given.grid, False)

    def part(self, given, axis, start, end):
        """The part of a tensor from start to end along an axis of the file's."""
        begin, size = [0] * len(given.shape), list(given.shape)
        begin[axis], size[axis] = start, end - start
        inputs = [given, self.whole(*begin), self.whole(*size)]
        return self.add(Operator.SLICE, inputs, size, schema.SliceOptionsT(), given.grid)

    def bordered(self, given, top, left, bottom, right):
        """A picture with a border of zeros."""
        _, height, width, channels = given.shape
        border = self.constant(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
        shape = [1, height + top + bottom, width + left + right, channels]
        return self.add(Operator.PAD, [given, border], shape, schema.PadOptionsT(), given.grid)


def fixed(data):
    """A TFLite file for exactly one picture: LiteRT.js takes no inputs of unknown size."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None
    return _packed(model)


def _packed(model):
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
