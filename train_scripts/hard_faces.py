"""Make the folders of links that the mask detector's last run trains on: faces that a detector gets wrong, or nearly,
count several times.

    python train_scripts/hard_faces.py --detector RUN/detector --unmasked PHOTOS --masked CROPS --output FACES

A photo counts as often as it is linked. FACES/unmasked links bare faces once, those with a presence from 0.1 on twice
more, and those from 0.3 on three times more; photos without a face are left out. FACES/masked links all crops of
masked faces once, those with a mean presence below 0.95 three times more, and those below 0.8 another three times;
the mean is of the crop and of five copies of it, two of them mirrored, moved and degraded as in training. The held-out
tenth and the sources in ``--leave-out`` are not linked.
"""

import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import tyro

from maskhub.data.folder_rows import FolderRows
from maskhub.data.mask_detection import moved, roughen
from maskhub.data.paired import squared
from maskhub.errors import ConfigError, MaskHubError, PhotoError
from maskhub.faces.detect import detect
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.masks.detector import detect_masks_on_crops, mask_presences
from maskhub.models.mask_detector import MaskDetector

MISTAKEN = {0.1: 2, 0.3: 3}
"""Presence from which a bare face is linked again → how often."""
MISSED = {0.95: 3, 0.8: 3}
"""Mean presence below which a masked face is linked again → how often."""
COPIES = 5


@dataclass
class Options:
    """Link faces, the hard ones several times."""

    unmasked: list[Path]
    """Folders of photos of bare faces; a metadata.csv in them may name the source of a photo."""
    masked: list[Path]
    """Folders of aligned crops of masked faces."""
    output: Path
    """New folder for unmasked/ and masked/."""
    detector: str | None = None
    """Mask detector; default: the bundled one."""
    leave_out: list[str] = field(default_factory=lambda: ["fairface_val"])
    """Sources that are never trained on."""


def bare_times(row, network):
    """How often a photo of a bare face counts, by the presence on its largest face; 0 if no face is found."""
    pixels = photo_of(row)
    faces = detect(pixels)
    if not faces:
        return 0
    (sure,) = mask_presences([(pixels, faces[0])], network)
    return 1 + sum(times for limit, times in MISTAKEN.items() if sure >= limit)


def worn_times(row, network):
    """How often a crop of a masked face counts, by the mean presence on it and its copies."""
    side = network.config.resolution if network else 128
    crop, rng = squared(photo_of(row), side), np.random.default_rng(row.index)
    empty, mirrored = np.zeros((side, side), np.float32), np.ascontiguousarray(crop[:, ::-1])
    copies = [(crop, mirrored)[number % 2] for number in range(COPIES)]
    crops = [crop, *(roughen(moved(copy, empty, rng)[0], rng) for copy in copies)]
    sure = np.mean([found.presence for found in detect_masks_on_crops(crops, network)])
    return 1 + sum(times for limit, times in MISSED.items() if sure < limit)


def photo_of(row):
    return np.asarray(split_alpha(open_photo(row.open()))[0])


def link(folders, output, times, leave_out):
    """Link the photos of folders, each as often as ``times`` says of its row; warns of photos that can't be read."""
    count = 0
    for number, folder in enumerate(folders):
        for row in FolderRows(folder):
            if row.held_out or row.columns.get("source") in leave_out:
                continue
            try:
                often = times(row)
            except PhotoError as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
                continue
            for again in range(often):
                place = output / f"{number}-{folder.name}-{again}" / row.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(Path(row.photo).resolve())
                count += 1
    print(f"{output}: {count:,} links")


def main(options):
    if options.output.exists():
        raise ConfigError(f"{options.output} exists already: choose another folder.")
    cv2.setNumThreads(1)
    network = MaskDetector.from_pretrained(options.detector).eval() if options.detector else None
    output, left_out = options.output, options.leave_out
    link(options.unmasked, output / "unmasked", lambda row: bare_times(row, network), left_out)
    link(options.masked, output / "masked", lambda row: worn_times(row, network), left_out)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except MaskHubError as error:
        sys.exit(str(error))
