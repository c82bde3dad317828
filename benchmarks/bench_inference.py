"""How fast faces are translated: the networks compared with a reference, and a whole photo, stage by stage.

    python benchmarks/bench_inference.py --threads 2 --output inference.json

Everything is measured in one run, so that the ratios are valid on any machine. The reference is CycleGAN's
ResnetGenerator of 9 blocks at 256 pixels in torch, float32. The networks have random weights, which cost the same; the
photo goes through the bundled ones. The goals: the light generator with its fastest backend is 20 times as fast as the
reference; 20 photos of 640×480 with one face per second on two idle cores.

``ms`` is the minimum wall time of the repeats, the time on an idle machine; ``cpu_ms`` the minimum processor time of
all threads, which depends less on other work. On a busy machine use ``ratio_cpu`` and one thread: threads that wait for
each other measure other programs' work.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from maskhub import AttentionGenerator, FaceMaskPipeline, LightGenerator, ResnetGenerator, UnetGenerator
from maskhub.errors import MaskHubError
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.photo import open_photo
from maskhub.masks import wear
from maskhub.pipelines.backends import BACKENDS, make_runner
from maskhub.pipelines.changed import changed_region

EXAMPLE = Path(__file__).parents[1] / "space" / "examples" / "astronaut.jpg"
NETWORKS = {
    "resnet-9": lambda: ResnetGenerator(),
    "resnet-6": lambda: ResnetGenerator(blocks=6),
    "unet-8": lambda: UnetGenerator(),
    "attention-9": lambda: AttentionGenerator(),
    "light": lambda: LightGenerator(),
    "light-fold": lambda: LightGenerator(fold=2, detail=32, detail_blocks=2),
    "light-bundled": lambda: LightGenerator(blocks=(1, 1, 5), fold=2, detail=32, detail_blocks=2),  # the unmasker
    "light-fold-noise": lambda: LightGenerator(fold=2, detail=32, detail_blocks=2, noise=1.0),
}
REFERENCE = "resnet-9"


def measure(work, seconds, least=3):
    """Least wall and processor time of one call in milliseconds, after one to warm up."""
    work()
    wall, cpu, start = [], [], time.perf_counter()
    while len(wall) < least or (time.perf_counter() - start < seconds and len(wall) < 100):
        begun, used = time.perf_counter(), time.process_time()
        work()
        cpu.append(time.process_time() - used)
        wall.append(time.perf_counter() - begun)
    return {"ms": round(1e3 * min(wall), 2), "cpu_ms": round(1e3 * min(cpu), 2)}


def networks(size, seconds, backends, chosen):
    """Each network by torch, and the light one by each backend: times, and ratios of the reference's to them."""
    batch = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = {}
    for name in [REFERENCE, *(name for name in chosen if name != REFERENCE)]:
        network = NETWORKS[name]().eval()
        noise = network.draw_noise(1, size, size) if network.takes_noise else []
        wanted = None
        for backend in backends if name.startswith("light") else ["torch"]:
            row = f"{name} {backend}"
            try:
                run = make_runner(network, backend, None, size)
                made = run(batch, noise)
            except (MaskHubError, RuntimeError) as error:  # no compiler, no onnxruntime
                print(f"{row}: {error}".splitlines()[0], flush=True)
                continue
            wanted = made if wanted is None else wanted
            rows[row] = measure(lambda run=run, noise=noise: run(batch, noise), seconds)
            first = rows[f"{REFERENCE} torch"]
            for ratio, key in (("ratio", "ms"), ("ratio_cpu", "cpu_ms")):
                rows[row][ratio] = round(first[key] / rows[row][key], 1)
            rows[row]["difference"] = round(float((made - wanted).abs().mean() * 127.5), 4)
            print(row, rows[row], flush=True)
    return rows


def photo_path(seconds, backend):
    """The whole way of a photo of 640×480 with one face in a mask through the bundled unmasker, and its stages.

    Trained weights: random ones change the crop to its very edge, where the pipeline takes a wider one too.
    """
    photo = Image.new("RGB", (640, 480))
    with Image.open(EXAMPLE) as example:
        photo.paste(example.convert("RGB").crop((0, 0, 512, 480)), (64, 0))
    photo = wear(photo, seed=0).image
    pixels = np.asarray(photo)
    face = detect(pixels)[0]
    pipe, direction = FaceMaskPipeline.bundled().use(backend), "unmask"
    size = pipe.config.resolution
    matrix = align.alignment(face, size)
    crop = align.crop(pixels, matrix, size)
    made = pipe.translate_crops([crop], direction)[0]
    region = changed_region(crop, made, matrix, pixels)
    stages = {
        "open": lambda: open_photo(photo),
        "detect": lambda: detect(pixels),
        "crop": lambda: align.crop(pixels, matrix, size),
        "generator": lambda: pipe.translate_crops([crop], direction),
        "region": lambda: changed_region(crop, made, matrix, pixels),
        "paste": lambda: align.paste(pixels, made, region, matrix),
        "whole": lambda: pipe(photo, direction, force=True),
    }
    rows = {name: measure(work, seconds) for name, work in stages.items()}
    rows["whole"]["photos_a_second"] = round(1e3 / rows["whole"]["ms"], 1)
    return rows | {"backend": pipe.backends["unmasker"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=256, help="side of the faces in pixels")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each figure, three repeats at least")
    parser.add_argument("--backends", nargs="*", default=list(BACKENDS), choices=list(BACKENDS))
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    report = {"threads": args.threads, "cores": os.cpu_count(), "size": args.size, "torch": torch.__version__}
    report["load_average_before"] = round(os.getloadavg()[0], 2)
    report["networks"] = networks(args.size, args.seconds, args.backends, args.networks)
    light = {row: figures for row, figures in report["networks"].items() if row.startswith("light")}
    if light:
        best = min(light, key=lambda row: light[row]["cpu_ms"])
        report["fastest"] = {"row": best, **light[best]}
        report["photo"] = photo_path(args.seconds, best.split()[1])
        print(json.dumps(report["photo"], indent=1))
    report["load_average_after"] = round(os.getloadavg()[0], 2)
    if args.output:
        args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
