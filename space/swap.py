"""Translate a photo as the visitor chooses, face by face, independently of the page.

    swap = translate(pipe, photo, "auto", {2: "rule surgical blue 7", 0: "keep"})
    swap.image, swap.faces[2].said              # the photo, "mask put on"

A choice for a face is text, so that it can be stored with a page: ``keep``; ``rule STYLE COLOUR SEED``, a mask drawn by
rule; ``candidate N``, another result of the network, from a mirrored or wider crop of the face.
"""

from copy import copy
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from maskhub.data.masked import Wearing, wear_near
from maskhub.direction import Direction
from maskhub.faces.landmarks import landmarks, moved_landmarks
from maskhub.masks.detector import MASKED, mask_presences
from maskhub.masks.styles import COLOURS, STYLES
from maskhub.pipelines.changed import changed_region
from maskhub.pipelines.estimate import Estimate
from maskhub.pipelines.outcomes import Outcome
from maskhub.pipelines.record import Drawing, FaceRecord, PhotoRecord
from maskhub.pipelines.translator import RuleMasker

__all__ = ["CANDIDATES", "FaceSwap", "Swap", "options", "translate"]

CANDIDATES = ((1.0, True), (1.12, False))
"""Other crops for the network: how much wider than usual, and whether mirrored."""
UNSURE = (0.2, 0.8)
"""Between these confidences the mask detector is unsure, which the page reports if a face was left alone for it."""
DONE = {Direction.MASK: "mask put on", Direction.UNMASK: "mask taken off"}
LEFT = {
    Outcome.NO_MASK: "wears no mask",
    Outcome.ALREADY_MASKED: "already masked",
    Outcome.UNCLEAR: "not clear enough",
    Outcome.NOT_CHOSEN: "as it was",
}


@dataclass
class FaceSwap:
    """The outcome for one face with its ``box``, left, top, width and height in pixels, and the ``matrix`` of its
    aligned crop, see :func:`maskhub.faces.align.alignment`.

    Attributes:
        direction, outcome: what was done, or would have been; an :class:`~maskhub.pipelines.outcomes.Outcome`.
        presence: the mask detector's confidence before, or None if it was not run.
        empty: whether it was translated but no pixel changed.
        left_on: whether a mask is still found after it was taken off.
        estimate: of the result, or None if no mask was to be taken off.
    """

    box: tuple
    matrix: np.ndarray = field(repr=False)
    direction: Direction
    outcome: Outcome
    presence: float | None = None
    empty: bool = False
    left_on: bool = False
    estimate: Estimate | None = None

    @property
    def poor(self):
        """Whether a mask was taken off, but the result is likely to look poor."""
        return self.changed and not self.left_on and self.estimate is not None and self.estimate.poor

    @property
    def changed(self):
        """Whether the photo differs at this face."""
        return self.outcome is Outcome.CHANGED and not self.empty

    @property
    def unsure(self):
        """Whether it was left alone on weak evidence."""
        alone = self.outcome in (Outcome.NO_MASK, Outcome.ALREADY_MASKED)
        return alone and self.presence is not None and UNSURE[0] < self.presence < UNSURE[1]

    @property
    def said(self):
        """A few words for its thumbnail."""
        if self.changed:
            done = "mask still there" if self.left_on else DONE[self.direction]
            return f"{done}, likely poor" if self.poor else done
        return "nothing changed" if self.empty else LEFT[self.outcome]


@dataclass
class Swap:
    """A translated photo: ``PIL.Image``, the bool H×W region that changed, and a :class:`FaceSwap` per face."""

    image: Image.Image
    region: np.ndarray = field(repr=False)
    faces: list


def translate(pipe, photo, direction="auto", choices=None, force=False):
    """Translate the faces of a photo of :func:`maskhub.faces.photo.open_photo` as a :class:`Swap`: in a ``direction``,
    ``"auto"``, ``"mask"`` or ``"unmask"``, with the choices made for some faces, face's number (from 0, largest first)
    → choice. ``force`` translates every face, whatever the mask detector finds; it needs a direction. NoFaceError if no
    face is found, or none clear enough for a mask."""
    choices = choices or {}
    record = PhotoRecord.read(photo, pipe.config.resolution)
    record.require_faces()
    translator = pipe.translator(direction, force)
    free = []
    for face in record.faces:
        choice = choices.get(face.number, "")
        if choice.startswith("rule "):
            _draw(face, choice)
        elif choice == "keep":
            face.direction, face.outcome = Direction.MASK, Outcome.NOT_CHOSEN
        else:
            free.append(face)
    translator(free)
    for face in free:
        choice = choices.get(face.number, "")
        if face.changed and choice.startswith("candidate "):
            _run_again(pipe, face, int(choice.split()[1]))
    if not choices:
        record.require_faces()
    image, region = record.finish(pipe.provenance(direction))
    return Swap(image, region > 0.5, _told(record, np.asarray(image.convert("RGB"))))


def options(pipe, photo, number, direction="auto", colour="random", seed=0, force=False):
    """The alternatives for face ``number`` of a photo: list of (uint8 S×S×3 crop, what it is, choice). Masks drawn by
    rule have the ``colour``, a name in :data:`maskhub.masks.styles.COLOURS`, if their style has it, and the ``seed``;
    the other arguments are as in :func:`translate`."""
    record = PhotoRecord.read(photo, pipe.config.resolution)
    if not 0 <= number < len(record.faces):
        return []
    face, translator = record.faces[number], pipe.translator(direction, force)
    translator([face])
    looks = [(face.crop, "as it was", "keep")]
    if face.direction is Direction.UNMASK and face.changed:
        looks.append((_blended(face), "candidate 1", ""))
        for candidate in range(len(CANDIDATES)):
            other = _run_again(pipe, copy(face), candidate)
            looks.append((_blended(other), f"candidate {candidate + 2}", f"candidate {candidate}"))
    elif face.outcome is not Outcome.ALREADY_MASKED:
        if face.changed:
            looks.append((_blended(face), "by the network" if pipe.masker else "random", ""))
        found = landmarks(face.photo, face.face)
        marks = moved_landmarks(found, face.matrix)
        for style in STYLES if found.present else ():
            own = colour if colour in COLOURS[style] else None
            made = RuleMasker(style, own)(face.crop, marks, seed)
            looks.append((made[0], style, f"rule {style} {own or 'random'} {seed}"))
    return looks


def _run_again(pipe, face, candidate):
    """Run the network on another crop of a face, and store the result in its record."""
    wider, mirrored = CANDIDATES[candidate]
    if wider > 1:
        wider *= face.wider
        other = FaceRecord(face.photo, face.face, face.side, face.seed, face.number, face.owner, wider)
        face.matrix, face.crop, face.given, face.wider = other.matrix, other.crop, other.given, wider
    given = np.ascontiguousarray(face.given[:, ::-1]) if mirrored else face.given
    (made,) = pipe.translate_crops([given], face.direction)
    face.made = np.ascontiguousarray(made[:, ::-1]) if mirrored else made
    face.region = changed_region(face.crop, face.made, face.matrix, face.photo)
    return face


def _draw(face, choice):
    """Draw a mask by rule, to be pasted at the photo's own resolution."""
    _, style, colour, seed = choice.split(" ")
    face.direction, found = Direction.MASK, landmarks(face.photo, face.face)
    if not found.present:
        face.outcome = Outcome.UNCLEAR
        return
    wearing = Wearing(style=style, colour=colour)
    made, cover, (left, top) = wear_near(face.photo, face.face, found, wearing, int(seed), "correctly")
    part = np.s_[top : top + cover.shape[0], left : left + cover.shape[1]]
    face.drawn, face.outcome = Drawing(part, made.image, cover), Outcome.CHANGED


def _told(record, pixels):
    """The :class:`FaceSwap` of each face."""
    off = [face for face in record.faces if face.changed and face.direction is Direction.UNMASK]
    after = mask_presences([(pixels, face.face) for face in off]) if off else ()
    still = {face.number for face, presence in zip(off, after, strict=True) if presence >= MASKED}
    return [
        FaceSwap(
            face.face.box, face.matrix, face.direction, face.outcome, face.presence,
            empty=face.changed and face.made is not None and not (face.region > 0.5).any(),
            left_on=face.number in still, estimate=face.estimate,
        )
        for face in record.faces
    ]  # fmt: skip


def _blended(face):
    weight = face.region[..., None]
    return np.rint(face.crop + (face.made.astype(np.float32) - face.crop) * weight).astype(np.uint8)
