"""The pictures of a model's card: its first results, not selected, and its worst; a sheet of faces with real masks; and
the same faces by several models.

    python benchmarks/model_gallery.py card maskhub/weights/light-256/gallery.jpg FACES
    python benchmarks/model_gallery.py sheet sheet.png MASKED --n 60 [--model FOLDER]
    python benchmarks/model_gallery.py methods docs/images/methods.jpg ../shared/faces/publishable \\
        --model cyclegan-128,pix2pix-128,light-256

Only photos of the held-out tenth. ``card`` shows only results, never an original photo: rows 1 to 3 show the first ten
masked by the pipeline, masked by rule, and unmasked again; rows 4 and 5 show, masked and unmasked, the ten of the first
``--worst-of`` whose unmasked face is farthest from the true one (L1 inside the mask). ``sheet`` shows faces with real
masks, each next to its result. ``methods`` shows the first ten faces with a mask drawn by rule; then bare, masked by
each model that has a network for it; then with the drawn mask taken off by each model.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from maskhub.evaluation.paired import WornPictures
from maskhub.evaluation.sets import PictureSet, picture_seed
from maskhub.evaluation.similarity import change
from maskhub.pipelines.load import load_pipeline

COLUMNS = 10


def card(pipe, folder, side, worst_of):
    """Five rows of ten, as the module says."""
    first, all_of_them = [], []
    for pair in WornPictures(PictureSet(folder, held_out=True, limit=worst_of)):
        unmasked = np.asarray(pipe.unmask(pair.input, force=True, on_no_face="keep"))
        far = change(unmasked, pair.truth, pair.region)
        all_of_them.append((far, _small(pair.input, side), _small(unmasked, side)))
        if len(first) < COLUMNS:
            masked = np.asarray(pipe.mask(pair.truth, force=True, on_no_face="keep", seed=picture_seed(pair.truth)))
            first.append([_small(picture, side) for picture in (masked, pair.input, unmasked)])
    worst = sorted(all_of_them, key=lambda row: -row[0])[:COLUMNS]
    return [*map(list, zip(*first, strict=True)), [row[1] for row in worst], [row[2] for row in worst]]


def sheet(pipe, folder, side, n):
    """Pairs of a really masked face and its result, five pairs a row; a face that is not found stays as it is."""
    tiles = []
    for picture in PictureSet(folder, held_out=True, limit=n):
        made = np.asarray(pipe.unmask(picture.pixels, force=True, on_no_face="keep"))
        tiles += [_small(picture.pixels, side), _small(made, side)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    return [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]


def methods(pipes, folder, side):
    """A row of ten for the input, and for each direction of each model."""
    pairs = []
    for pair in WornPictures(PictureSet(folder, held_out=True)):
        pairs.append(pair)
        if len(pairs) == COLUMNS:
            break
    options = {"force": True, "on_no_face": "keep"}
    rows = [[pair.input for pair in pairs]]
    for pipe in pipes:
        if pipe.masker is not None:
            rows.append([pipe.mask(pair.truth, **options, seed=picture_seed(pair.truth)) for pair in pairs])
    rows += [[pipe.unmask(pair.input, **options) for pair in pairs] for pipe in pipes if pipe.can("unmask")]
    return [[_small(np.asarray(picture), side) for picture in row] for row in rows]


def _small(picture, side):
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["card", "sheet", "methods"])
    parser.add_argument("out", type=Path)
    parser.add_argument("folder")
    parser.add_argument(
        "--model", default="light-256", help="pipeline folder, bundled name or Hub id; for methods several, with commas"
    )
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--worst-of", type=int, default=150)
    parser.add_argument("--n", type=int, default=60)
    options = parser.parse_args()
    models = [load_pipeline(name, "cpu") for name in options.model.split(",")]
    if options.what == "card":
        rows = card(models[0], options.folder, options.side, options.worst_of)
    elif options.what == "sheet":
        rows = sheet(models[0], options.folder, options.side, options.n)
    else:
        rows = methods(models, options.folder, options.side)
    Image.fromarray(np.vstack([np.hstack(row) for row in rows])).save(options.out, quality=88)
