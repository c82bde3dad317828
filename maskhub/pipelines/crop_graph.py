"""ONNX graphs of generators that take and return pictures, for programs in other languages.

    export_crop_graph(network, "onnx/unmasker.onnx", resolution=256)

The graph contains what surrounds the network in Python, so that a caller only has to cut out the face, resize it, and
blend the result:

* ``crop``: uint8 N×R×R×3, RGB, aligned as by :func:`maskhub.faces.align.crop`;
* ``result``: uint8 N×R×R×3, the translated crop;
* ``region``: float32 N×R×R in [0, 1], the opacity of the result, 0 at the edges: photo + region · (result - photo).

A network that takes noise has further inputs ``noise_0``, ``noise_1``, ..., float32 1×C×h×w, which may be left out: the
graph holds one draw of each. The weights are stored in half precision.
"""

import copy
import warnings

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from maskhub.errors import CheckpointError, ConfigError
from maskhub.extras import require
from maskhub.faces import align
from maskhub.files import write_file
from maskhub.models.export import OPSET, quiet_export
from maskhub.onnx_session import open_session
from maskhub.pipelines.changed import ATTENTIVE, COARSE, FINE

__all__ = ["FOLDER", "export_crop_graph"]

FOLDER = "onnx"
"""Folder of these graphs in a pipeline, where Hugging Face's JavaScript libraries look for ONNX files."""
TOLERANCE = 1
"""Largest allowed difference from torch, of 255: half-precision weights may round another way."""
SMALLEST = 64
"""Weights of fewer numbers stay in float32, and so do those with values beyond half precision."""
HALF_LIMIT = 60000


def export_crop_graph(network, path, resolution):
    """Write a generator of three channels for crops of R×R pixels, with its pre- and post-processing, as the ONNX file
    ``path``; returns the largest difference of a result from torch's, of 255. MissingExtraError if onnx or onnxscript
    is missing, ConfigError if the network always draws random numbers, CheckpointError if the graph's results differ.
    """
    require("export")
    import onnx

    if network.config.get("noisy"):
        raise ConfigError(
            f"this {type(network).__name__} keeps dropout on (noisy), so its graph would not be deterministic."
        )
    network = nn.Module.to(copy.deepcopy(network), "cpu", torch.float32).eval()
    draws = torch.Generator().manual_seed(0)
    noise = network.draw_noise(1, resolution, resolution, draws) if network.takes_noise else []
    module, crops = _Crops(network, resolution), _example(resolution)
    names = [f"noise_{number}" for number in range(len(noise))]
    with torch.no_grad(), warnings.catch_warnings(), quiet_export():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim("batch", min=1, max=1 << 16)}, [{}] * len(noise))  # torch 2.6 needs the bounds
        program = torch.onnx.export(
            torch.export.export(module, (crops, noise), dynamic_shapes=free), dynamo=True, optimize=True,
            opset_version=OPSET, input_names=["crop", *names], output_names=["result", "region"], verbose=False,
        )  # fmt: skip
        wanted = [tensor.numpy() for tensor in module(crops, noise)]
    graph = _packed(program.model_proto, dict(zip(names, noise, strict=True)))
    onnx.checker.check_model(graph)
    data = graph.SerializeToString()
    result, region = open_session(data).run(None, {"crop": crops.numpy()})
    difference = int(np.abs(result.astype(np.int16) - wanted[0]).max())
    if difference > TOLERANCE or np.abs(region - wanted[1]).mean() > 0.01:
        raise CheckpointError(f"this {type(network).__name__} differs from its ONNX graph by {difference} of 255.")
    write_file(path, data)
    return difference


class _Crops(nn.Module):
    """A generator on uint8 crops, and the region that it changed (:func:`maskhub.pipelines.changed.changed_region`)."""

    def __init__(self, network, side):
        super().__init__()
        self.network, self.side = network, side
        matrix = np.array([[1.0, 0, -side], [0, 1, -side]])  # a crop in the middle of a photo
        window = align.window(matrix, side, np.empty((3 * side, 3 * side, 3)))
        self.register_buffer("window", torch.from_numpy(window.astype(np.float32)))
        for name, (_, _, smooth) in (("fine", FINE), ("coarse", COARSE)):
            size = round(8 * smooth * side + 1) | 1  # as OpenCV's GaussianBlur chooses it
            kernel = cv2.getGaussianKernel(size, smooth * side, cv2.CV_32F)
            self.register_buffer(name, torch.from_numpy(kernel).view(1, 1, -1, 1))

    def forward(self, crop, noise):
        images = crop.permute(0, 3, 1, 2).float() / 127.5 - 1
        made = self.network(images, noise=noise) if noise else self.network(images)
        result = ((made.clamp(-1, 1) + 1) * 127.5).round()
        change = (result - crop.permute(0, 3, 1, 2).float()).abs().mean(1, keepdim=True)
        attentive = (change > 0).float().mean((1, 2, 3), keepdim=True) < ATTENTIVE
        fine, coarse = _ramp(change, self.fine, FINE), _ramp(change, self.coarse, COARSE)
        region = torch.where(attentive, fine, coarse)[:, 0] * self.window
        return result.permute(0, 2, 3, 1).to(torch.uint8), region


def _ramp(change, kernel, limits):
    """The changes, smoothed, from 0 to 1 between the two limits."""
    low, high, _ = limits
    change = F.pad(change, [kernel.shape[2] // 2] * 4, mode="reflect")
    change = F.conv2d(F.conv2d(change, kernel), kernel.transpose(2, 3))
    ramp = ((change - low) / (high - low)).clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _example(side):
    """Two pictures with the smoothness of photos, uint8 2×R×R×3."""
    rough = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = F.interpolate(rough, size=(side, side), mode="bicubic", align_corners=False).clamp(0, 1)
    return (smooth * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _packed(model, noise):
    """The model with large weights in half precision, the noise as default of its inputs, and no exporter's notes."""
    from onnx import TensorProto, helper, numpy_helper

    initializers, casts = [numpy_helper.from_array(level.numpy(), name) for name, level in noise.items()], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size >= SMALLEST and np.abs(array).max() < HALF_LIMIT:
            half = numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}_half")
            initializers.append(half)
            casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        else:
            initializers.append(tensor)
    nodes = [*casts, *model.graph.node]
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
    graph = helper.make_graph(nodes, "maskhub", model.graph.input, model.graph.output, initializers)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=10, producer_name="maskhub")
