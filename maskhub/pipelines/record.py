"""The record of one face from detection to paste, shared by photos, films and cameras.

face = FaceRecord(pixels, found, side=256)      # cropped and aligned
face.made = ...                                 # a network's translation of face.given
face.region = changed_region(face.crop, face.made, face.matrix, face.photo)
pixels, region = face.paste(pixels)
"""

from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from maskhub.direction import Direction
from maskhub.errors import NoFaceError
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.face import Face
from maskhub.faces.photo import kept_info, open_photo, split_alpha
from maskhub.pipelines.changed import wider_for
from maskhub.pipelines.estimate import Estimate
from maskhub.pipelines.outcomes import Outcome
from maskhub.provenance import mark

__all__ = ["Drawing", "FaceRecord", "PhotoRecord"]


@dataclass(frozen=True)
class Drawing:
    """What was drawn on a photo: the ``part`` of it that changed, as an index, and of that the ``pixels``, uint8 h×w×3,
    and the ``region``, float32 h×w in [0, 1]; where it is 0, the photo shows."""

    part: tuple
    pixels: np.ndarray = field(repr=False)
    region: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, image, region):
        """Of a whole photo after drawing, uint8 H×W×3, and its region, float32 H×W."""
        left, top, width, height = cv2.boundingRect((region > 0).astype(np.uint8))
        part = np.s_[top : top + height, left : left + width]
        return cls(part, image[part].copy(), region[part].copy())

    def paste(self, photo):
        """The photo with the drawing, and the float32 H×W region; ``photo`` is not modified."""
        out, whole = photo.copy(), np.zeros(photo.shape[:2], np.float32)
        whole[self.part] = self.region
        out[self.part] = np.where(self.region[..., None] > 0, self.pixels, photo[self.part])
        return out, whole


@dataclass(eq=False)
class FaceRecord:
    """A face and everything known about it so far.

    Attributes:
        photo: uint8 H×W×3, the photo or frame that contains it. Never modified.
        face: the :class:`~maskhub.faces.face.Face`.
        side: S, the crop's side in pixels.
        seed: the photo's seed; the rule-based mask of face ``number`` is drawn with ``seed + number``.
        number: within its photo, largest first.
        owner: the photo's index in its list: all faces of a photo share one noise sequence.
        wider: factor by which the crop spans more of the photo than usual.
        matrix: float64 2×3, the similarity from the photo's pixels to the crop's.
        crop: uint8 S×S×3, aligned.
        given: uint8 S×S×3, the network's input: the crop, or the crop with a rule-based mask.
        made: uint8 S×S×3, the translation, or None.
        drawn: the :class:`Drawing` that is pasted instead of ``made``, where a mask is drawn by rule alone; or None.
        region: float32 S×S in [0, 1]: the opacity of ``made`` in the photo.
        presence: 0 to 1, the mask detector's confidence that a mask is worn; None if the detector was not run.
        estimate: of the result, for a face whose mask is to be taken off; None if the mask detector was not run.
        direction: of the translation; None until decided.
        outcome: None until known.
    """

    photo: np.ndarray = field(repr=False)
    face: Face
    side: int
    seed: int = 0
    number: int = 0
    owner: int = 0
    wider: float = 1.0
    matrix: np.ndarray = field(init=False, repr=False)
    crop: np.ndarray = field(init=False, repr=False)
    given: np.ndarray = field(init=False, repr=False)
    made: np.ndarray | None = field(default=None, repr=False)
    region: np.ndarray | None = field(default=None, repr=False)
    drawn: Drawing | None = field(default=None, repr=False)
    presence: float | None = None
    estimate: Estimate | None = None
    direction: Direction | None = None
    outcome: Outcome | None = None

    def __post_init__(self):
        self._cut(self.wider)

    @property
    def changed(self):
        """Whether it was translated."""
        return self.outcome is Outcome.CHANGED

    @property
    def expected_error(self):
        """The LPIPS that the result is expected to have inside the region, or None."""
        return self.estimate.error if self.estimate else None

    @property
    def likely_poor(self):
        """Whether the result is likely to look poor."""
        return self.estimate is not None and self.estimate.poor

    @property
    def pending(self):
        """Whether it still has no outcome."""
        return self.outcome is None

    def widen(self, drawn):
        """Use a wider crop, once, if what was ``drawn`` on this one (uint8 S×S×3, by a rule or a network) extends
        beyond it. Returns whether the crop was replaced, so that all steps must be repeated on it."""
        times = wider_for(self.crop, drawn, self.matrix, self.photo) if self.wider == 1 else 1
        if times > 1:
            self._cut(times)
        return times > 1

    def onward(self):
        """A copy for the next translation of the same photo: its translated crop is the new input."""
        other = copy(self)
        other.given, other.made, other.region, other.drawn = self.made, None, None, None
        other.estimate = other.outcome = None
        return other

    def paste(self, photo):
        """The photo with this face pasted, and the float32 H×W region; see :func:`maskhub.faces.align.paste`."""
        if self.drawn is not None:
            return self.drawn.paste(photo)
        return align.paste(photo, self.made, self.region, self.matrix)

    def _cut(self, wider):
        self.wider, self.matrix = wider, align.alignment(self.face, self.side, wider)
        self.crop = self.given = align.crop(self.photo, self.matrix, self.side)


@dataclass(eq=False)
class PhotoRecord:
    """A photo on its way through a pipeline: the ``name`` by which messages refer to it; its ``pixels``, uint8 RGB
    H×W×3, and its ``alpha`` band as ``PIL.Image``, or None; ``info``, what its result takes over, see
    :func:`~maskhub.faces.photo.kept_info`; and a :class:`FaceRecord` for each of its ``faces``, largest first."""

    name: str
    pixels: np.ndarray = field(repr=False)
    alpha: Image.Image | None
    info: dict = field(repr=False)
    faces: list

    @classmethod
    def read(cls, source, side, *, seed=0, owner=0, name="the photo"):
        """Open a photo (:func:`~maskhub.faces.photo.open_photo`) and find its faces; other arguments as in
        :class:`FaceRecord`."""
        opened = open_photo(source)
        rgb, alpha = split_alpha(opened)
        pixels = np.asarray(rgb)
        faces = [FaceRecord(pixels, face, side, seed, number, owner) for number, face in enumerate(detect(pixels))]
        name = str(source) if isinstance(source, (str, Path)) else name
        return cls(name, pixels, alpha, kept_info(opened), faces)

    @property
    def changed(self):
        """The faces that were translated."""
        return [face for face in self.faces if face.changed]

    @property
    def needs_nothing(self):
        """Whether no face was translated, at least one of them because it needs no change."""
        return not self.changed and any(face.outcome is not Outcome.UNCLEAR for face in self.faces)

    def why_unchanged(self):
        """A clause for a photo without a translated face."""
        why = " and ".join(sorted({face.outcome for face in self.faces})) or "no face found"
        return f"{self.name} stays as it is ({why})"

    def require_faces(self):
        """Raise :class:`NoFaceError` if there is no face, or none that a mask could be drawn on."""
        if not self.faces:
            raise NoFaceError(
                f"no face was found in {self.name}. Use a photo in which a face is at least 30 pixels wide."
            )
        if all(face.outcome is Outcome.UNCLEAR for face in self.faces):
            raise NoFaceError(
                f"no face in {self.name} is clear enough to draw a mask on: they are covered, turned too far or too "
                "small. Use another photo."
            )

    def finish(self, tag=None):
        """Paste the translated faces, the largest last so that it is on top: the ``PIL.Image`` and its float32 H×W
        region.

        The picture gets ``tag``, a :class:`~maskhub.provenance.Provenance` or None; an unchanged photo gets none.
        """
        pixels, region = self.pixels, None
        for face in reversed(self.changed):
            pixels, pasted = face.paste(pixels)
            region = pasted if region is None else np.maximum(region, pasted)
        if region is None:
            region = np.zeros(pixels.shape[:2], np.float32)
        image = Image.fromarray(pixels)
        if self.alpha is not None:
            image.putalpha(self.alpha)
        image.info |= self.info
        return mark(image, tag if self.changed else None), region
