"""How fast faces are followed and translated in video; bench_flicker.py measures how steady the result is.

    python benchmarks/bench_video.py space/examples/astronaut.jpg --frames 60 --direction mask

Three ways on the same frames of 640×480, in turn so that other work on the machine affects all alike: the photo
pipeline on each frame (detection and all), a FrameTranslator that detects in each frame, and one that follows. The
frames show the photo with noise of σ 2, first from a still camera, then from one that pans by a pixel a frame. Wall
time is what a user waits for; processor time depends less on other work on the machine.
"""

import argparse
import json
import os
import time

import cv2
import numpy as np
import torch

from maskhub import FaceMaskPipeline, open_photo
from maskhub.faces.track import FaceTracker
from maskhub.pipelines.live import FrameTranslator
from maskhub.pipelines.translator import RuleMasker

WIDTH, HEIGHT, NOISE = 640, 480, 2.0


def film(photo, count, across):
    """``count`` frames, uint8 480×640×3; the camera moves ``across`` pixels a frame."""
    scale = max((WIDTH + across * count) / photo.width, HEIGHT / photo.height)
    scene = cv2.resize(np.asarray(photo.convert("RGB")), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    for number in range(count):
        frame = scene[:HEIGHT, across * number : across * number + WIDTH]
        yield np.clip(np.rint(frame + rng.normal(0, NOISE, frame.shape)), 0, 255).astype(np.uint8)


class Photos:
    """The photo pipeline on each frame."""

    def __init__(self, pipe, direction):
        self.pipe, self.direction = pipe, direction

    def __call__(self, frame):
        return np.asarray(self.pipe(frame, self.direction, force=True, on_no_face="keep"))


def measure(ways, frames, skip):
    """Frames a second of each way by wall and processor time."""
    figures = {name: {"wall": [], "processor": []} for name in ways}
    for number, frame in enumerate(frames):
        for name, way in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            way(frame)
            if number >= skip:
                figures[name]["wall"].append(time.perf_counter() - wall)
                figures[name]["processor"].append(time.process_time() - processor)
    return {
        name: {
            "frames_a_second_wall": round(1 / np.mean(found["wall"]), 1),
            "frames_a_second_processor": round(1 / np.mean(found["processor"]), 1),
            "ms_a_frame_median_processor": round(1000 * float(np.median(found["processor"])), 1),
        }
        for name, found in figures.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--skip", type=int, default=5, help="frames before the measurement begins")
    parser.add_argument("--direction", choices=["mask", "unmask"], default="mask")
    parser.add_argument("--model", help="pipeline folder or Hub id, or `rule`; the bundled one if not given")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    torch.set_num_threads(args.threads)
    photo = open_photo(args.photo)
    if args.model == "rule":
        pipe = RuleMasker("surgical", "blue")
    else:
        pipe = FaceMaskPipeline.from_pretrained(args.model) if args.model else FaceMaskPipeline.bundled()
    report = {"frame": f"{WIDTH}×{HEIGHT}", "threads": args.threads, "load_average": round(os.getloadavg()[0], 1)}
    for name, across in (("still", 0), ("pan", 1)):
        ways = {} if args.model == "rule" else {"photos": Photos(pipe, args.direction)}
        ways["detected"] = FrameTranslator(pipe, args.direction, force=True, tracker=FaceTracker(every=1))
        ways["followed"] = FrameTranslator(pipe, args.direction, force=True)
        report[name] = measure(ways, film(photo, args.frames, across), args.skip)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
