"""How fast, and on how many faces, a mask is put on.

    python benchmarks/bench_masking.py ../shared/faces/celeba --n 600
    python benchmarks/bench_masking.py ../shared/faces/more --by-yaw --n 100
    python benchmarks/bench_masking.py ../shared/faces/group --background

The time of a face includes reading and decoding the JPEG, detection, landmarks and the mask itself in a random style,
but not writing the result. OpenCV uses one thread. Wall time is what a user waits for; processor time hardly depends on
other work on the machine, so the goals are given in it: 15 ms per face (at most 19) on 256-pixel photos, 99 % of them
masked. The reference is a flat overlay on the same landmarks. At the end the work is shared among 1, 2, ... processes.

``--by-yaw`` counts instead on how many faces a mask can be drawn, by the ``yaw`` in the folder's ``metadata.csv``, on
``n`` photos a bin: only those of fairface_val, and the tenth of the others that is never trained on. ``--background``
counts how many masks would be drawn where there is no face: in the squares of the photos that no detection touches.
"""

import argparse
import csv
import hashlib
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise, product
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from flat_overlay import overlay  # noqa: E402

from maskhub.data.folder import is_held_out, original_name  # noqa: E402
from maskhub.errors import NoFaceError  # noqa: E402
from maskhub.evaluation.intervals import wilson_interval  # noqa: E402
from maskhub.faces.detect import detect  # noqa: E402
from maskhub.faces.landmarks import LIKELY_FACE, landmarks, reliable, surest_landmarks  # noqa: E402
from maskhub.masks import wear  # noqa: E402
from maskhub.masks.detector import MASKED, mask_presences  # noqa: E402

YAWS = (0, 15, 30, 45, 60, 75)
LONGER_SIDE, PIECES, SEEN = 1024, (192, 256), 0.5
"""Longer side in pixels of the photos from which pieces of background are cut; the sides of the pieces; and the lowest
score of a detection that a piece must not touch."""


def masked(path, seed):
    """Read a photo and mask it; False where no face can be trusted."""
    try:
        wear(np.asarray(Image.open(path).convert("RGB")), seed=seed)
    except NoFaceError:
        return False
    return True


def run(paths, first_seed=0):
    """Mask photos one by one: how many had a face, and each one's wall and processor time in milliseconds."""
    cv2.setNumThreads(1)
    done, wall, processor = 0, [], []
    for index, path in enumerate(paths):
        wall_start, start = time.perf_counter(), time.thread_time()
        done += masked(path, first_seed + index)
        processor.append((time.thread_time() - start) * 1e3)
        wall.append((time.perf_counter() - wall_start) * 1e3)
    return done, wall, processor


def stages(paths):
    """Median processor time of each step, and of the flat overlay, in milliseconds."""
    times = {"read": [], "detect": [], "landmarks": [], "wear": [], "flat overlay": []}
    for index, path in enumerate(paths):
        marks = [time.thread_time()]
        image = np.asarray(Image.open(path).convert("RGB"))
        marks.append(time.thread_time())
        faces = detect(image, max_side=192)
        marks.append(time.thread_time())
        if not faces:
            continue
        points = landmarks(image, faces[0])
        marks.append(time.thread_time())
        wear(image, seed=index, landmarks=points)
        marks.append(time.thread_time())
        overlay(image, points, index)
        marks.append(time.thread_time())
        for name, start, end in zip(times, marks[:-1], marks[1:], strict=True):
            times[name].append((end - start) * 1e3)
    return {name: round(float(np.median(values)), 2) for name, values in times.items()}


def outcome(path):
    """What becomes of a photo's largest face: ``drawn``, or why not."""
    image = np.asarray(Image.open(path).convert("RGB"))
    faces = detect(image)
    if not faces:
        return "no face"
    if not reliable(surest_landmarks(image, faces[0]), faces[0]):
        return "unsure face" if faces[0].score < LIKELY_FACE else "landmarks elsewhere"
    return "taken for masked" if mask_presences([(image, faces[0])])[0] >= MASKED else "drawn"


def held_out(row):
    """Whether a photo is never trained on."""
    return row["source"] == "fairface_val" or is_held_out(original_name(row))


def by_yaw(folder, n):
    """For each range of yaw: the share of photos on which a mask can be drawn, its 95 % interval, and all outcomes."""
    with open(folder / "metadata.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows.sort(key=lambda row: hashlib.blake2b(row["file_name"].encode()).digest())  # a fixed random order
    report = {}
    for low, high in pairwise(YAWS):
        names = [row["file_name"] for row in rows if low <= abs(float(row["yaw"])) < high and held_out(row)][:n]
        outcomes = Counter(outcome(folder / name) for name in names)
        hits = outcomes["drawn"] + outcomes["taken for masked"]  # --force draws on those, too
        interval = [round(end, 3) for end in wilson_interval(hits, len(names))]
        report[f"{low} to {high}"] = {
            "n": len(names),
            "share": round(hits / len(names), 3),
            "interval": interval,
        } | outcomes
    return report


def pieces_of_background(folder):
    """Squares of the folder's photos that no detected face touches, uint8 RGB."""
    for path in sorted(folder.glob("*.jpg")):
        photo = Image.open(path).convert("RGB")
        zoom = LONGER_SIDE / max(photo.size)
        image = np.asarray(photo.resize((round(photo.width * zoom), round(photo.height * zoom)), Image.Resampling.BOX))
        boxes = [face.box for face in detect(image, SEEN)]
        for side in PIECES:
            corners = product(*(range(0, length - side + 1, side) for length in image.shape[:2]))
            for y, x in corners:
                if all(
                    left > x + side or left + width < x or top > y + side or top + height < y
                    for left, top, width, height in boxes
                ):
                    yield np.ascontiguousarray(image[y : y + side, x : x + side])


def on_background(folder):
    """How many faces are found in pieces of background, on how many a mask would be drawn, and on how many of these
    only because several detections agree."""
    report = Counter(pieces=0, faces=0, masks=0, agreed=0)
    for image in pieces_of_background(folder):
        report["pieces"] += 1
        for face in detect(image):
            marks = surest_landmarks(image, face)
            report.update(faces=1, masks=reliable(marks, face), agreed=marks.agreed)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=600, help="photos to mask")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="process counts for the scaling")
    parser.add_argument("--by-yaw", action="store_true", help="count faces by yaw instead")
    parser.add_argument("--background", action="store_true", help="count masks on pieces of the photos without a face")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.background:
        print(json.dumps(on_background(args.folder), indent=2))
        return
    if args.by_yaw:
        print(json.dumps(by_yaw(args.folder, args.n), indent=2))
        return
    paths = sorted(args.folder.glob("*.jpg"))[: args.n]
    for path in paths[:8]:
        masked(path, 0)
    done, wall, processor = run(paths)
    report = {
        "photos": len(paths),
        "masked": done,
        "share": round(done / len(paths), 4),
        "ms_a_face_processor": round(float(np.mean(processor)), 2),
        "ms_a_face_processor_median": round(float(np.median(processor)), 2),
        "ms_a_face_wall": round(float(np.mean(wall)), 2),
        "ms_a_face_wall_median": round(float(np.median(wall)), 2),
        "stages_ms": stages(paths[:200]),
        "load_average": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
        "faces_a_second_by_workers": {},
    }
    for workers in args.workers:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(run, [paths[:4]] * workers))
            start = time.perf_counter()
            list(pool.map(run, [paths[worker::workers] for worker in range(workers)]))
            report["faces_a_second_by_workers"][workers] = round(len(paths) / (time.perf_counter() - start), 1)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
