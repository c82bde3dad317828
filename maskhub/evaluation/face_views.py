"""Views of faces: unmasked, masked, and with the mask taken off again, as pictures and as vectors of encoders."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from maskhub.data.face_cache import FaceCache
from maskhub.data.masked import Wearing, seed_of
from maskhub.direction import Direction
from maskhub.errors import ConfigError, MaskHubError
from maskhub.evaluation.report import Item
from maskhub.evaluation.sets import picture_seed
from maskhub.faces.detect import detect
from maskhub.faces.photo import open_photo, split_alpha

__all__ = ["FaceViews", "Vectors", "encode_views", "not_for_faces"]

CHUNK = 64
"""Number of photos in memory at once."""


class FaceViews:
    """The photos of a folder as they are, masked, and with the mask taken off again, each with its face. ConfigError if
    the pipeline does not have the needed generator, or there is no such style.

    Args:
        folder, cache: folder of the photos; folder that caches faces and landmarks.
        pipeline: :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`, if one is needed.
        masks: ``"rule"`` (:mod:`maskhub.masks`), or ``"model"``: the pipeline's masker.
        style, seed: of rule-based masks.
        strip: take the masks off again.
    """

    def __init__(self, folder, cache, pipeline=None, *, masks="rule", style="random", seed=0, strip=False):
        for needed, direction in ((strip, Direction.UNMASK), (masks == "model", Direction.MASK)):
            if needed and (pipeline is None or not pipeline.can(direction)):
                raise ConfigError(f"the model has no {direction.role}: choose a --model that has one, or leave it out.")
        self.folder = Path(folder).expanduser()
        self.wearing, self.pipeline, self.masks, self.strip = Wearing(style=style, seed=seed), pipeline, masks, strip
        self.cache = FaceCache(Path(cache) / "faces.sqlite")

    def unmasked(self, name):
        """Pixels, face and landmarks (or None) of a photo."""
        pixels = np.asarray(split_alpha(open_photo(self.folder / name))[0])
        found = self.cache.look(pixels)
        if found is None:
            faces = detect(pixels)
            if not faces:
                raise ConfigError("no face was found.")
            found = faces[0], None
        return pixels, *found

    def masked(self, name, pixels, marks):
        """Pixels and face with the mask on."""
        if self.masks == "rule":
            if marks is None:
                raise ConfigError("its landmarks are too uncertain to put a mask on.")
            made = self.wearing.put_on(pixels, marks, seed_of(self.wearing.seed, name), "correctly").image
        else:
            made = np.asarray(self.pipeline.mask(pixels, force=True, on_no_face="keep", seed=picture_seed(pixels)))
        faces = detect(made)
        if not faces:
            raise ConfigError("no face was found after it was masked.")
        return made, faces[0]

    def stripped(self, masked):
        """Take the mask off each ``(pixels, face)`` and detect the face again."""
        photos = self.pipeline.unmask([pixels for pixels, _ in masked], force=True, on_no_face="keep")
        photos = [np.asarray(photo) for photo in photos]
        return [(photo, (detect(photo) or [face])[0]) for photo, (_, face) in zip(photos, masked, strict=True)]

    def pictures(self, name, strip=False):
        """A photo, its masked version and, with ``strip``, the version with the mask taken off, computed again."""
        pixels, _, marks = self.unmasked(name)
        masked = self.masked(name, pixels, marks)
        return [pixels, masked[0], *([self.stripped([masked])[0][0]] if strip else [])]


@dataclass
class Vectors:
    """Name of a photo → list of vectors, one per encoder; and the reasons why other photos have none."""

    unmasked: dict = field(default_factory=dict)
    masked: dict = field(default_factory=dict)
    stripped: dict = field(default_factory=dict)
    failures: dict = field(default_factory=dict)

    def items(self):
        """The failures for a report."""
        return [Item(name, reason=reason) for name, reason in sorted(self.failures.items())]

    def first_failure(self):
        """The end of an error message."""
        return next((f"; {name}: {reason}" for name, reason in self.failures.items()), ".")


def not_for_faces(encoders):
    """A warning for each encoder that was not trained on faces."""
    return [
        f"{encoder.name} is not a face network: it was trained to tell things apart, not people."
        for encoder in encoders
        if not encoder.face_network
    ]


def encode_views(views, names, masked_names, encoders, embed, progress=True):
    """The :class:`Vectors` of the photos ``names``, and of ``masked_names`` with masks too, from their
    :class:`FaceViews`. ``embed`` is a function of an :class:`~maskhub.evaluation.encoders.Encoder`, N pictures and N
    faces → N×dimensions."""
    vectors = Vectors()

    def keep(kind, photos):
        if photos:
            pixels, faces = zip(*photos.values(), strict=True)
            by_encoder = [embed(encoder, pixels, faces) for encoder in encoders]
            kind.update(zip(photos, zip(*by_encoder, strict=True), strict=True))

    with tqdm(total=len(names), desc="recognition", unit="photo", disable=not progress) as bar:
        for start in range(0, len(names), CHUNK):
            unmasked, masked = {}, {}
            for name in names[start : start + CHUNK]:
                try:
                    pixels, face, marks = views.unmasked(name)
                    unmasked[name] = pixels, face
                    if name in masked_names:
                        masked[name] = views.masked(name, pixels, marks)
                except MaskHubError as error:
                    vectors.failures[name] = str(error)
            keep(vectors.unmasked, unmasked)
            keep(vectors.masked, masked)
            if views.strip and masked:
                keep(vectors.stripped, dict(zip(masked, views.stripped(list(masked.values())), strict=True)))
            bar.update(len(names[start : start + CHUNK]))
    views.cache.close()
    return vectors
