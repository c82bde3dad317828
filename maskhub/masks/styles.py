"""What masks look like: the styles, their colours, and drawing a random design from them.

Every design is original: an outline in the (u, v) of :mod:`maskhub.masks.fit`, a shape, and a choice of folds, seams,
pattern and straps that :mod:`maskhub.masks.fabric` paints. No artwork is loaded from files.
"""

import functools
from dataclasses import dataclass, field, replace

import numpy as np

from maskhub.errors import ConfigError

__all__ = ["COLOURS", "STYLES", "WORN", "Design", "design", "named_colour"]

WORN = ("correctly", "nose-out", "chin-out", "nose-and-mouth-out")
"""How a mask is worn: the classes of MaskedFace-Net (Cabani and others, 2020)."""

COLOURS = {
    "surgical": {
        "blue": (150, 194, 222),
        "green": (150, 205, 186),
        "white": (234, 237, 238),
        "black": (48, 48, 52),
        "pink": (236, 176, 190),
    },
    "kn95": {"white": (238, 238, 235), "black": (50, 50, 53), "grey": (150, 152, 156), "pink": (232, 190, 196)},
    "cup": {"white": (236, 235, 230), "blue": (196, 216, 230), "grey": (176, 178, 180)},
    "cloth": {
        "black": (46, 45, 48),
        "navy": (38, 50, 84),
        "grey": (128, 130, 134),
        "red": (168, 42, 46),
        "green": (58, 92, 74),
        "pink": (222, 110, 150),
        "beige": (206, 188, 164),
        "white": (230, 229, 225),
    },
    "patterned": {
        "blue": (54, 84, 140),
        "red": (164, 48, 52),
        "green": (74, 96, 58),
        "black": (48, 48, 52),
        "purple": (104, 66, 128),
        "mustard": (204, 158, 60),
        "teal": (40, 118, 122),
        "beige": (198, 178, 150),
    },
    "neoprene": {"black": (46, 46, 49), "grey": (98, 100, 104), "pink": (214, 160, 166), "beige": (214, 196, 178)},
}
"""The named colours of each style, as sRGB under white light."""
STYLES = tuple(COLOURS)
PATTERNS = ("checks", "stripes", "dots", "camouflage", "floral")
ACCENTS = ((238, 236, 230), (244, 226, 190), (30, 32, 44), (216, 90, 84), (120, 170, 210), (234, 190, 84))

# |u| of the knots, then v of the top and bottom edges at those knots
KNOTS = np.array([0.0, 0.1, 0.25, 0.45, 0.65, 0.85, 1.1])
TOPS = {
    "surgical": (0.125, 0.145, 0.195, 0.235, 0.275, 0.325, 0.38),
    "kn95": (0.085, 0.115, 0.185, 0.245, 0.325, 0.44, 0.55),
    "cup": (0.095, 0.125, 0.20, 0.315, 0.48, 0.66, 0.80),
    "cloth": (0.095, 0.125, 0.185, 0.235, 0.285, 0.345, 0.42),
    "patterned": (0.095, 0.125, 0.185, 0.235, 0.285, 0.345, 0.42),
    "neoprene": (0.11, 0.135, 0.195, 0.24, 0.30, 0.41, 0.55),
}
BOTTOMS = {
    "surgical": (1.06, 1.06, 1.055, 1.02, 0.965, 0.88, 0.80),
    "kn95": (1.10, 1.095, 1.065, 0.99, 0.89, 0.76, 0.62),
    "cup": (1.03, 1.025, 0.985, 0.885, 0.74, 0.62, 0.50),
    "cloth": (1.10, 1.095, 1.075, 1.03, 0.975, 0.90, 0.83),
    "patterned": (1.10, 1.095, 1.075, 1.03, 0.975, 0.90, 0.83),
    "neoprene": (1.10, 1.095, 1.07, 1.02, 0.95, 0.83, 0.70),
}
SIDES = {"surgical": 0.77, "kn95": 0.80, "cup": 0.66, "cloth": 0.82, "patterned": 0.82, "neoprene": 0.88}
LUT_SIZE, LUT_REACH = 1024, 1.25
ROOM, ROOM_ABOVE = 0.05, 0.04
"""Room for a nose in an uncertain place: in front of it in face widths, and above it in v. Chosen by eye on 40 heads
turned by more than 45°."""


@dataclass(frozen=True)
class Design:
    """One random mask.

    Attributes:
        style, colour, worn: names.
        base, accent, strap, trim: sRGB colours in [0, 1]: the fabric, its pattern, the straps, the stitched rim.
        top, bottom: float32 tables of the edges' v over |u|, see :meth:`edges`.
        side: |u| at which the fabric ends.
        waist: how much further out the sides reach half-way down, in u.
        corner: corner radius in face widths.
        tension: for :func:`~maskhub.masks.fit.drape`.
        numbers: the style's own parameters (pleats, rings, ...).
        seed: for the fabric's noise.
    """

    style: str
    colour: str
    worn: str
    base: np.ndarray
    accent: np.ndarray
    strap: np.ndarray
    trim: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    side: float
    waist: float
    corner: float
    tension: int
    seed: int
    numbers: dict = field(default_factory=dict)

    def edges(self, u):
        """The v of the top and of the bottom edge at an array of u."""
        index = np.minimum(np.abs(u) * np.float32(LUT_SIZE / LUT_REACH), np.float32(LUT_SIZE - 2))
        low = index.astype(np.int32)
        part = index - low.astype(np.float32)
        # take is far faster than indexing with brackets
        return [table.take(low) * (1 - part) + table.take(low + 1) * part for table in (self.top, self.bottom)]

    def bulge(self, u, v):
        """How far the fabric stands out beyond a taut sheet at (u, v), in face widths."""
        amount, loose = self.numbers.get("bulge", 0.0), self.numbers.get("loose", 0.0)
        # the fabric spans from the corner of the jaw to the chin instead of following the jaw
        slack = loose * np.exp(-(((np.abs(u) - 0.5) / 0.28) ** 2) - ((v - 0.92) / 0.22) ** 2)
        if room := self.numbers.get("room", 0.0):
            slack += room * np.exp(-((u / 0.28) ** 2) - ((v - 0.36) / 0.28) ** 2)
        if not amount:
            return slack
        middle = (float(self.top[0]) + float(self.bottom[0])) / 2
        height = (float(self.bottom[0]) - float(self.top[0])) / 2
        if self.style == "cup":
            radius = (u / self.side) ** 2 + ((v - middle) / height) ** 2
            return slack + amount * np.maximum(1 - radius, 0) ** 0.7
        ridge = np.maximum(1 - np.abs(u) / self.side, 0) ** (1.25 if self.style == "kn95" else 1.7)
        return slack + amount * ridge * np.maximum(1 - ((v - middle) / height) ** 2, 0)

    def with_room(self, share):
        """The same mask with this share, 0 to 1, of the room that a nose in an uncertain place needs: it stands out
        further in front of the nose, and reaches higher up on it."""
        u = np.arange(len(self.top)) * (LUT_REACH / LUT_SIZE)
        top = self.top - share * ROOM_ABOVE * np.exp(-((u / 0.3) ** 2))
        return replace(self, top=top.astype(np.float32), numbers=self.numbers | {"room": share * ROOM})


def design(style="random", colour=None, worn="correctly", rng=None):
    """Draw one random mask as :class:`Design`.

    Args:
        style: a name in :data:`STYLES`, or ``random``.
        colour: a name in the style's :data:`COLOURS`, three sRGB numbers from 0 to 255, or None for a random one.
        worn: a name in :data:`WORN`, or ``random`` (one of the incorrect ways).
        rng: a ``numpy.random.Generator``.

    Raises:
        ConfigError: an unknown name.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    # always draw every number, so that a seed gives the same fit in every style
    picks, size = rng.random(8).tolist(), rng.normal(0, 1, 4).clip(-2, 2).tolist()
    height, pattern_seed = rng.random(), rng.integers(1 << 31)
    if style == "random":
        style = ("surgical", "surgical", *STYLES)[int(picks[0] * (len(STYLES) + 2))]
    if style not in STYLES:
        raise ConfigError(f"unknown mask style {style!r}. Choose one of {', '.join(STYLES)} or random.")
    if worn == "random":
        worn = WORN[1 + int(picks[1] * 3)]
    if worn not in WORN:
        raise ConfigError(f"unknown way of wearing a mask: {worn!r}. Choose one of {', '.join(WORN)} or random.")
    name, base = named_colour(style, COLOURS[style], colour, picks[2])
    base = (base * (1 + 0.05 * size[3])).clip(0.02, 0.97)

    top, bottom, side = _outline(style, worn, size, height)
    numbers = {"pattern": PATTERNS[int(picks[3] * len(PATTERNS))], "picks": picks}
    accent = np.array(ACCENTS[int(picks[4] * len(ACCENTS))]) / 255
    if np.abs(accent - base).sum() < 0.45:
        accent = np.where(base.mean() > 0.5, base * 0.35, 1 - (1 - base) * 0.25)
    parts, own = _parts(style, base, picks)
    numbers |= own
    if worn == "nose-and-mouth-out":
        numbers["bulge"] = numbers["loose"] = 0.0
        parts["tension"] = 3
    return Design(
        style, name, worn, base, accent, top=top, bottom=bottom, side=side, seed=int(pattern_seed), numbers=numbers,
        **parts,
    )  # fmt: skip


def _parts(style, base, picks):
    """A style's straps, rim and shape, and its own numbers."""
    parts = {"strap": base, "trim": base, "waist": 0.0, "corner": 0.02, "tension": 8}
    pale = np.full(3, 0.90) if base.mean() > 0.25 else base
    if style == "surgical":
        own = {"pleats": 3 if picks[5] < 0.75 else 4, "bulge": 0.012 + 0.012 * picks[6], "loose": 0.045}
        parts |= {"strap": pale, "trim": base + (1 - base) * 0.12, "corner": 0.012}
    elif style == "kn95":
        own = {"bulge": 0.065 + 0.02 * picks[6], "loose": 0.02, "printed": picks[5] < 0.5, "valve": picks[5] > 0.85}
        parts |= {"strap": pale, "waist": -0.03, "corner": 0.03, "tension": 12}
    elif style == "cup":
        own = {"bulge": 0.075 + 0.03 * picks[6], "rings": int(1 + picks[5] * 3), "valve": picks[7] < 0.5}
        strap = np.array([(236, 206, 70), (232, 230, 224), (70, 120, 190)][int(picks[4] * 3)]) / 255
        parts |= {"strap": strap, "corner": 0.13, "tension": 12}
    elif style in ("cloth", "patterned"):
        seam = picks[6] < 0.55
        own = {"seam": seam, "bulge": 0.01 + 0.025 * seam, "loose": 0.03, "pleats": 0 if picks[6] < 0.8 else 2}
        strap = base if picks[5] < 0.5 else np.full(3, 0.88 if picks[5] < 0.7 else 0.10)
        parts |= {"strap": strap, "waist": 0.02 * picks[7], "corner": 0.03, "tension": 10}
    else:
        own = {"seam": True, "bulge": 0.03, "loose": 0.012, "stitched": picks[5] < 0.5}
        parts |= {"waist": -0.07, "corner": 0.05, "tension": 10}
    return parts, own


def named_colour(style, colours, colour, pick):
    """The name and the value, 3 in [0, 1], of a colour.

    Args:
        style: for error messages.
        colours: its colours, name → three sRGB numbers, or None for the absence of one (whose value is None too).
        colour: a name, three sRGB numbers from 0 to 255, or None for the one that ``pick`` in [0, 1) picks.
        pick: a random number.

    Raises:
        ConfigError: no such colour.
    """
    if colour is None:
        # the first colour of each style is the most common one
        names = [next(iter(colours)), *colours]
        name = names[int(pick * len(names))]
    elif isinstance(colour, str):
        if colour not in colours:
            raise ConfigError(
                f"a {style} mask has no colour {colour!r}. Choose one of {', '.join(colours)}, or give three numbers."
            )
        name = colour
    else:
        values = np.asarray(colour, np.float64)
        if values.shape != (3,) or values.min() < 0 or values.max() > 255:
            raise ConfigError(f"a colour must be a name or three numbers from 0 to 255, not {colour!r}.")
        return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in values)), values / 255
    value = colours[name]
    return name, None if value is None else np.array(value) / 255


def _outline(style, worn, size, height):
    """The top and bottom edges as tables, and the side, with a random size and height."""
    top, bottom = np.array(TOPS[style]), np.array(BOTTOMS[style])
    side = SIDES[style] * (1 + 0.025 * size[0])
    top = top + 0.05 * (height - 0.4)
    bottom = bottom + 0.015 * size[1] + 0.012 * size[0]
    if worn == "nose-out":
        under = 0.455 + 0.05 * height + np.array([0.0, 0.0, -0.01, -0.015, 0.0, 0.03, 0.08])
        bottom = np.minimum(bottom + 0.05, 1.2)
        top = np.maximum(under, top)
    elif worn == "chin-out":
        bottom = 0.775 + 0.035 * height + np.array([0.0, 0.0, 0.01, 0.015, 0.0, -0.03, -0.08])
        top = np.minimum(top, bottom - 0.3)
    elif worn == "nose-and-mouth-out":
        top = 0.84 + 0.06 * height + np.array([0.0, 0.0, 0.0, 0.0, -0.01, -0.04, -0.08])
        bottom = np.array([1.32, 1.32, 1.31, 1.28, 1.24, 1.18, 1.10])
    return *(_edge_weights() @ np.stack([top, bottom], 1)).T.astype(np.float32), side


@functools.cache
def _edge_weights():
    """Makes an edge's table of its values at the knots, LUT_SIZE×7: piecewise linear, then rounded, without a kink at
    the nose."""
    reach = LUT_SIZE // 14
    window = np.hanning(2 * reach + 1)
    columns = []
    for knot in np.eye(len(KNOTS)):
        line = np.interp(np.linspace(0, LUT_REACH, LUT_SIZE), KNOTS, knot)
        padded = np.concatenate([line[reach:0:-1], line, np.full(reach, line[-1])])
        columns.append(np.convolve(padded, window / window.sum(), "valid"))
    return np.stack(columns, 1)
