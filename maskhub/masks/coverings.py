"""Things other than masks in front of a face: sunglasses, a scarf, a hand, a microphone, for data about occlusion.

    worn = wear(photo, style="sunglasses", seed=3)       # or scarf, hand, microphone, random-covering

All are drawn on the face's landmarks, lit like its skin, and as sharp as the photo. Nothing is a picture: the shape of
the hand is a mesh (``maskhub/weights/hand/README.md``).
"""

from typing import NamedTuple

import numpy as np

from maskhub.errors import ConfigError
from maskhub.masks.blend import blend, three
from maskhub.masks.fit import Head
from maskhub.masks.hand import draw_hand
from maskhub.masks.lighting import estimate_lighting
from maskhub.masks.microphone import draw_microphone
from maskhub.masks.scarf import draw_scarf
from maskhub.masks.styles import named_colour
from maskhub.masks.sunglasses import draw_sunglasses

__all__ = ["COVERED", "COVERINGS", "COVERING_COLOURS", "RANDOM_COVERING", "Covered", "put_before"]

COVERED = "covered"
"""What ``worn`` says about a face with one of these: they aren't worn correctly or wrongly, as masks are."""
RANDOM_COVERING = "random-covering"


class _Covering(NamedTuple):
    """How a covering is drawn, its distance from the face in face widths, the depth of its shadow, and its colours (the
    frame's, the cloth's, the sleeve's, the grille's or the foam's), sRGB under white light."""

    draw: object
    gap: float
    shadow: float
    colours: dict


COVERINGS = {
    "sunglasses": _Covering(
        draw_sunglasses, 0.014, 0.35,
        {
            "black": (16, 16, 18), "brown": (78, 46, 26), "grey": (92, 94, 98), "navy": (24, 32, 58),
            "red": (132, 28, 34), "white": (206, 205, 200),
        },
    ),
    "scarf": _Covering(
        draw_scarf, 0.018, 0.40,
        {
            "grey": (128, 130, 134), "black": (44, 44, 48), "navy": (38, 50, 84), "red": (158, 36, 42),
            "green": (52, 86, 68), "beige": (200, 180, 150), "mustard": (190, 142, 58), "white": (222, 220, 214),
        },
    ),
    "hand": _Covering(
        draw_hand, 0.035, 0.45,
        {
            "black": (22, 22, 24), "navy": (30, 40, 66), "grey": (120, 122, 126), "white": (214, 211, 204),
            "red": (110, 36, 42), "green": (46, 72, 58), "blue": (52, 84, 128), "beige": (178, 154, 124), "bare": None,
        },
    ),
    "microphone": _Covering(
        draw_microphone, 0.050, 0.40,
        {
            "black": (40, 40, 43), "silver": (152, 155, 160), "red": (160, 30, 34), "blue": (32, 56, 138),
            "green": (34, 104, 60), "yellow": (206, 166, 44),
        },
    ),
}  # fmt: skip
"""Name → how it is drawn."""
COVERING_COLOURS = {name: covering.colours for name, covering in COVERINGS.items()}
"""The named colours of each."""


class Covered(NamedTuple):
    """A photo, uint8 RGB H×W×3, with a covering, and the ``region``, ``style`` and ``colour`` of
    :class:`~maskhub.masks.wear.Worn`."""

    image: np.ndarray
    region: np.ndarray
    style: str
    colour: str


def put_before(image, landmarks, style, colour, rng):
    """Put a covering on a face, as :class:`Covered`.

    Args:
        image: uint8 RGB H×W×3; not modified.
        landmarks: :class:`~maskhub.faces.landmarks.Landmarks` of the face.
        style: a name in :data:`COVERINGS`, or :data:`RANDOM_COVERING`.
        colour: a name of a colour of that style, three sRGB numbers from 0 to 255, or None for a random one.
        rng: ``numpy.random.Generator``.

    Raises:
        ConfigError: an unknown style or colour.
    """
    pick, which = rng.random(2).tolist()
    if style == RANDOM_COVERING:
        style = tuple(COVERINGS)[int(which * len(COVERINGS))]
    if style not in COVERINGS:
        raise ConfigError(f"unknown covering {style!r}. Choose one of {', '.join(COVERINGS)} or {RANDOM_COVERING}.")
    covering = COVERINGS[style]
    name, base = named_colour(style, covering.colours, colour, pick)
    head = Head.of(landmarks)
    lighting = estimate_lighting(image, landmarks, head)
    drawn = covering.draw(head, lighting, base, rng, (image.shape[1], image.shape[0]))
    if drawn is None:
        return Covered(image.copy(), np.zeros(image.shape[:2], np.float32), style, name)
    how = {"skin": 1.0, "gap": covering.gap, "shadow": covering.shadow, "shape": drawn.shape}
    layer = drawn.layer * three(drawn.cover)
    made, region = blend(image, drawn.corner, layer, drawn.cover, lighting, head, rng, **how)
    return Covered(made, region, style, name)
