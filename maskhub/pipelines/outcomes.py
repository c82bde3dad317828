"""What becomes of faces, and how that is told."""

from collections import Counter
from enum import StrEnum

from maskhub.direction import Direction

__all__ = ["Outcome", "described", "frames_left", "tally"]


class Outcome(StrEnum):
    """What became of a face."""

    CHANGED = "changed"
    NO_MASK = "no mask worn"
    ALREADY_MASKED = "already masked"
    UNCLEAR = "not clear enough"
    """Its landmarks can't be trusted, so that no mask can be drawn on it by rule."""
    NOT_CHOSEN = "not chosen"
    """By the portion of faces that are to wear a mask."""


DONE = {Direction.MASK: "put on", Direction.UNMASK: "taken off"}


def tally(faces):
    """Count faces by what became of them, for :func:`described`; counts of several photos can be added.

    Args:
        faces: of :class:`~maskhub.pipelines.record.FaceRecord`.

    Returns:
        ``Counter`` of ``"put on"``, ``"taken off"`` and of the outcomes of faces left as they are.
    """
    return Counter(DONE[face.direction] if face.changed else face.outcome for face in faces)


def described(counts):
    """One clause about a :func:`tally`: ``3 faces found: 2 masks taken off, 1 left as it is (no mask worn)``."""
    total = counts.total()
    if not total:
        return "no face found"
    if total == 1:
        (what,) = counts.elements()
        return f"1 face found: mask {what}" if what in DONE.values() else f"1 face found: left as it is ({what})"
    parts = [f"{n} {'mask' if n == 1 else 'masks'} {done}" for done in DONE.values() if (n := counts[done])]
    left = [f"{n} left as {'it is' if n == 1 else 'they are'} ({why})" for why in Outcome if (n := counts[why])]
    return f"{total} faces found: {', '.join(parts + left)}"


def frames_left(outcomes):
    """What a film's :attr:`FrameTranslator.outcomes <maskhub.pipelines.live.FrameTranslator>` say of faces left alone.

    Returns:
        a list of clauses: ``in 30 frames a face was left as it is (no mask worn)``, ``no frame was changed``.
    """
    left = [why for why in Outcome if why is not Outcome.CHANGED and outcomes[why]]
    clauses = [f"in {outcomes[why]} frames a face was left as it is ({why})" for why in left]
    return clauses + ([] if outcomes[Outcome.CHANGED] else ["no frame was changed"])
