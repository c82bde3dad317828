"""Turn photos of faces into short films with known motion, and measure how steady masks come off or go on.

    python benchmarks/bench_flicker.py masked-photos --direction unmask --motions fast still turn

Each photo is filmed by a camera of 640×480 with noise of σ 2: ``fast`` turns it back and forth by 25 to 70° and zooms
by 12 %, 24 frames at 15 a second. The others have 36 frames at 30 a second: ``still``, ``pan`` (30 pixels a second),
``zoom`` (10 % a second), ``turn`` (10° a second) and ``aside`` (the picture plane turned to a side by 15° and back).
For ``unmask``, a face without a mask gets one that is drawn by rule. Left out are photos in which no upright face is
found, or whose own result is wrong.

The known motion is undone before anything is measured, each as the mean over the films with its 95 % interval:

flicker   mean difference of neighbouring results inside the region, of 255, smoothed over a pixel
frames    the same of the films themselves in the same region: what noise and resampling cost
peak      flicker that 95 % of a film's frames stay below
shift     how far the corners of the face's crop move between two frames, in % of the crop's side
off       how far they are from those of the photo's own crop
unlike    mean difference to the result of the photo itself inside the region, of 255
stuck     frames in which the mask detector still finds a mask (for ``mask``: none), of all
same      frames that are unchanged
ms        processor time a frame
"""

import argparse
import hashlib
import time
from pathlib import Path

import cv2
import numpy as np

from maskhub import FaceMaskPipeline
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.lookback import TrackedFrame, looked_back
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.masks import wear
from maskhub.masks.detector import MASKED, detect_mask_on_crop
from maskhub.pipelines.live import FrameTranslator
from maskhub.pipelines.record import FaceRecord
from maskhub.pipelines.translator import RuleMasker

WIDTH, HEIGHT, FACE, NOISE = 640, 480, 160, 2.0
"""Size of the frames, the width of a face in them, and the σ of their noise, of 255."""
MOTIONS = {
    "fast": (24, 15, 25.0), "still": (36, 30, 0), "pan": (36, 30, 30.0), "zoom": (36, 30, 0.1), "turn": (36, 30, 10.0),
    "aside": (36, 30, 15.0),
}  # fmt: skip
"""Frames, frames a second, and the speed or extent of each motion."""
REACH, SOFT = 2.0, 0.15
"""The surroundings of a photo in longer sides of it, and how far from it they are fully blurred, in its width."""
CROP, LYING = 256, 45.0
"""Side of the crop that is looked at, and the roll in degrees from which a face in a photo was found wrong."""
COLUMNS = ("flicker", "frames", "peak", "shift", "off", "unlike", "stuck", "same", "ms")


def motion(kind, seconds, rng_value):
    """The motion about the middle of the face, 3×3, at a time; ``rng_value``, 0 to 1, differs from film to film."""
    count, rate, much = MOTIONS[kind]
    wave = np.sin(2 * np.pi * seconds * rate / count)
    degrees, zoom, shift, aside = 0.0, 1.0, 0.0, 0.0
    if kind == "fast":
        degrees, zoom = (much + 45 * rng_value) * wave, 1 + 0.12 * wave
    elif kind == "pan":
        shift = much * (seconds - count / rate / 2)
    elif kind == "zoom":
        zoom = 1 + much * seconds
    elif kind == "turn":
        degrees = much * (seconds - count / rate / 2)
    elif kind == "aside":
        aside = np.radians(much) * wave
    cos, sin = np.cos(np.radians(degrees)) * zoom, np.sin(np.radians(degrees)) * zoom
    matrix = np.array([[cos, -sin, shift], [sin, cos, 0], [0, 0, 1]])
    far = 4 * FACE  # the camera's distance
    return matrix @ np.array([[np.cos(aside), 0, 0], [0, 1, 0], [np.sin(aside) / far, 0, 1]])


def scene(photo):
    """A photo in the middle of surroundings without a face, uint8: its border repeated, and blurred further out."""
    height, width = photo.shape[:2]
    reach = int(REACH * max(height, width))
    around = cv2.copyMakeBorder(photo, *[reach] * 4, cv2.BORDER_REPLICATE)
    inside = np.zeros(around.shape[:2], np.uint8)
    inside[reach : reach + height, reach : reach + width] = 1
    far = (cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) / (SOFT * width)).clip(0, 1)[..., None]
    blurred = cv2.GaussianBlur(around, (0, 0), SOFT * width)
    return np.rint(around + (blurred.astype(np.float32) - around) * far).astype(np.uint8), reach


def film(photo, face, kind, seed):
    """Frames, uint8 480×640×3, their times, and the homography from the photo's pixels to each frame's."""
    count, rate, _ = MOTIONS[kind]
    rng = np.random.default_rng(seed)
    scale, value = FACE / face.box[2], rng.random()
    x, y = np.array(face.box[:2]) + np.array(face.box[2:]) / 2
    placed = np.array([[scale, 0, -scale * x], [0, scale, -scale * y], [0, 0, 1]])
    centred = np.array([[1, 0, WIDTH / 2], [0, 1, HEIGHT / 2], [0, 0, 1.0]])
    around, reach = scene(photo)
    grain = rng.normal(0, NOISE, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.float32)  # another part of it in each frame
    inner = np.array([[1, 0, -reach], [0, 1, -reach], [0, 0, 1.0]])
    for number in range(count):
        matrix = centred @ motion(kind, number / rate, value) @ placed
        frame = cv2.warpPerspective(around, matrix @ inner, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        left, top = rng.integers(64, size=2)
        noisy = cv2.add(frame, grain[top : top + HEIGHT, left : left + WIDTH], dtype=cv2.CV_8U)
        yield noisy, number / rate, matrix


def undone(picture, matrix, size):
    """A frame, or its region, back in the photo's pixels."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def corners(face, matrix=None):
    """The corners of the face's crop, 4×2, in the photo's pixels."""
    square = np.array([[[0, 0], [CROP, 0], [CROP, CROP], [0, CROP]]], np.float64)
    at = cv2.transform(square, cv2.invertAffineTransform(align.alignment(face, CROP)))
    return (at if matrix is None else cv2.perspectiveTransform(at, np.linalg.inv(matrix)))[0]


def seed_of(file):
    """A number that depends on nothing but the file's name."""
    return int(hashlib.sha1(file.name.encode()).hexdigest()[:6], 16)


class Photos:
    """Treats each frame as a photo of its own."""

    def __init__(self, pipe, direction):
        self.pipe, self.direction = pipe, direction

    def __call__(self, frame, seconds=0.0):
        if isinstance(self.pipe, RuleMasker):
            self.faces = [FaceRecord(frame, face, CROP) for face in detect(frame)[:1]]
            worn = wear(frame, self.faces[0].face, seed=0) if self.faces else None
            self.region = worn.region if worn else np.zeros(frame.shape[:2], np.float32)
            return worn.image if worn else frame
        output = self.pipe(frame, self.direction, force=True, on_no_face="keep", details=True, provenance=False)
        self.region, self.faces = output.regions[0], output.faces[0]
        return np.asarray(output.images[0])


def film_of(way, frames, camera=False):
    """For each of the frames, (pixels, seconds): its result, the region, and the faces, largest first. From a camera,
    each frame is translated before the next one is there."""
    if isinstance(way, Photos):
        for frame, seconds in frames:
            yield way(frame, seconds), way.region, [one.face for one in way.faces]
        return
    tracked = ((None, TrackedFrame(frame, seconds, *way.follow(frame, seconds))) for frame, seconds in frames)
    for _, one in tracked if camera else looked_back(tracked):
        yield way.translate(one.pixels, one.tracks, one.step), way.region, [face.face for face in way.faces]


def measure(way, photo, face, frames, expected, direction, camera=False):
    """The figures of one film by :data:`COLUMNS`, and the results, undone, for the eye."""
    size, matrix = photo.shape[1::-1], align.alignment(face, CROP)
    own, found, results, before = corners(face), {name: [] for name in COLUMNS}, [], None
    side, frames = float(np.linalg.norm(own[1] - own[0])), list(frames)
    started = time.process_time()
    translated = list(film_of(way, [frame[:2] for frame in frames], camera))
    found["ms"] = [1000 * (time.process_time() - started) / len(frames)]
    for (frame, _, move), (made, region, faces) in zip(frames, translated, strict=True):
        result, source = (
            cv2.GaussianBlur(undone(one, move, size), (0, 0), 1).astype(np.float32) for one in (made, frame)
        )
        region = undone(region, move, size)
        results.append(undone(made, move, size))
        at = corners(faces[0], move) if faces else None
        if faces:
            found["off"].append(100 * np.linalg.norm(at - own, axis=1).mean() / side)
        inside = region > 0.5
        if inside.any():
            found["unlike"].append(float(np.abs(result - expected)[inside].mean()))
        if before is not None:
            was, was_source, was_inside, was_at = before
            both = inside | was_inside
            if both.any():
                found["flicker"].append(float(np.abs(result - was)[both].mean()))
                found["frames"].append(float(np.abs(source - was_source)[both].mean()))
            if at is not None and was_at is not None:
                found["shift"].append(100 * np.linalg.norm(at - was_at, axis=1).mean() / side)
        presence = detect_mask_on_crop(align.crop(results[-1], matrix, CROP)).presence
        found["stuck"].append((presence >= MASKED) == (direction == "unmask"))
        found["same"].append(not inside.any())
        before = result, source, inside, at
    figures = {name: float(np.mean(values)) if values else np.nan for name, values in found.items()}
    figures["peak"] = float(np.quantile(found["flicker"], 0.95)) if found["flicker"] else np.nan
    figures["stuck"], figures["same"] = sum(found["stuck"]), sum(found["same"])
    return figures, results


def prepared(file, pipe, direction):
    """A photo, uint8 H×W×3, its face, and the photo's own result; None if there is no face, or the result is wrong."""
    photo = np.asarray(split_alpha(open_photo(file))[0])
    faces = detect(photo)
    if not faces or abs(faces[0].roll) > LYING:
        return None
    masked = detect_mask_on_crop(align.crop(photo, align.alignment(faces[0], CROP), CROP)).presence >= MASKED
    if direction == "mask" and masked:
        return None
    if direction == "unmask" and not masked:
        photo = wear(photo, faces[0], seed=seed_of(file)).image
    way = Photos(pipe, direction)
    result = way(photo)
    if not way.faces or not way.region.any() or abs(way.faces[0].face.roll) > LYING:
        return None
    face = way.faces[0].face
    left = detect_mask_on_crop(align.crop(result, align.alignment(face, CROP), CROP)).presence >= MASKED
    return None if left == (direction == "unmask") else (photo, face, result)


def table(rows):
    """The lines of a Markdown table: a row for each motion, from lists of figures of films."""
    yield "| motion | films | " + " | ".join(COLUMNS) + " |"
    yield "|---" * (2 + len(COLUMNS)) + "|"
    for kind, films in rows.items():
        cells = []
        for name in COLUMNS:
            values = np.array([one[name] for one in films], float)
            values = values[~np.isnan(values)]
            if name in ("stuck", "same"):
                films_with = f", in {np.count_nonzero(values)} films" if values.any() else ""
                cells.append(f"{values.sum():.0f} of {len(films) * MOTIONS[kind][0]}{films_with}")
                continue
            half = 1.96 * values.std(ddof=min(len(values) - 1, 1)) / max(len(values), 1) ** 0.5
            cells.append(f"{values.mean():.2f} ± {half:.2f}" if name != "ms" else f"{np.median(values):.1f}")
        yield f"| {kind} | {len(films)} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path, help="photos of one face each, or folders of them")
    parser.add_argument("--direction", choices=["mask", "unmask"], default="unmask")
    parser.add_argument("--motions", nargs="+", choices=MOTIONS, default=list(MOTIONS))
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--frame-by-frame", action="store_true", help="treat each frame as a photo of its own")
    ways.add_argument("--camera", action="store_true", help="translate each frame before the next one is read")
    parser.add_argument(
        "--model",
        help="pipeline folder or Hub id; if not given, masks are drawn by rule and taken off by the bundled one",
    )
    parser.add_argument("--strips", type=Path, help="folder for a strip of each film's results, the motion undone")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    files = [file for one in args.photos for file in (sorted(one.glob("*.*")) if one.is_dir() else [one])]
    if args.direction == "mask" and not args.model:
        pipe = RuleMasker()
    else:
        pipe = FaceMaskPipeline.from_pretrained(args.model) if args.model else FaceMaskPipeline.bundled()
        pipe.use("onnxruntime")
    rows = {kind: [] for kind in args.motions}
    for file in files:
        ready = prepared(file, pipe, args.direction)
        if ready is None:
            print(f"{file.name}: left out")
            continue
        photo, face, result = ready
        expected = cv2.GaussianBlur(result, (0, 0), 1).astype(np.float32)
        for kind in args.motions:
            photos = args.frame_by_frame
            way = Photos(pipe, args.direction) if photos else FrameTranslator(pipe, args.direction, force=True)
            frames = film(photo, face, kind, seed_of(file))
            figures, results = measure(way, photo, face, frames, expected, args.direction, args.camera)
            rows[kind].append(figures)
            if args.strips:
                args.strips.mkdir(parents=True, exist_ok=True)
                strip = np.hstack(results[:12] if kind != "fast" else results[4:16])
                cv2.imwrite(str(args.strips / f"{kind}-{file.stem}.png"), strip[..., ::-1])
            print(f"{file.name} {kind}: " + ", ".join(f"{name} {figures[name]:.2f}" for name in COLUMNS), flush=True)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
