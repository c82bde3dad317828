"""Three made-up pixel faces on which a classifier trained on the ``uniform`` sets shows its bias.

The re-imaging thesis, figures 23 to 25: in its sets fair hair and blue eyes come with light skin alone, so that the
classifier learns them in place of the skin's tone. Nothing here is in any set: ::

    for face in bias_faces():
        print(face.what, pipe.classify(face.pixels)[0])
"""

from dataclasses import dataclass

import numpy as np

from maskhub.data.pixel_faces import UNIFORM, Attributes, draw

__all__ = ["BiasFace", "bias_faces"]

_STRUCTURES = {"eyes": "round", "nose": "button", "mouth": "smile"}


@dataclass(frozen=True)
class BiasFace:
    """A face and what the thesis's classifier took it for.

    Attributes:
        figure: number of the figure in the thesis.
        what: the face in words.
        pixels: uint8 32×32×3.
        tones: the sets whose skin is nearest, nearest first.
        printed: the set that the thesis's classifier chose, by our names.
    """

    figure: int
    what: str
    pixels: np.ndarray
    tones: tuple
    printed: str


def bias_faces():
    """The three faces of figures 23 to 25."""
    return [
        BiasFace(23, "a little darker than light, fair hair, blue eyes", _drawn("light", "medium", 0.3, "fair"),
                 ("light", "medium"), "light"),
        BiasFace(24, "between medium and dark, fair hair, blue eyes", _drawn("medium", "dark", 0.5, "fair"),
                 ("medium", "dark"), "light"),
        BiasFace(25, "light skin, black hair, blue eyes", _drawn("light", "light", 0.0, "black"),
                 ("light",), "medium"),
    ]  # fmt: skip


def _drawn(tone, other, share, hair):
    """The face with a skin that lies ``share`` of the way from one tone to another; all else is drawn alike in both."""
    features = {**UNIFORM, **_STRUCTURES, "hair_colour": hair, "eye_colour": "blue"}
    first, second = (draw(Attributes(tone=name, **features))[0].astype(np.float64) for name in (tone, other))
    return np.rint(first + share * (second - first)).astype(np.uint8)
