"""Write what the static site computes with into ``web/models/``: ``python web/export.py [--model FOLDER]``.

Networks become ONNX graphs for onnxruntime-web: a batch of one, no sequence operators, large weights in 8 bits with one
scale for each output channel (clipped where that gives the least squared error), the others in half precision; both are
turned to float32 when the graph is loaded. The rule that draws masks becomes numbers: noise tiles, styles, the landmark
spline, and what numpy's generator draws for the first seeds.
"""

import argparse
import copy
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # so that `python web/export.py` finds maskhub

from tflite_graph import tflite_to_onnx  # noqa: E402

from maskhub import __version__  # noqa: E402
from maskhub.faces import detect, mesh, yunet  # noqa: E402
from maskhub.masks import fabric, fit, lighting, straps, styles  # noqa: E402
from maskhub.masks.detector import bundled_mask_detector  # noqa: E402
from maskhub.masks.wear import grain_tile  # noqa: E402
from maskhub.pipelines.face_mask import FaceMaskPipeline  # noqa: E402

OPSET = 20
SEEDS = 256
"""For how many seeds the rule's random numbers are written; the site goes round them."""
LARGE = 2048
"""Weights of this many numbers or more are written in 8 bits."""
EXACT = ("stem", "fine", "unfold", "out")
"""Layers at either end of a generator, whose weights stay in half precision: they halve the error for 0.15 MB."""
THINNED = 4
"""Of the smooth tile every fourth pixel says all: it has no finer waves."""
CODES = 24
"""Steps of the other tiles' 8-bit numbers in one standard deviation."""
CLIPS = np.linspace(1.0, 0.6, 9)
TOLERANCE = 2e-3
"""Largest difference in [-1, 1] between torch and a graph with float32 weights."""


def export(folder, model=None):
    """Write all files of the site's pipeline into a folder; returns name → bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pipe = FaceMaskPipeline.from_pretrained(model) if model else FaceMaskPipeline.bundled()
    side = pipe.config.resolution
    graphs = {
        "yunet": free_yunet(),
        "landmarks": packed(tflite_to_onnx(mesh.WEIGHTS, OPSET), exact=("",)),
        "mask-detector": packed(recorded(bundled_mask_detector(), bundled_mask_detector().config.resolution)),
        "unmasker": packed(recorded(pipe.unmasker, side), EXACT),
        "masker": packed(recorded(pipe.masker, side), EXACT),
    }
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    (folder / "rule.bin").write_bytes(rule_arrays())
    (folder / "rule.json").write_text(json.dumps(rule_numbers()), encoding="utf-8")
    noise = pipe.masker.config.noise if pipe.masker.takes_noise else 0
    sizes = [list(level.shape[2:]) for level in pipe.masker.draw_noise(1, side, side)] if noise else []
    about = {
        "version": __version__,
        "model": pipe.model_name,
        "resolution": side,
        "maskDetectorResolution": bundled_mask_detector().config.resolution,
        "noise": {"deviation": noise, "sizes": sizes},
        "wear": pipe.config.wear,
    }
    (folder / "pipeline.json").write_text(json.dumps(about), encoding="utf-8")
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def recorded(network, side):
    """A network's graph for one picture, with float32 weights, held against torch."""
    network = nn.Module.to(copy.deepcopy(network), "cpu", torch.float32).eval()
    noise = network.draw_noise(1, side, side) if getattr(network, "takes_noise", False) else []
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _OnePicture(network), (images, *noise), dynamo=True, optimize=True, opset_version=OPSET, verbose=False,
            input_names=["images", *(f"noise_{number}" for number in range(len(noise)))],
        )  # fmt: skip
        wanted = network(images, noise=noise) if noise else network(images)
    graph = program.model_proto
    for value, name in zip(graph.graph.output, ("translated",) if not isinstance(wanted, tuple) else (
        "presence", "region"), strict=True):  # fmt: skip
        _rename(graph, value.name, name)
    feeds = {"images": images.numpy(), **{f"noise_{number}": level.numpy() for number, level in enumerate(noise)}}
    found = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    for one, other in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        difference = float(np.abs(one - other.numpy()).max())
        if not difference <= TOLERANCE * max(1.0, float(other.abs().max())):
            raise SystemExit(f"the graph of {type(network).__name__} is off by {difference:.2g}: not written.")
    return graph


class _OnePicture(nn.Module):
    """A network with its noise as inputs."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, *noise):
        return self.network(images, noise=list(noise)) if noise else self.network(images)


def packed(graph, exact=()):
    """The graph with its weights in 8 bits or half precision, and without the exporter's notes."""
    initializers, nodes = [], []
    for tensor in graph.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < 16:
            initializers.append(tensor)
            continue
        name = tensor.name
        if array.size >= LARGE and array.ndim == 4 and not any(part in name for part in exact):
            codes, scale = quantized(array)
            initializers += [numpy_helper.from_array(codes, f"{name}_q"), numpy_helper.from_array(scale, f"{name}_s")]
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s"], [name], axis=0))
        else:
            initializers.append(numpy_helper.from_array(array.astype(np.float16), f"{name}_h"))
            nodes.append(helper.make_node("Cast", [f"{name}_h"], [name], to=TensorProto.FLOAT))
    nodes += graph.graph.node
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
    made = helper.make_graph(nodes, "maskhub", graph.graph.input, graph.graph.output, initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def quantized(array):
    """int8 codes and one scale for each output channel."""
    flat = array.reshape(len(array), -1)
    most = np.abs(flat).max(1, keepdims=True).clip(1e-12)
    best, codes, scales = np.full((len(flat), 1), np.inf), None, None
    for clip in CLIPS:
        scale = (most * clip / 127).astype(np.float32)
        tried = np.rint(flat / scale).clip(-127, 127)
        error = ((tried * scale - flat) ** 2).sum(1, keepdims=True)
        better = error < best
        codes = tried if codes is None else np.where(better, tried, codes)
        scales = scale if scales is None else np.where(better, scale, scales)
        best = np.minimum(best, error)
    return codes.astype(np.int8).reshape(array.shape), scales[:, 0].astype(np.float32)


def free_yunet():
    """The published face detector with the sizes of its input free."""
    return onnx.load_from_string(yunet.free_sizes(detect.WEIGHTS.read_bytes()))


def rule_arrays():
    """The rule's large tables, one after the other; ``masks/tables.ts`` reads them in this order."""
    smooth, fibre = (fabric.noise_tile(name)[: fabric.TILE, : fabric.TILE] for name in ("smooth", "fibre"))
    parts = [
        smooth[::THINNED, ::THINNED].astype(np.float32),
        np.rint(fibre * CODES).clip(-127, 127).astype(np.int8),
        np.rint(grain_tile() * CODES).clip(-127, 127).astype(np.int8),
    ]
    return b"".join(part.tobytes() for part in parts)


def rule_numbers():
    """The rule's small tables: styles, normals of the mean face, and what the generator draws for each seed."""
    draws = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        picks, size = rng.random(8).tolist(), rng.normal(0, 1, 4).clip(-2, 2).tolist()
        height, pattern = rng.random(), int(rng.integers(1 << 31))
        draws.append([*picks, *size, height, pattern, *rng.integers(0, fabric.TILE, 2).tolist()])
    normals, use = lighting.mean_normals()
    lips = {
        f"{count}-{variant}": np.random.default_rng(variant).normal(0, 0.018, count).tolist()
        for count in (2, 3, 4)
        for variant in range(8)
    }
    return {
        "colours": styles.COLOURS,
        "patterns": styles.PATTERNS,
        "accents": styles.ACCENTS,
        "knots": styles.KNOTS.tolist(),
        "tops": styles.TOPS,
        "bottoms": styles.BOTTOMS,
        "sides": styles.SIDES,
        "strapWidths": straps.WIDTHS,
        "meanFace": np.load(fit.MEAN_FACE)[:468].round(6).ravel().tolist(),
        "normals": np.round(normals, 6).ravel().tolist(),
        "bare": np.flatnonzero(use).tolist(),
        "lips": lips,
        "draws": draws,
    }


def _rename(graph, old, new):
    for node in graph.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for value in graph.graph.output:
        if value.name == old:
            value.name = new


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a pipeline's folder or Hub id; by default the bundled one")
    parser.add_argument("--out", default=HERE / "models", help="the folder to write into")
    options = parser.parse_args()
    for name, size in export(options.out, options.model).items():
        print(f"{size / 1e6:7.2f} MB  {name}")


if __name__ == "__main__":
    main()
