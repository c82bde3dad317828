"""Pairs of pictures: an input and its true result.

for pair in WornPictures(PictureSet("photos", held_out=True), "unmask"):
    pair.input, pair.truth, pair.region
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskhub.data.masked import Wearing, mask_faces
from maskhub.direction import Direction
from maskhub.errors import ConfigError, MaskHubError, SourceError
from maskhub.evaluation.gallery import Failures
from maskhub.evaluation.sets import PictureSet
from maskhub.faces.photo import open_photo, split_alpha

__all__ = ["MADE", "MatchedPictures", "Pair", "WornPictures", "same_size"]

MADE = "made"
"""Key of the generated picture among the pictures of a pair."""


@dataclass(frozen=True)
class Pair:
    """A picture with and without a mask, by the ``name`` of its file and with the source's ``columns``: the ``input``
    to be translated and the ``truth``, uint8 RGB H×W×3 each; the ``region``, float32 H×W in [0, 1], 1 where a mask
    covers the face, None if it is unknown; and the generated picture, if it is already ``made``."""

    name: str
    input: np.ndarray
    truth: np.ndarray
    region: np.ndarray | None
    columns: dict
    made: np.ndarray | None = None


class WornPictures:
    """Pairs of unmasked photos (a :class:`~maskhub.evaluation.sets.PictureSet`) and the same photos with rule-based
    masks.

    The seed fixes the masks. With the direction ``"unmask"`` the masked photos are the inputs, with ``"mask"`` the
    truths.
    """

    def __init__(self, pictures, direction="unmask", seed=0):
        self.pictures, self.direction = pictures, Direction(direction)
        self.wearing, self.failures = Wearing(seed=seed, scores="none"), Failures()

    def __iter__(self):
        failures = Failures()
        for picture in self.pictures:
            try:
                worn = mask_faces(picture.pixels, self.wearing, picture.name, largest=True)
            except MaskHubError as error:
                failures.add(picture.name, error, picture.pixels)
                continue
            ends = (worn.image, picture.pixels) if self.direction == "unmask" else (picture.pixels, worn.image)
            yield Pair(picture.name, *ends, worn.region, picture.columns)
        self.failures = Failures([*self.pictures.failures, *failures])

    def describe(self):
        """Settings of a report."""
        return {"photos": self.pictures.spec, "masks": f"by rule, seed {self.wearing.seed}"}


class MatchedPictures:
    """Pairs from folders with the same file names, whatever their suffixes. A
    :class:`~maskhub.evaluation.sets.PictureSet` of the ``inputs`` sets order and columns; ``truths``, ``regions``
    (8-bit pictures, 255 where covered) and ``made`` are folders, the last two or None; ``direction`` is that from the
    inputs to the truths. SourceError if a folder is missing, or has no file with the name of an input."""

    def __init__(self, inputs, truths, regions=None, made=None, direction="unmask"):
        self.inputs, self.direction, self.failures = inputs, Direction(direction), Failures()
        self.folders = {"truth": truths, "region": regions, MADE: made}
        self._paths = {}
        for what, folder in self.folders.items():
            if folder is not None:
                self._paths[what] = {_stem(row.name): row.open() for row in PictureSet(folder).rows}

    def __iter__(self):
        failures, count = Failures(), 0
        for picture in self.inputs:
            key = _stem(picture.name)
            missing = [what for what, paths in self._paths.items() if key not in paths]
            if missing:
                reason = f"there is no {missing[0]} picture of this name in {self.folders[missing[0]]}."
                failures.add(picture.name, reason)
                continue
            try:
                found = {what: split_alpha(open_photo(paths[key]))[0] for what, paths in self._paths.items()}
                region = found.pop("region", None)
                arrays = {what: np.asarray(image) for what, image in found.items()}
                for what, array in [*arrays.items(), *([("region", np.asarray(region))] if region else [])]:
                    same_size(what, array, picture.pixels)
            except MaskHubError as error:
                failures.add(picture.name, error, picture.pixels)
                continue
            count += 1
            cover = None if region is None else np.asarray(region.convert("L"), np.float32) / 255
            yield Pair(picture.name, picture.pixels, arrays["truth"], cover, picture.columns, arrays.get(MADE))
        self.failures = Failures([*self.inputs.failures, *failures])
        if not count:
            pair = f"no picture of {self.inputs.spec} has a pair in {self.folders['truth']}"
            raise SourceError(f"{pair}{self.failures.first()}")

    def describe(self):
        """Settings of a report."""
        return {"photos": self.inputs.spec} | {
            {"truth": "truths", "region": "regions", MADE: "generated"}[what]: str(folder)
            for what, folder in self.folders.items()
            if folder is not None
        }


def same_size(what, array, like):
    """Raise :class:`ConfigError` if two pictures differ in size."""
    if array.shape[:2] != like.shape[:2]:
        raise ConfigError(
            f"the {what} is {array.shape[1]}×{array.shape[0]}, the input {like.shape[1]}×{like.shape[0]}."
        )


def _stem(name):
    return str(Path(name).with_suffix(""))
