"""A TFLite graph as an ONNX one: the few operators of MediaPipe's face landmarks, nothing more."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

__all__ = ["tflite_to_onnx"]

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_TYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT32: np.int32,
}
_SAME = 0
"""TFLite's padding that keeps ceil(size / stride)."""


def tflite_to_onnx(path, opset):
    """Convert a file of float weights.

    Pictures become N×C×H×W: the graph's input is 1×3×H×W, and its outputs are flat.

    Args:
        path: of the TFLite file.
        opset: of ONNX.

    Returns:
        ``onnx.ModelProto`` with input ``images`` and the outputs named as in the file.

    Raises:
        ValueError: an operator, or a use of one, that is not known here.
    """
    with open(path, "rb") as file:
        model = schema.ModelT.InitFromPackedBuf(file.read(), 0)
    return _Conversion(model).model(opset)


class _Conversion:
    def __init__(self, model):
        self.buffers, self.codes, self.graph = model.buffers, model.operatorCodes, model.subgraphs[0]
        self.nodes, self.weights, self.constants = [], [], {}

    def model(self, opset):
        source = self.graph.inputs[0]
        for operator in self.graph.operators:
            code = self.codes[operator.opcodeIndex]
            name = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
            convert = getattr(self, f"_{name.lower()}", None)
            if convert is None:
                raise ValueError(f"the operator {name} is not known here.")
            convert(operator)
        outputs = []
        for index in self.graph.outputs:
            name = self._tensor(index).name.decode()
            self.nodes.append(helper.make_node("Flatten", [self._name(index)], [name], axis=1))
            outputs.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, int(np.prod(self._shape(index)))])
            )
        _, height, width, channels = self._shape(source)
        given = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, channels, height, width])
        self.nodes.insert(0, helper.make_node("Identity", ["images"], [self._name(source)]))
        graph = helper.make_graph(self.nodes, "landmarks", [given], outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)

    def _tensor(self, index):
        return self.graph.tensors[index]

    def _shape(self, index):
        return [int(size) for size in self._tensor(index).shape]

    def _name(self, index):
        return f"t{index}"

    def _value(self, index):
        """The numbers of a constant tensor."""
        if index in self.constants:
            return self.constants[index]
        tensor = self._tensor(index)
        data = self.buffers[tensor.buffer].data
        return np.frombuffer(bytes(bytearray(data)), _TYPES[tensor.type]).reshape(self._shape(index))

    def _weight(self, array, name):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name))
        return name

    def _add_node(self, kind, operator, inputs, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [self._name(operator.outputs[0])], **attributes))

    def _dequantize(self, operator):
        self.constants[operator.outputs[0]] = self._value(operator.inputs[0]).astype(np.float32)

    def _conv_2d(self, operator):
        self._convolve(operator, self._value(operator.inputs[1]).transpose(0, 3, 1, 2), 1)

    def _depthwise_conv_2d(self, operator):
        weight = self._value(operator.inputs[1]).transpose(3, 0, 1, 2)
        self._convolve(operator, weight, len(weight))

    def _convolve(self, operator, weight, group):
        options = operator.builtinOptions
        self._plain(options)
        out = self._name(operator.outputs[0])
        inputs = [self._name(operator.inputs[0]), self._weight(weight, f"{out}_weight")]
        inputs.append(self._weight(self._value(operator.inputs[2]), f"{out}_bias"))
        strides = [options.strideH, options.strideW]
        pads = self._pads(options, operator.inputs[0], weight.shape[2:], strides)
        self._add_node("Conv", operator, inputs, group=group, strides=strides, pads=pads)

    def _pads(self, options, source, kernel, strides):
        if options.padding != _SAME:
            return [0, 0, 0, 0]
        begins, ends = [], []
        for size, side, stride in zip(self._shape(source)[1:3], kernel, strides, strict=True):
            whole = max((-(-size // stride) - 1) * stride + int(side) - size, 0)
            begins.append(whole // 2)
            ends.append(whole - whole // 2)
        return begins + ends

    def _plain(self, options):
        if options.fusedActivationFunction:
            raise ValueError("a fused activation is not known here.")

    def _prelu(self, operator):
        slope = self._value(operator.inputs[1]).reshape(-1, 1, 1)
        name = self._weight(slope, f"{self._name(operator.outputs[0])}_slope")
        self._add_node("PRelu", operator, [self._name(operator.inputs[0]), name])

    def _add(self, operator):
        self._plain(operator.builtinOptions)
        self._add_node("Add", operator, [self._name(index) for index in operator.inputs])

    def _max_pool_2d(self, operator):
        options = operator.builtinOptions
        self._plain(options)
        kernel, strides = [options.filterHeight, options.filterWidth], [options.strideH, options.strideW]
        pads = self._pads(options, operator.inputs[0], kernel, strides)
        self._add_node(
            "MaxPool", operator, [self._name(operator.inputs[0])], kernel_shape=kernel, strides=strides, pads=pads
        )

    def _pad(self, operator):
        pads = self._value(operator.inputs[1])[[0, 3, 1, 2]]  # to N, C, H, W
        name = f"{self._name(operator.outputs[0])}_pads"
        self.weights.append(numpy_helper.from_array(pads.T.ravel().astype(np.int64), name))
        self._add_node("Pad", operator, [self._name(operator.inputs[0]), name])

    def _logistic(self, operator):
        self._add_node("Sigmoid", operator, [self._name(operator.inputs[0])])

    def _reshape(self, operator):
        # of 1×1×1×1 only, which Flatten makes alike whatever the order of its axes
        if np.prod(self._shape(operator.inputs[0])) != max(self._shape(operator.inputs[0])):
            raise ValueError("a reshape of more than one axis is not known here.")
        self._add_node("Flatten", operator, [self._name(operator.inputs[0])], axis=1)
