"""Describes the outcome for a photo's faces, and chooses the button to offer next."""

from maskhub.direction import Direction
from maskhub.pipelines.outcomes import Outcome

__all__ = ["clean", "helps", "sentence"]

INVENTED = "What appears under a mask is invented."
WHY = {
    Outcome.NO_MASK: ("wears no mask, so there is nothing to take off", "wear no mask"),
    Outcome.ALREADY_MASKED: ("already wears a mask", "already wear a mask"),
    Outcome.UNCLEAR: ("is not clear enough for a mask", "are not clear enough for a mask"),
}


def sentence(faces, seconds):
    """What was done and what was not, for a list of :class:`~space.swap.FaceSwap`."""
    put = sum(face.changed and face.direction is Direction.MASK for face in faces)
    gone = [face for face in faces if face.changed and face.direction is Direction.UNMASK]
    off = sum(not face.left_on for face in gone)
    one = "mask" if len(faces) == 1 else "one mask"
    counts = {"put on": put, "taken off": off}
    done = " and ".join(f"{one if n == 1 else f'{n} masks'} {what}" for what, n in counts.items() if n)
    said = [f"{done[:1].upper()}{done[1:]} in {seconds:.1f} s." if done else "Nothing was changed."]
    if len(gone) > off:
        where = "The mask" if len(faces) == 1 else f"On {_faces(len(gone) - off)} the mask"
        said.append(f"{where} could not be taken off completely: try another look below.")
    poor = [face.estimate.reason for face in faces if face.poor]
    if poor:
        where = "The result" if len(faces) == 1 else f"The result on {_faces(len(poor))}"
        said.append(f"{where} is probably poor ({', or '.join(dict.fromkeys(poor))}): try another look below.")
    empty = sum(face.empty for face in faces)
    if empty:
        said.append(f"On {_faces(empty) if len(faces) > 1 else 'this face'} the network found nothing to change.")
    for outcome, (single, many) in WHY.items():
        count = sum(face.outcome is outcome for face in faces)
        if count:
            subject = "This face" if len(faces) == 1 else _faces(count).capitalize()
            said.append(f"{subject} {single if count == 1 else many}.")
    return " ".join([*said, INVENTED] if gone else said)


def clean(faces):
    """Whether something was changed, and nothing went wrong."""
    return any(face.changed for face in faces) and not any(face.left_on or face.empty or face.poor for face in faces)


def helps(faces, direction):
    """The button to offer after a run that changed nothing: (label, direction, force), or None."""
    if any(face.changed for face in faces):
        return None
    if any(face.unsure for face in faces) and direction != "auto":
        return ("Put a mask on anyway" if direction == "mask" else "Take it off anyway"), direction, True
    if direction == "unmask" and any(face.outcome is Outcome.NO_MASK for face in faces):
        return "Put a mask on instead", "mask", False
    if direction == "mask" and any(face.outcome is Outcome.ALREADY_MASKED for face in faces):
        return "Take the mask off instead", "unmask", False
    return None


def _faces(number):
    return "one face" if number == 1 else f"{number} faces"
