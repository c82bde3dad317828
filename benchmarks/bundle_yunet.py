"""Make the package's YuNet from the published one: the same numbers to the bit, in 93 % of the time.

    python benchmarks/bundle_yunet.py web/face_detection_yunet_2023mar.onnx maskhub/faces/weights/yunet.onnx

The published file is fixed to 640×640, though its graph works for any multiple of 32. On each of its three grids, four
heads of two convolutions each read the same 64 channels and make 1, 1, 4 and 10. onnxruntime computes 16 channels in
the time of one, so they become one head. Only the last convolution of the points stays alone, since onnxruntime adds
its ten channels up in another order.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from maskhub.faces.yunet import STRIDES
from maskhub.models.channels_last import sort_nodes

HEADS = ("cls", "obj", "bbox", "kps")


def with_one_head(published):
    """The graph for images float32 1×3×H×W. Its results on each grid, float32 1×C×h×w, are the two factors of the score
    (``score_8``), the box (``box_8``) and the points (``points_8``)."""
    model = onnx.ModelProto.FromString(published.SerializeToString())
    graph = model.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    sources = {name: node.input[0] for node in graph.node for name in node.input[1:2]}
    nodes = list(graph.node)
    for number in (0, 1, 2, 6, 16):  # the channels at which the slices begin and end, and their axis
        graph.initializer.append(numpy_helper.from_array(np.int64([number]), f"at_{number}"))
    graph.ClearField("output")

    def add(kind, inputs, output, **options):
        nodes.append(helper.make_node(kind, inputs, [output], output, **options))
        return output

    def parameters(level, layer):
        for kind in ("weight", "bias"):
            names = [f"bbox_head.multi_level_{head}.{level}.{layer}.{kind}" for head in HEADS]
            joined = np.concatenate([arrays[name] for name in names])
            graph.initializer.append(numpy_helper.from_array(joined, f"head.{level}.{layer}.{kind}"))
            yield f"head.{level}.{layer}.{kind}"

    for level, stride in enumerate(STRIDES):
        last = f"bbox_head.multi_level_kps.{level}.conv2"
        source = sources[f"bbox_head.multi_level_cls.{level}.conv1.weight"]
        first = add("Conv", [source, *parameters(level, "conv1")], f"first_{stride}", kernel_shape=[1, 1])
        # the last ten channels of the second are not used: 16 take no longer than 6
        window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        second = add("Conv", [first, *parameters(level, "conv2")], f"second_{stride}", group=16, **window)
        score = add("Slice", [second, "at_0", "at_2", "at_1"], f"logits_{stride}")
        points = add("Slice", [first, "at_6", "at_16", "at_1"], f"first_points_{stride}")
        results = {
            add("Sigmoid", [score], f"score_{stride}"): 2,
            add("Slice", [second, "at_2", "at_6", "at_1"], f"box_{stride}"): 4,
            add("Conv", [points, f"{last}.weight", f"{last}.bias"], f"points_{stride}", group=10, **window): 10,
        }
        for name, channels in results.items():
            shape = [1, channels, f"height_{stride}", f"width_{stride}"]
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    for dimension, name in zip(graph.input[0].type.tensor_type.shape.dim[2:], ("height", "width"), strict=True):
        dimension.dim_param = name
    sort_nodes(model, nodes)
    del graph.input[1:]  # the published file lists its weights as inputs too
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("published", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    options.output.write_bytes(with_one_head(onnx.load(options.published)).SerializeToString())


if __name__ == "__main__":
    main()
