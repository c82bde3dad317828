"""How much 8 bits change what the bundled unmasker makes of held-out faces, and how much faster they are.

    python benchmarks/bench_int8.py ../shared/faces

Takes 100 held-out faces without masks, on which masks are drawn by rule, and 100 with real ones; one thread. Times are
processor time in alternating runs.
"""

import argparse
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from maskhub import FaceMaskPipeline
from maskhub.data.folder import is_held_out, list_files
from maskhub.data.masked import seed_of
from maskhub.errors import NoFaceError
from maskhub.faces.photo import open_photo
from maskhub.masks.styles import STYLES
from maskhub.masks.wear import wear
from maskhub.models.export import numpy_weights
from maskhub.models.onnx_file import GRAPH, INT8, OnnxFile
from maskhub.pipelines.photo_pipeline import BUNDLED
from maskhub.tensors import to_array

PHOTOS = 100
DRAWN, REAL = {"celeba": 40, "synthetic": 40, "more": 40}, {"masked": 60, "masked_more": 40}
"""Photos of each folder, more than are needed of those in which a face must be found first."""
TEST_SET = "ffval"
"""Begins the names of photos that are left for other figures."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    given = parser.parse_args()
    weights = numpy_weights(FaceMaskPipeline.from_pretrained(given.model).unmasker)
    exact, fast = (OnnxFile(given.model / "unmasker" / name, weights, threads=1) for name in (GRAPH, INT8))
    real = [photo for _, photo in held_out(given.faces, REAL)]
    for name, crops in (("drawn masks", drawn(given.faces)), ("real masks", real)):
        report(name, exact, fast, to_array(crops))
    times = {exact: [], fast: []}
    images = to_array(crops[:1])
    for _ in range(40):
        for file, taken in times.items():
            start = time.process_time()
            file(images)
            taken.append(1000 * (time.process_time() - start))
    one, other = (np.array(taken) for taken in times.values())
    print(
        f"float32 {one.min():.1f} ms, 8 bits {other.min():.1f} ms; median of pairs {np.median(one / other):.2f} times"
    )


def held_out(faces, counts):
    """Pairs of name and photo, evenly spread over the names."""
    for folder, count in counts.items():
        files = list_files(faces / folder)
        names = sorted(name for name in files if is_held_out(name) and not name.startswith(TEST_SET))
        for place in np.linspace(0, len(names) - 1, count).astype(int):
            yield names[place], np.asarray(open_photo(files[names[place]]).resize((256, 256)))


def drawn(faces):
    found = []
    for name, photo in held_out(faces, DRAWN):
        style = tuple(STYLES)[seed_of("style", name) % len(STYLES)]
        with suppress(NoFaceError):
            found.append(wear(photo, style=style, seed=seed_of("mask", name)).image)
    return [found[place] for place in np.linspace(0, len(found) - 1, PHOTOS).astype(int)]


def report(name, exact, fast, images):
    means, insides, outside, shares = [], [], [], []
    for image in images:
        one, other = (np.rint((file(image[None])[0][0].clip(-1, 1) + 1) * 127.5) for file in (exact, fast))
        changed = (one != np.rint((image + 1) * 127.5)).any(0)
        difference = np.abs(one - other).mean(0)
        means.append(difference.mean())
        insides.append(difference[changed].mean())
        outside.append(difference[~changed].mean())
        shares.append(np.percentile(difference[changed], 99))
    interval = 1.96 * np.std(insides) / len(insides) ** 0.5
    print(f"{name} (n = {len(insides)}), of 255")
    print(f"  where the mask was {np.mean(insides):.3f} ± {interval:.3f}, worst photo {max(insides):.2f}")
    print(f"  99 % of its pixels within {np.mean(shares):.1f}; outside {np.mean(outside):.4f}")
    print(f"  whole crop {np.mean(means):.2f}, worst {max(means):.2f}")


if __name__ == "__main__":
    main()
