"""Decide what each face needs and do it: by rule, by a network, or automatically by whether a mask is worn.

    translator = pipe.translator("auto")            # or "mask", "unmask"; RuleMasker().translator("mask")
    translator(faces)                               # a list of FaceRecord: sets .made, .region, .outcome

Photos pass all their faces at once. Films (:mod:`maskhub.pipelines.live`) take the same steps face by face and keep
state between frames.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maskhub.direction import Direction
from maskhub.errors import ConfigError, NoFaceError
from maskhub.faces import align
from maskhub.masks.detector import MASKED, detect_masks
from maskhub.masks.wear import wear
from maskhub.pipelines.changed import changed_region
from maskhub.pipelines.estimate import estimate_result
from maskhub.pipelines.outcomes import Outcome
from maskhub.pipelines.record import Drawing

__all__ = ["RuleMasker", "Translator", "Way", "asked_direction"]


def asked_direction(name):
    """The :class:`~maskhub.direction.Direction` of ``"mask"`` or ``"unmask"``; None for ``"auto"``; or ConfigError."""
    if name == "auto":
        return None
    if name not in list(Direction):
        raise ConfigError(f"the direction is {name!r}; it must be 'mask', 'unmask' or 'auto'.")
    return Direction(name)


class RuleMasker:
    """Masks drawn by rule: alone, instead of a pipeline, or as the first step of a two-step one.

    Args:
        style, colour: as in :func:`maskhub.masks.wear`.
        worn: a name in :data:`maskhub.masks.WORN`, or a function that draws one from a ``numpy.random.Generator``.
        portion: share of faces that get a mask, 0 to 1, drawn per face by its number.
    """

    def __init__(self, style="random", colour=None, worn="correctly", portion=1.0):
        self.style, self.colour, self.worn, self.portion = style, colour, worn, portion

    def __call__(self, crop, marks, seed):
        """The masked crop and its region, or None for a face that gets no mask; ``marks`` are in the crop's pixels."""
        made = self._wear(crop, seed, landmarks=marks)
        return made and (made.image, made.region)

    def _wear(self, pixels, seed, **where):
        """The :class:`~maskhub.masks.wear.Worn` of one face, or None if it gets no mask."""
        rng = np.random.default_rng(seed)
        if rng.random() >= self.portion:
            return None
        worn = self.worn(rng) if callable(self.worn) else self.worn
        return wear(pixels, style=self.style, colour=self.colour, worn=worn, seed=seed, **where)

    def _dressed(self, record, pixels, face=None):
        """The same of a :class:`~maskhub.pipelines.record.FaceRecord`; without a mask, the record gets its outcome."""
        try:
            made = self._wear(pixels, record.seed + record.number, face=face)
        except NoFaceError:
            record.outcome = Outcome.UNCLEAR
            return None
        if made is None:
            record.outcome = Outcome.NOT_CHOSEN
        return made

    def dress(self, face, final=False):
        """Draw the mask on the whole photo; sets ``face.given``, or the outcome. ``final``: no network follows, so the
        drawing itself is pasted, at the photo's own resolution."""
        if not (worn := self._dressed(face, face.photo, face.face)):
            return
        face.given = align.crop(worn.image, face.matrix, face.side)
        if face.widen(face.given):
            face.given = align.crop(worn.image, face.matrix, face.side)
        if final:
            face.drawn = Drawing.of(worn.image, worn.region)

    def dress_crop(self, face):
        """Draw the mask on the crop ``face.given``, or set the outcome."""
        if worn := self._dressed(face, face.given):
            face.given = worn.image

    def translator(self, direction="mask", force=False):
        """The :class:`Translator` that draws masks by this rule; ConfigError for a direction other than ``"mask"``."""
        if asked_direction(direction) is not Direction.MASK:
            raise ConfigError("rules can only put masks on. To remove masks, use a pipeline.")
        return Translator({Direction.MASK: Way(rule=self)}, Direction.MASK, force)


@dataclass
class Way:
    """How faces are translated in one direction: by a rule, a :class:`RuleMasker`; by a ``network``, (uint8 S×S×3
    crops, for each (photo's number, seed), batch size) → translated crops; or by both, the rule first."""

    rule: RuleMasker | None = None
    network: Callable | None = None

    def translate(self, faces, batch_size=8):
        """Translate the faces of photos and set their outcomes."""
        if self.rule:
            for face in faces:
                self.rule.dress(face, final=self.network is None)
            faces = [face for face in faces if face.pending]
        self.make(faces, batch_size)

    def translate_back(self, faces, batch_size=8):
        """Translate the crops that the opposite direction has made, the second half of a cycle."""
        if self.rule:
            for face in faces:
                self.rule.dress_crop(face)
        self.run([face for face in faces if face.pending], batch_size)

    def make(self, faces, batch_size=8):
        """Run the network on each face's input, and again if the result extends beyond its crop."""
        self.run(faces, batch_size)
        if not self.rule:  # the crop of a rule-based mask already fits
            self.run([face for face in faces if face.widen(face.made)], batch_size)

    def run(self, faces, batch_size=8):
        """Run the network, if there is one, on each face's input in its current crop."""
        if not faces:
            return
        crops, owners = [face.given for face in faces], [(face.owner, face.seed) for face in faces]
        for face, made in zip(faces, self.network(crops, owners, batch_size) if self.network else crops, strict=True):
            face.made = made
            face.region = changed_region(face.crop, made, face.matrix, face.photo)
            face.outcome = Outcome.CHANGED


class Translator:
    """Decides what each face needs and does it, by ``ways``: direction → :class:`Way`. The
    :class:`~maskhub.direction.Direction` that was ``asked`` may be None: remove masks where worn, add them elsewhere.
    ``force`` translates every face, even one that needs no change, without running the mask detector."""

    def __init__(self, ways, asked, force=False):
        if force and asked is None:
            raise ConfigError("force needs a direction: 'auto' translates every face anyway.")
        self.ways, self.asked, self.force = ways, asked, force

    def __call__(self, faces, batch_size=8):
        """Translate :class:`~maskhub.pipelines.record.FaceRecord` s in place, ``batch_size`` crops at a time."""
        self.examine(faces)
        for face in faces:
            self.decide(face, masked=not self.force and face.presence >= MASKED)
        for direction, way in self.ways.items():
            way.translate([face for face in faces if face.pending and face.direction is direction], batch_size)

    def examine(self, faces):
        """Run the mask detector, unless ``force``: sets ``face.presence``, and ``face.estimate`` where a mask is worn
        and may be taken off."""
        if self.force or not faces:
            return
        crops, detections = detect_masks([(face.photo, face.face) for face in faces])
        for face, crop, found in zip(faces, crops, detections, strict=True):
            face.presence = found.presence
            if found.masked and self.asked is not Direction.MASK:
                face.estimate = estimate_result(crop, face.face.score, found)

    def decide(self, face, masked):
        """Set a face's direction by whether it wears a mask, and its outcome if there is nothing to be done."""
        needed = Direction.UNMASK if masked else Direction.MASK
        face.direction = self.asked or needed
        if face.direction is not needed and not self.force:
            face.outcome = Outcome.ALREADY_MASKED if masked else Outcome.NO_MASK
