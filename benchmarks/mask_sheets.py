"""Pictures to judge the masks by: a contact sheet of many faces, and the gallery of every style on one photo. It also
makes the examples of the app and of the browser edition that wear drawn masks: run it after a change to the masks.

    python benchmarks/mask_sheets.py faces OUT.jpg FOLDER [FOLDER ...] --n 60 --wrongly-worn 0.15
    python benchmarks/mask_sheets.py faces docs/images/mask_sheet.jpg ../shared/faces/publishable --side 128
    python benchmarks/mask_sheets.py gallery docs/images/mask_gallery.jpg space/examples/astronaut.jpg
    python benchmarks/mask_sheets.py examples .

Look for masks that float (off the nose or jaw), leak (skin shows where fabric should be, or fabric beyond the head) or
look pasted (wrong light, too sharp, too clean). The sheet is the same for the same folders and ``--seed``.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskhub.data.portraits import FOLDER as PORTRAITS
from maskhub.errors import NoFaceError
from maskhub.faces.align import alignment, crop
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.masks import STYLES, WORN, wear

SIDE = 256


def faces(out, folders, n, columns, seed, wrongly_worn, style, side):
    """A contact sheet of faces drawn evenly from some folders, each in a random mask."""
    rng = np.random.default_rng(seed)
    paths = []
    for number, folder in enumerate(folders):
        share = n * (number + 1) // len(folders) - n * number // len(folders)
        found = [path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".webp")]
        paths += [found[i] for i in rng.permutation(len(found))[:share]]
    tiles = []
    for index, path in enumerate(paths):
        image = np.asarray(Image.open(path).convert("RGB"))
        try:
            worn = wear(
                image, seed=seed + index, style=style, worn="random" if rng.random() < wrongly_worn else "correctly"
            )
            image = worn.image
        except NoFaceError:
            print(f"no face: {path}")
        tiles.append(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
    Image.fromarray(_grid(tiles, columns)).save(out, quality=88, optimize=True)


def gallery(out, photo):
    """Every style, two colours each, and the wrong ways of wearing, on one photo's face."""
    image = np.asarray(Image.open(photo).convert("RGB"))
    face = detect(image)[0]
    points = landmarks(image, face)
    matrix = alignment(face, SIDE)
    tiles = []
    for seed in (4, 11):
        for style in STYLES:
            worn = wear(image, face, style, seed, landmarks=points)
            tiles.append(_labelled(crop(worn.image, matrix, SIDE), f"{style}, {worn.colour}"))
    for seed, (style, way) in enumerate((s, w) for s in ("surgical", "patterned") for w in WORN[1:]):
        worn = wear(image, face, style, seed, worn=way, landmarks=points)
        tiles.append(_labelled(crop(worn.image, matrix, SIDE), f"{style}, {way}"))
    Image.fromarray(_grid(tiles, len(STYLES))).save(out, quality=86, optimize=True)


def examples(root):
    """The examples with drawn masks of the app and of the browser edition: built-in portraits, some in masks."""
    app = root / "space" / "examples"
    _example(512, 181, "surgical", "green", 1).save(app / "masked.jpg", quality=90)
    _example(512, 194, "patterned", "blue", 0).save(app / "cloth.jpg", quality=90)
    people = [(110,), (160, "kn95", "white", 1), (178,), (187, "cloth", "black", 1), (105,)]
    _group(300, 6, [*people, (155, "surgical", "green", 3)]).save(app / "group.jpg", quality=90)
    people = [(4,), (22, "surgical", "white", 1), (39,), (33, "cloth", "black", 1), (5,)]
    _group(256, 0, [*people, (25, "surgical", "blue", 1)]).save(root / "web" / "examples" / "group.jpg", quality=90)


def _group(side, gap, people):
    """Six portraits in two rows."""
    group = Image.new("RGB", (3 * side + 4 * gap, 2 * side + 3 * gap), (28, 31, 40))
    for place, person in enumerate(people):
        row, column = divmod(place, 3)
        group.paste(_example(side, *person), (gap + column * (side + gap), gap + row * (side + gap)))
    return group


def _example(side, number, style=None, colour=None, seed=0):
    photo = Image.open(PORTRAITS / f"london_{number:05d}.webp").convert("RGB")
    photo = photo.resize((side, side), Image.Resampling.LANCZOS)
    return wear(photo, style=style, colour=colour, seed=seed).image if style else photo


def _labelled(tile, text):
    picture = Image.fromarray(tile)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(15)
    draw.text((9, SIDE - 25), text, fill="black", font=font, stroke_width=1, stroke_fill="black")
    draw.text((8, SIDE - 26), text, fill="white", font=font)
    return np.asarray(picture)


def _grid(tiles, columns):
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sheet = commands.add_parser("faces")
    sheet.add_argument("out", type=Path)
    sheet.add_argument("folders", type=Path, nargs="+")
    sheet.add_argument("--n", type=int, default=60)
    sheet.add_argument("--columns", type=int, default=10)
    sheet.add_argument("--seed", type=int, default=0)
    sheet.add_argument("--wrongly-worn", type=float, default=0.15, help="share of faces")
    sheet.add_argument("--style", default="random")
    sheet.add_argument("--side", type=int, default=SIDE, help="of a face, in pixels")
    one = commands.add_parser("gallery")
    one.add_argument("out", type=Path)
    one.add_argument("photo", type=Path)
    several = commands.add_parser("examples")
    several.add_argument("root", type=Path)
    args = vars(parser.parse_args())
    {"faces": faces, "gallery": gallery, "examples": examples}[args.pop("command")](**args)


if __name__ == "__main__":
    main()
