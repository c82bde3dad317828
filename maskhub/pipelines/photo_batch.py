"""The photos of one pipeline call: read together, translated together, finished one by one."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from maskhub.errors import ConfigError, NoFaceError, NothingToDoError
from maskhub.pipelines.record import PhotoRecord

__all__ = ["FaceMaskOutput", "PhotoBatch"]


@dataclass
class FaceMaskOutput:
    """The result for each photo; every attribute is a list with one entry per photo.

    Attributes:
        images: ``PIL.Image``, of the photo's size; RGBA if the photo was.
        regions: float32 H×W in [0, 1]: the share of each pixel that was replaced; 0 is bit-identical.
        faces: a :class:`~maskhub.pipelines.record.FaceRecord` per detected face, largest first; its ``outcome`` says
            whether it was translated, and if not, why.
        cycle_errors: for each translated face, mean |there and back - crop| in 8-bit units; ``None`` except from
            ``cycle``.
        there: the intermediate photos, as ``images``; ``None`` except from ``cycle``.
    """

    images: list
    regions: list
    faces: list
    cycle_errors: list | None = None
    there: list | None = None

    @property
    def boxes(self):
        """Left, top, width and height in pixels of the (upright) photo, for each translated face."""
        return self.each(lambda face: face.face.box)

    @property
    def crops(self):
        """The aligned crop of each translated face, ``PIL.Image``."""
        return self.each(lambda face: Image.fromarray(face.crop))

    @property
    def translated(self):
        """The translated crop of each translated face, ``PIL.Image``."""
        return self.each(lambda face: Image.fromarray(face.made))

    @property
    def matrices(self):
        """The float64 2×3 similarity from the photo's pixels to the crop's, for each translated face."""
        return self.each(lambda face: face.matrix)

    def each(self, what):
        """``what(face)`` for each translated face."""
        return [[what(face) for face in faces if face.changed] for faces in self.faces]


@dataclass
class PhotoBatch:
    """The photos of one call, each a :class:`~maskhub.pipelines.record.PhotoRecord`. ``single``: a photo was given
    instead of a list. ``strict``: a photo without a face, or without one that can be translated, is an error."""

    records: list
    single: bool
    strict: bool

    @classmethod
    def read(cls, photos, side, seed, on_no_face):
        """Open the photos and find their faces; arguments as in a pipeline call, ``side`` is the crops' resolution.
        PhotoError if a photo can't be read, NoFaceError if it has no face, ConfigError for a bad option."""
        if on_no_face not in ("raise", "keep"):
            raise ConfigError(f"on_no_face is {on_no_face!r}; it must be 'raise' or 'keep'.")
        single = not isinstance(photos, (list, tuple))
        photos = [photos] if single else photos
        batch = cls([], single, on_no_face == "raise")
        for number, (photo, own_seed) in enumerate(zip(photos, _seeds(seed, len(photos)), strict=True)):
            name = f"photo {number}" if len(photos) > 1 else "the photo"
            batch.records.append(PhotoRecord.read(photo, side, seed=own_seed, owner=number, name=name))
            if batch.strict:
                batch.records[-1].require_faces()
        return batch

    @property
    def faces(self):
        """The faces of all photos."""
        return [face for record in self.records for face in record.faces]

    def finish(self, tag):
        """Build the :class:`FaceMaskOutput` of translated faces; ``tag`` as in :meth:`PhotoRecord.finish`.
        :class:`NoFaceError` for a photo without a face that is clear enough."""
        if self.strict:
            for record in self.records:
                record.require_faces()
        finished = [record.finish(tag) for record in self.records]
        faces = [record.faces for record in self.records]
        return FaceMaskOutput([image for image, _ in finished], [region for _, region in finished], faces)

    def unchanged(self):
        """A clause for each photo that is unchanged because its faces need no change."""
        return [record.why_unchanged() for record in self.records if record.needs_nothing]

    def onward(self):
        """The batch for the way back: the translated crops are the next input. NothingToDoError for a photo without
        one, NoFaceError if it has no face that is clear enough."""
        for record in self.records:
            if self.strict and not record.changed:
                wrong = NothingToDoError if record.needs_nothing else NoFaceError
                raise wrong(f"{record.why_unchanged()}.")
        records = [replace(record, faces=[face.onward() for face in record.changed]) for record in self.records]
        return PhotoBatch(records, self.single, strict=False)


def _seeds(seed, count):
    """One seed per photo; the first is ``seed`` itself, so that a list of one gives the same result as the photo."""
    if not isinstance(seed, (list, tuple)):
        drawn = [np.random.SeedSequence([seed, number]).generate_state(1)[0] for number in range(1, count)]
        return [seed, *map(int, drawn)][:count]
    if len(seed) != count:
        raise ConfigError(f"there are {len(seed)} seeds for {count} photos. Give one per photo, or one for all.")
    return seed
