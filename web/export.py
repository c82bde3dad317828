"""Write what the static site computes with into ``web/models/``: ``python web/export.py [--model FOLDER]``.

Networks become TFLite files for LiteRT (``tflite.py``), made of the ONNX graphs that the package comes with, the
unmasker's the one in 8 bits. The rule that draws masks becomes numbers: noise tiles, styles, the landmark spline, and
what numpy's generator draws for the first seeds. The same weights give the same files.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # so that `python web/export.py` finds maskhub

from graphs import halved, one_size, only, with_weights, without_reshapes  # noqa: E402
from tflite import to_tflite  # noqa: E402
from tflite_file import fixed  # noqa: E402

from maskhub import __version__  # noqa: E402
from maskhub.faces import mesh  # noqa: E402
from maskhub.masks import detector, fit, lighting, noise, straps, styles  # noqa: E402
from maskhub.masks.blend import grain_tile  # noqa: E402
from maskhub.models.onnx_file import GRAPH, INT8  # noqa: E402
from maskhub.models.stored import read_json  # noqa: E402
from maskhub.pipelines.fetch import fetch_pipeline  # noqa: E402
from maskhub.pipelines.onnx_face_mask import OnnxFaceMaskPipeline  # noqa: E402
from maskhub.pipelines.photo_pipeline import BUNDLED  # noqa: E402

SEEDS = 256
"""For how many seeds the rule's random numbers are written; the site goes round them."""
PUBLISHED = Path(__file__).with_name("face_detection_yunet_2023mar.onnx")
"""YuNet as it was published."""
YUNET = 64
"""Side of YuNet's input in the file; the site writes the sizes of each picture into it."""
THINNED = 4
"""Of the smooth tile every fourth pixel says all: it has no finer waves."""
CODES = 24
"""Steps of the other tiles' 8-bit numbers in one standard deviation."""


def export(folder, model=None):
    """Write all files of the site's pipeline into a folder; returns name → bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pipe = OnnxFaceMaskPipeline.from_pretrained(model) if model else OnnxFaceMaskPipeline.bundled()
    files = {
        "yunet.tflite": free_yunet(),
        "landmarks.tflite": fixed(mesh.WEIGHTS.read_bytes()),
        "mask-detector.tflite": mask_detector(),
        **unmasker(fetch_pipeline(model or BUNDLED) / "unmasker", pipe.config.resolution),
        "rule.bin": rule_arrays(),
        "rule.json": json.dumps(rule_numbers()).encode(),
    }
    about = {
        "version": __version__,
        "model": pipe.model_name,
        "resolution": pipe.config.resolution,
        "wear": pipe.config.wear,
    }
    files["pipeline.json"] = json.dumps(about).encode()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: len(data) for name, data in files.items()}


def unmasker(folder, side):
    """The network's files: in 8 bits for LiteRT, and in float32 for WebGPU."""
    exact = one_size(with_weights(folder / GRAPH), 1, 3, side, side)
    whole = with_weights(folder / INT8)
    return {
        "unmasker.tflite": to_tflite(one_size(whole, 1, 3, side, side)),
        "unmasker.onnx": halved(exact).SerializeToString(),
    }


def mask_detector():
    """Its presence alone: the site does not need the region."""
    graph = with_weights(detector.BUNDLED / GRAPH)
    return to_tflite(only(one_size(graph, 1, 3, mask_side(), mask_side()), "presence"))


def mask_side():
    return read_json(detector.BUNDLED / "config.json")["resolution"]


def free_yunet():
    """The face detector for pictures with a border of one pixel, which its first convolution needs."""
    graph = without_reshapes(one_size(onnx.load(PUBLISHED), 1, 3, YUNET, YUNET))
    first = next(node for node in graph.graph.node if node.op_type == "Conv")
    next(one for one in first.attribute if one.name == "pads").ints[:] = [0, 0, 0, 0]
    for dimension in graph.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value += 2
    return to_tflite(graph, half=False)


def rule_arrays():
    """The rule's large tables, one after the other; ``masks/tables.ts`` reads them in this order."""
    smooth, fibre = (noise.noise_tile(name)[: noise.TILE, : noise.TILE] for name in ("smooth", "fibre"))
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
        draws.append([*picks, *size, height, pattern, *rng.integers(0, noise.TILE, 2).tolist()])
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a pipeline's folder or Hub id; by default the bundled one")
    parser.add_argument("--out", default=HERE / "models", help="the folder to write into")
    options = parser.parse_args()
    for name, size in export(options.out, options.model).items():
        print(f"{size / 1e6:7.2f} MB  {name}")


if __name__ == "__main__":
    main()
