r"""How good and how fast the mask detector is: presence by folder, regions of drawn masks, false alarms.

    python benchmarks/bench_mask_detector.py FACES --unmasked celeba synthetic --masked masked \
        [--detector RUN/detector] [--sheet PNG]

Everything is measured on the tenth of photos that is never trained on, found and aligned as the app does.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from maskhub import MaskDetector
from maskhub.data.decoys import decoy, occlude
from maskhub.data.mask_detection import roughen
from maskhub.data.masked import Wearing
from maskhub.data.sources import is_held_out
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks, moved_landmarks
from maskhub.masks.detector import MASKED, bundled_mask_detector, detect_mask_on_crop
from maskhub.masks.styles import WORN
from maskhub.masks.wear import SHADOW


def faces_of(folder):
    """``(name, pixels, face)`` of each held-out photo in which a face is found; the number without one."""
    found, missed = [], 0
    for path in sorted(p for p in Path(folder).glob("*.jpg") if is_held_out(p.name)):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        faces = detect(pixels)
        if faces:
            found.append((path.name, pixels, faces[0]))
        else:
            missed += 1
    return found, missed


def area_under_curve(positives, negatives):
    """Probability that a positive scores above a negative."""
    order = np.sort(negatives)
    below = np.searchsorted(order, positives, "left") + np.searchsorted(order, positives, "right")
    return below.mean() / 2 / len(negatives)


def overlap(found, true):
    a, b = found > 0.5, true > 0.5
    return (a & b).sum() / max((a | b).sum(), 1)


def line(what, values, n=None):
    print(f"{what:<44} {values}" + (f"   n {n}" if n is not None else ""), flush=True)


def presence(faces, network, side, change=None):
    out = []
    for number, (_, pixels, face) in enumerate(faces):
        crop = align.crop(pixels, align.alignment(face, side), side)
        if change is not None:
            crop = change(crop, np.random.default_rng((7, number)))
        out.append(detect_mask_on_crop(crop, network).presence)
    return np.array(out)


def pairs(faces, network, side):
    """Presence, overlap, and crops by way of wearing, on rule-made masks; decoys of the same faces."""
    rows, decoys = defaultdict(list), []
    for number, (_, pixels, face) in enumerate(faces):
        marks = landmarks(pixels, face)
        if not marks.present:
            continue
        matrix = align.alignment(face, side)
        bare, marks = align.crop(pixels, matrix, side), moved_landmarks(marks, matrix)
        for way, worn in enumerate(WORN):
            made = Wearing().put_on(bare, marks, 1000 * number + way, worn)
            region = ((made.region - SHADOW) / (1 - SHADOW)).clip(0, 1)
            if (region > 0.5).mean() < 0.03:
                continue
            found = detect_mask_on_crop(made.image, network)
            rows[worn].append((found.presence, overlap(found.region, region), made.style))
            if worn == WORN[0]:
                rng = np.random.default_rng((8, number))
                decoys.append(detect_mask_on_crop(decoy(bare, region, rng), network).presence)
                rough = roughen(made.image, rng)
                found = detect_mask_on_crop(rough, network)
                rows["correctly, roughened"].append((found.presence, overlap(found.region, region), made.style))
    return rows, np.array(decoys)


def sheet(faces, network, side, path, count=40):
    """Crops with the detector's region in red and its presence; a red frame where it is wrong is left to the reader."""
    cells = []
    for _, pixels, face in faces[:: max(1, len(faces) // count)][:count]:
        crop = align.crop(pixels, align.alignment(face, side), side)
        found = detect_mask_on_crop(crop, network)
        red = crop + (np.array([255, 0, 0]) - crop) * (0.5 * found.region[..., None])
        cell = np.ascontiguousarray(np.concatenate([crop, red.astype(np.uint8)]))
        cv2.putText(
            cell, f"{found.presence:.2f}", (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 0), 1, cv2.LINE_AA
        )
        cells.append(cell)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % 10)
    Image.fromarray(np.concatenate([np.concatenate(cells[i : i + 10], 1) for i in range(0, len(cells), 10)])).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--unmasked", nargs="+", default=["celeba", "synthetic"])
    parser.add_argument("--masked", nargs="+", default=["masked"])
    parser.add_argument("--detector", help="folder of another detector than the package's")
    parser.add_argument("--sheet", type=Path, help="write masked and unmasked overlays to this PNG and its neighbour")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = MaskDetector.from_pretrained(args.detector).eval() if args.detector else bundled_mask_detector()
    side = network.config.resolution
    everyone, scores = {}, {}
    for folder in [*args.unmasked, *args.masked]:
        everyone[folder], missed = faces_of(args.faces / folder)
        scores[folder] = presence(everyone[folder], network, side)
        masked = scores[folder] >= MASKED
        right = masked.mean() if folder in args.masked else 1 - masked.mean()
        line(f"right about {folder}", f"{right:.3f}", f"{len(masked)}, {missed} without a face")
        wrong = [face[0] for face, m in zip(everyone[folder], masked, strict=True) if m != (folder in args.masked)]
        print(f"    wrong: {', '.join(wrong) or 'none'}")
    bare = np.concatenate([scores[name] for name in args.unmasked])
    real = np.concatenate([scores[name] for name in args.masked])
    line("AUC, all really masked against all bare", f"{area_under_curve(real, bare):.4f}", f"{len(real)} + {len(bare)}")
    for folder in args.unmasked:
        faces = everyone[folder]
        rows, decoys = pairs(faces, network, side)
        for worn, values in rows.items():
            found, overlaps, _ = zip(*values, strict=True)
            text = f"found {np.mean(np.array(found) >= MASKED):.3f}   IoU mean {np.mean(overlaps):.3f}"
            line(
                f"{folder}, by rule, {worn}", f"{text}, 10th percentile {np.percentile(overlaps, 10):.3f}", len(values)
            )
        line(f"{folder}, lower face shaded or smeared: bare", f"{np.mean(decoys < MASKED):.3f}", len(decoys))
        hidden = presence(faces, network, side, lambda crop, rng: occlude(crop, rng)[0])
        line(f"{folder}, something in front: bare", f"{np.mean(hidden < MASKED):.3f}", len(hidden))
        rough = presence(faces, network, side, roughen)
        line(f"{folder}, roughened: bare", f"{np.mean(rough < MASKED):.3f}", len(rough))
    for folder in args.masked:
        rough = presence(everyone[folder], network, side, roughen)
        line(f"{folder}, roughened: masked", f"{np.mean(rough >= MASKED):.3f}", len(rough))
    crop = np.zeros((side, side, 3), np.uint8)
    times = []
    for _ in range(60):
        start = time.process_time()
        detect_mask_on_crop(crop, network)
        times.append(time.process_time() - start)
    line("a crop alone, one core", f"{1000 * np.median(times):.1f} ms of processor time")
    if args.sheet:
        sheet([face for name in args.masked for face in everyone[name]], network, side, args.sheet)
        bare_sheet = args.sheet.with_stem(args.sheet.stem + "-bare")
        sheet([face for name in args.unmasked for face in everyone[name]], network, side, bare_sheet)


if __name__ == "__main__":
    main()
