"""Take a mask off the same photo at many angles, and compare the results turned back.

    python benchmarks/bench_angles.py masked-photos --weights vgg16_lpips.safetensors --step 15

Prints for each photo, and as the mean with its 95 % interval over the photos: LPIPS inside the region, to the result of
the upright photo and between the results at any two angles; in how many results the mask is still there, although it is
gone on the upright photo; and in how many more than 2 % of the change lies beside the face. Photos in which the upright
face isn't found, or keeps its mask, are left out.
"""

import argparse
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from maskhub import FaceMaskPipeline
from maskhub.evaluation.similarity import Lpips
from maskhub.faces import align
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.masks.detector import MASKED, detect_mask_on_crop

REACH = 1.5
"""Side of the square canvas in longer sides of the photo: it holds the photo at any angle."""
BESIDE, NEAR = 0.02, 25
"""Share of the change beside the face that counts, and pixels around the upright region that still belong to it."""
MARGIN = 24
"""Pixels around the region's bounding box in which LPIPS is computed."""


def turned(photo, degrees):
    """A photo turned clockwise on a canvas, its border repeated."""
    height, width = photo.shape[:2]
    side = int(REACH * max(height, width)) // 2 * 2
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    matrix[:, 2] += (side - width) / 2, (side - height) / 2
    return _warped(photo, matrix, side, cv2.INTER_LANCZOS4)


def turned_back(picture, degrees):
    """A canvas turned back."""
    side = picture.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -degrees, 1.0)
    return _warped(picture, matrix, side, cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP)


def _warped(picture, matrix, side, flags):
    return cv2.warpAffine(picture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def measure(pipe, lpips, photo, angles):
    """The figures of one photo, or None if its upright face can't be unmasked."""
    upright = pipe.unmask(turned(photo, 0), on_no_face="keep", details=True, provenance=False)
    changed, region = [face for face in upright.faces[0] if face.changed], upright.regions[0]
    if not changed:
        return None
    matrix = align.alignment(changed[0].face, 128)

    def masked(picture):
        return detect_mask_on_crop(align.crop(picture, matrix, 128)).presence >= MASKED

    first = np.asarray(upright.images[0])
    if masked(first):
        return None
    left, top, width, height = cv2.boundingRect((region > 0).astype(np.uint8))
    part = np.s_[max(top - MARGIN, 0) : top + height + MARGIN, max(left - MARGIN, 0) : left + width + MARGIN]
    known = cv2.dilate(region, np.ones((NEAR, NEAR))) > 0
    features, stuck, beside = [lpips.layers(first[part])], 0, 0
    for degrees in angles:
        out = pipe.unmask(turned(photo, degrees), on_no_face="keep", details=True, provenance=False)
        result = turned_back(np.asarray(out.images[0]), degrees)
        features.append(lpips.layers(result[part]))
        stuck += masked(result)
        beside += turned_back(out.regions[0], degrees)[~known].clip(0, 1).sum() > BESIDE * region.sum()
    apart = {
        (a, b): lpips(features[a], features[b], (region[part],))[0] for a, b in combinations(range(len(features)), 2)
    }
    to_upright = np.mean([value for (a, _), value in apart.items() if a == 0])
    return to_upright, np.mean(list(apart.values())), stuck, beside


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path, help="photos of one masked face each, or folders of them")
    parser.add_argument("--weights", type=Path, required=True, help="vgg16_lpips.safetensors")
    parser.add_argument("--step", type=int, default=15, help="degrees between two angles")
    options = parser.parse_args()
    files = [file for one in options.photos for file in (sorted(one.glob("*.*")) if one.is_dir() else [one])]
    pipe, lpips, angles, rows = (
        FaceMaskPipeline.bundled(),
        Lpips(options.weights),
        range(options.step, 360, options.step),
        [],
    )
    pipe.use("onnxruntime")
    for file in files:
        found = measure(pipe, lpips, np.asarray(split_alpha(open_photo(file))[0]), angles)
        if found is None:
            print(f"{file.name}: left out")
            continue
        rows.append(found)
        print(f"{file.name}: LPIPS {found[0]:.4f} to the upright result, {found[1]:.4f} between any two", flush=True)
    rows = np.array(rows)
    if not len(rows):
        return
    half = 1.96 * rows.std(0, ddof=min(len(rows) - 1, 1)) / len(rows) ** 0.5
    results, (upright, pairs, stuck, beside) = len(rows) * len(angles), rows.T
    print(
        f"{len(rows)} photos at {len(angles)} angles: LPIPS {upright.mean():.4f} ± {half[0]:.4f} to the upright result,"
    )
    print(f"{pairs.mean():.4f} ± {half[1]:.4f} between any two; of {results} results the mask is still there in")
    print(f"{stuck.sum():.0f}, and {beside.sum():.0f} changed more than {BESIDE:.0%} beside the face")


if __name__ == "__main__":
    main()
