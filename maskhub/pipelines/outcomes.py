"""What happened to each face, and how it is reported."""

from collections import Counter
from enum import StrEnum

from maskhub.direction import Direction

__all__ = ["Outcome", "described", "frames_left", "tally"]


class Outcome(StrEnum):
    """What happened to a face."""

    CHANGED = "changed"
    NO_MASK = "no mask worn"
    ALREADY_MASKED = "already masked"
    UNCLEAR = "not clear enough"
    """Its landmarks are unreliable, so no mask can be drawn on it by rule."""
    NOT_CHOSEN = "not chosen"
    """Not among the portion of faces that get a mask."""


DONE = {Direction.MASK: "put on", Direction.UNMASK: "taken off"}
POOR = "likely poor"


def tally(faces):
    """Count :class:`~maskhub.pipelines.record.FaceRecord` s for :func:`described`: ``"put on"``, ``"taken off"``, of
    these :data:`POOR`, and the outcomes of faces left as they are. Counts of several photos can be added."""
    counts = Counter(DONE[face.direction] if face.changed else face.outcome for face in faces)
    return counts + Counter(POOR for face in faces if face.changed and face.likely_poor)


def described(counts):
    """One sentence about a :func:`tally`: ``3 faces found: 2 masks taken off, 1 left as it is (no mask worn); 1 result
    is likely poor``."""
    if poor := counts[POOR]:
        others = Counter({what: n for what, n in counts.items() if what != POOR})
        return f"{described(others)}; {poor} {'result is' if poor == 1 else 'results are'} likely poor"
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
    """Describe the unchanged faces in the ``outcomes`` of a film's :class:`~maskhub.pipelines.live.FrameTranslator`, as
    a list of clauses: ``in 30 frames a face was left as it is (no mask worn)``, ``no frame was changed``."""
    left = [why for why in Outcome if why is not Outcome.CHANGED and outcomes[why]]
    clauses = [f"in {outcomes[why]} frames a face was left as it is ({why})" for why in left]
    return clauses + ([] if outcomes[Outcome.CHANGED] else ["no frame was changed"])
