"""Three pixel faces on which a classifier trained on the ``uniform`` sets shows its bias (the re-imaging thesis,
figures 23 to 25).

In those sets fair hair and blue eyes only occur with light skin, so the classifier learns them instead of the skin
tone. These faces are in no set.

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
    """A face of a figure of the thesis: ``what`` describes it, ``tones`` are the sets with the nearest skin tones,
    nearest first, and ``printed`` is the label that the thesis prints, in our words."""

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
    """A face whose skin is mixed from two tones, ``share`` of the way from the first to the second."""
    features = {**UNIFORM, **_STRUCTURES, "hair_colour": hair, "eye_colour": "blue"}
    first, second = (draw(Attributes(tone=name, **features))[0].astype(np.float64) for name in (tone, other))
    return np.rint(first + share * (second - first)).astype(np.uint8)
