"""How fast faces are translated: networks compared with a reference, one photo stage by stage, many photos, and a film.

    python benchmarks/bench_inference.py

Everything is measured in one run, so that the ratios are valid on any machine; the last lines hold the three figures
against their goals: the bundled unmasker with its fastest backend (within 1/255 of torch) is 45 times as fast as the
reference, CycleGAN's ResnetGenerator of 9 blocks at 256 pixels in torch and float32; 60 photos of 640×480 with one face
a second, decoded, several at a time as `maskhub unmask FOLDER` works on them; 30 frames a second of a film that is
read, translated and written, by the same backend. Networks other than the bundled one have random weights, which cost
the same.

``ms`` is the minimum wall time of the repeats, the time on an idle machine; ``cpu_ms`` the minimum processor time of
all threads, which depends less on other work. On a busy machine use ``ratio_cpu`` and one thread: threads that wait for
each other measure other programs' work.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from bench_video import HEIGHT, WIDTH, film
from PIL import Image

from maskhub import AttentionGenerator, FaceMaskPipeline, LightGenerator, ResnetGenerator, UnetGenerator
from maskhub.data.batch import process_folder
from maskhub.data.workers import run_jobs
from maskhub.errors import MaskHubError
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.photo import open_photo
from maskhub.masks import wear
from maskhub.onnx_session import limited_threads
from maskhub.pipelines.backends import BACKENDS, TOLERANCE, make_runner
from maskhub.pipelines.changed import changed_region
from maskhub.pipelines.live import FrameTranslator
from maskhub.pipelines.photo_pipeline import BUNDLED
from maskhub.pipelines.video import Film
from maskhub.tensors import to_tensor

EXAMPLE = Path(__file__).parents[1] / "space" / "examples" / "astronaut.jpg"
BUNDLED_ROW = "light-bundled"
NETWORKS = {
    "resnet-9": lambda: ResnetGenerator(),
    "resnet-6": lambda: ResnetGenerator(blocks=6),
    "unet-8": lambda: UnetGenerator(),
    "attention-9": lambda: AttentionGenerator(),
    "light": lambda: LightGenerator(),
    "light-fold": lambda: LightGenerator(fold=2, detail=32, detail_blocks=2),
    BUNDLED_ROW: lambda: FaceMaskPipeline.bundled().unmasker,
    "light-fold-noise": lambda: LightGenerator(fold=2, detail=32, detail_blocks=2, noise=1.0),
}
REFERENCE = "resnet-9"
GOALS = {"times_the_reference": 45, "photos_a_second": 60, "frames_a_second": 30}
PHOTOS, FRAMES = 120, 120


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
    pixels = np.asarray(masked_photo())
    batch = to_tensor(align.crop(pixels, align.alignment(detect(pixels)[0], size), size)[None])
    rows = {}
    for name in [REFERENCE, *(name for name in chosen if name != REFERENCE)]:
        network = NETWORKS[name]().eval()
        noise = network.draw_noise(1, size, size) if network.takes_noise else []
        wanted, folder = None, BUNDLED / "unmasker" if name == BUNDLED_ROW else None
        for backend in backends if name.startswith("light") else ["torch"]:
            row = f"{name} {backend}"
            try:
                run = make_runner(network, backend, folder, size)
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
    """One photo of 640×480 with one face in a mask through the bundled unmasker, all of it and by its stages.

    Trained weights: random ones change the crop to its very edge, where the pipeline takes a wider one too.
    """
    photo = masked_photo()
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
    return rows | {"backend": pipe.backends["unmasker"]}


def masked_photo():
    """A photo of 640×480 with one face in a drawn mask."""
    photo = Image.new("RGB", (640, 480))
    with Image.open(EXAMPLE) as example:
        photo.paste(example.convert("RGB").crop((0, 0, 512, 480)), (64, 0))
    return Image.fromarray(np.asarray(wear(photo, seed=0).image))


def photos(backend, threads, count=PHOTOS):
    """Photos a second through the bundled unmasker, several at a time as `maskhub unmask FOLDER` works on them: decoded
    ones, and JPEGs that are read, translated and written. The start of the command isn't counted."""
    pipe, pixels = FaceMaskPipeline.bundled().use(backend), np.asarray(masked_photo())
    pictures = [Image.fromarray(np.roll(pixels, 4 * (number % 16) - 32, 1)) for number in range(count)]
    work, rows = partial(pipe, direction="unmask", force=True), {}

    def decoded(pictures):
        for _, _, reason in run_jobs(work, pictures, threads=threads):
            assert reason is None, reason

    with limited_threads(1):
        decoded(pictures[: 2 * threads])
        rows["decoded"] = _rate(count, lambda: decoded(pictures))
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "in"
            source.mkdir()
            for number, picture in enumerate(pictures):
                picture.save(source / f"{number}.jpg", quality=90)
            options = {"threads": threads, "progress": False}
            rows["jpeg"] = _rate(count, lambda: process_folder(source, Path(folder) / "out", work, **options))
    return rows


def video(backend, threads, count=FRAMES):
    """Frames a second of a film of 640×480 in which the masked face moves by a pixel a frame, in noise of σ 2, as
    `maskhub unmask FILM` reads, translates and writes it."""
    pipe = FaceMaskPipeline.bundled().use(backend)
    with tempfile.TemporaryDirectory() as folder, limited_threads(max(1, threads // 2)):
        source = Path(folder) / "film.mp4"
        with av.open(str(source), "w") as writer:
            stream = writer.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for frame in film(masked_photo(), count, 1):
                writer.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            writer.mux(stream.encode(None))

        def translate():
            return list(Film(source, Path(folder) / "out.mp4", FrameTranslator(pipe, "unmask", force=True)))

        translate()  # the whole film, since frames are read up to a second ahead
        return _rate(count, translate)


def _rate(count, work):
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"a_second": round(count / wall, 1), "cpu_ms": round(1e3 * cpu / count, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=256, help="side of the faces in pixels")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each figure, three repeats at least")
    parser.add_argument(
        "--backends", nargs="*", default=[b for b in BACKENDS if b != "torch-compile"], choices=list(BACKENDS)
    )
    parser.add_argument("--networks", nargs="*", default=[REFERENCE, BUNDLED_ROW], choices=list(NETWORKS))
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
        same = [row for row in light if light[row]["difference"] <= TOLERANCE]
        best = min(same, key=lambda row: light[row]["cpu_ms"])
        report["fastest"] = {"row": best, **light[best]}
        report["photo"] = photo_path(args.seconds, best.split()[1])
        report["photos"] = photos(best.split()[1], args.threads)
        report["video"] = video(best.split()[1], args.threads)
        print(json.dumps({name: report[name] for name in ("photo", "photos", "video")}, indent=1))
        found = light[best]["ratio"], report["photos"]["decoded"]["a_second"], report["video"]["a_second"]
        report["goals"] = dict(zip(GOALS, found, strict=True))
        for name, figure in report["goals"].items():
            print(f"{name.replace('_', ' ')}: {figure} (goal {GOALS[name]}), by {best.split()[1]}")
    report["load_average_after"] = round(os.getloadavg()[0], 2)
    if args.output:
        args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
