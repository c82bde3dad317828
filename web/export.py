"""Write what the static site computes with into ``web/models/``: ``python web/export.py [--model FOLDER]``.

Networks become ONNX graphs for onnxruntime-web (``graphs.py``). The rule that draws masks becomes numbers: noise tiles,
styles, the landmark spline, and what numpy's generator draws for the first seeds. The same weights give the same files.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # so that `python web/export.py` finds maskhub

from graphs import OPSET, calculated_in_8_bits, packed, recorded, run  # noqa: E402
from tflite_graph import tflite_to_onnx  # noqa: E402

from maskhub import __version__  # noqa: E402
from maskhub.faces import detect, mesh, yunet  # noqa: E402
from maskhub.faces.align import alignment, crop  # noqa: E402
from maskhub.faces.photo import open_photo  # noqa: E402
from maskhub.masks import fit, lighting, noise, straps, styles  # noqa: E402
from maskhub.masks.blend import grain_tile  # noqa: E402
from maskhub.masks.detector import bundled_mask_detector  # noqa: E402
from maskhub.masks.wear import wear  # noqa: E402
from maskhub.pipelines.face_mask import FaceMaskPipeline  # noqa: E402
from maskhub.tensors import to_pixels, to_tensor  # noqa: E402

SEEDS = 256
"""For how many seeds the rule's random numbers are written; the site goes round them."""
EXACT = ("stem", "fine", "unfold", "sharpen", "out")
"""Layers at either end of a generator, whose weights stay in half precision: they halve the error for 0.2 MB."""
WHOLE_NUMBERS = ("middle", "after", "before", "last", "sharpen")
"""Layers of a generator that may compute in 8 bits, those first that gain the most time for their error: of the blocks
that sharpen, the last convolutions before the others."""
ERROR = 0.65
"""Of 255: by how much 8 bits may change a generator's results, on average; the site as a whole must stay within 1."""
THINNED = 4
"""Of the smooth tile every fourth pixel says all: it has no finer waves."""
CODES = 24
"""Steps of the other tiles' 8-bit numbers in one standard deviation."""


def export(folder, model=None):
    """Write all files of the site's pipeline into a folder; returns name → bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pipe = FaceMaskPipeline.from_pretrained(model) if model else FaceMaskPipeline.bundled()
    side = pipe.config.resolution
    unmasker = recorded(pipe.unmasker, side)
    graphs = {
        "yunet": free_yunet(),
        "landmarks": packed(tflite_to_onnx(mesh.WEIGHTS, OPSET), exact=("",)),
        "mask-detector": packed(recorded(bundled_mask_detector(), bundled_mask_detector().config.resolution)),
        "unmasker-float": packed(unmasker, EXACT),
        "unmasker": fast_graph("unmasker", unmasker, calibration_crops(side)),
    }
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    (folder / "rule.bin").write_bytes(rule_arrays())
    (folder / "rule.json").write_text(json.dumps(rule_numbers()), encoding="utf-8")
    about = {
        "version": __version__,
        "model": pipe.model_name,
        "resolution": side,
        "maskDetectorResolution": bundled_mask_detector().config.resolution,
        "wear": pipe.config.wear,
    }
    (folder / "pipeline.json").write_text(json.dumps(about), encoding="utf-8")
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def fast_graph(name, exact, crops):
    """A generator's graph with as many layers in 8-bit arithmetic as keep its results within :data:`ERROR`."""
    feeds = [{"images": to_tensor(one)[None].numpy()} for one in crops]
    wanted = [run(exact, feed)[0] for feed in feeds]
    for count in range(len(WHOLE_NUMBERS), 0, -1):
        layers = WHOLE_NUMBERS[:count]
        graph = packed(calculated_in_8_bits(exact, layers, feeds), EXACT)
        error = error_inside(crops, wanted, [run(graph, feed)[0] for feed in feeds])
        print(f"{name}: {', '.join(layers)} in 8-bit arithmetic: {error:.2f} of 255 off where it changes a face")
        if error <= ERROR:
            return graph
    return packed(exact, EXACT)


def calibration_crops(side):
    """Aligned faces of the site's examples as they are and in masks of several kinds; uint8 N×side×side×3."""
    crops = []
    for path in sorted((HERE / "examples").glob("*.jpg")):
        photo = np.asarray(open_photo(path).convert("RGB"))
        for number, face in enumerate(detect.detect(photo)):
            matrix = alignment(face, side)
            crops.append(crop(photo, matrix, side))
            crops.append(crop(wear(photo, face, seed=number).image, matrix, side))
    return np.stack(crops)


def error_inside(crops, wanted, made):
    """Mean difference of 255 between two translations, where the first changed the crops."""
    errors = []
    for before, one, other in zip(crops, wanted, made, strict=True):
        one, other = (to_pixels(torch.from_numpy(values[0])).astype(int) for values in (one, other))
        inside = (one != before).any(-1)
        if inside.mean() > 0.02:
            errors.append(np.abs(one - other)[inside].mean())
    return float(np.mean(errors))


def free_yunet():
    """The published face detector with the sizes of its input free."""
    return onnx.load_from_string(yunet.free_sizes(detect.WEIGHTS.read_bytes()))


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
