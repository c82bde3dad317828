"""Pixel faces: a small built-in dataset, drawn by code, to try everything without a download.

    builtin:pixel-faces[/SET][/mask|/scarf|/covered][/uniform|/varied][:train|:test|:all]

Three sets of 32×32 8-bit faces differ in skin tone; each has all 5 × 5 × 5 types of eyes, nose and mouth, 125 faces.
Hair (colour and style), eye colour, shirt and background are drawn from a hash of the name. ``uniform`` keeps them the
same within a set, as the data of the re-imaging thesis does, with its bias: fair hair and blue eyes in the light set,
black hair and black eyes in the others. ``varied`` draws each of the 125 eight times, 1,000 faces a set. A fifth of the
125 combinations, the same in each set, is the test split: 75 faces.

    face = draw(Attributes("light", "fair", "bob", "blue", "round", "button", "smile"))
    for face in pixel_faces("builtin:pixel-faces/dark/mask:test"):
        face.image, face.attributes, face.region
"""

import functools
import hashlib
import re
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from maskhub.data.folder import chosen_few, is_held_out
from maskhub.data.photo_file import encode_photo
from maskhub.data.pixel_sprites import BACK_HAIR, BODY, COVERINGS, EYES, HAIR, HEAD, MOUTHS, NOSES
from maskhub.data.source import PhotoSource
from maskhub.data.tables import write_imagefolder
from maskhub.errors import ConfigError, SourceError
from maskhub.files import prepare_file
from maskhub.masks.find_covering import PIXEL_COVERING_COLOURS, colours_of

__all__ = [
    "CHOICES", "NAME", "SETS", "SIDE", "Attributes", "BuiltinSpec", "PixelFace", "PixelSource", "draw", "pixel_faces",
    "write_folder",
]  # fmt: skip

SIDE = 32
"""Pixels of each side."""
SETS = ("light", "medium", "dark")
NAME = "builtin:pixel-faces"
VARIED = 8
"""Faces of each combination in a ``varied`` set."""


def _ramp(text):
    return tuple(map(tuple, colours_of(text).tolist()))


SKIN = {  # outline, shadow, base, highlight, blush, lip, lip line
    "light": _ramp("8f5647 d99f80 f3c6a2 fde0c4 eeaa92 d9706e a34950"),
    "medium": _ramp("67392a ad7049 cd935f e3b17c c97f58 b4584f 7d3638"),
    "dark": _ramp("351f1c 5b3527 7b4c34 976344 85463a 8c3f41 542326"),
}
HAIR_COLOURS = {  # dark, base, light
    "black": _ramp("17151f 2c2a39 4a495f"),
    "brown": _ramp("3b2219 623a26 8a5737"),
    "red": _ramp("70281a ac4524 da7038"),
    "fair": _ramp("a3752f dcb04e f7dc85"),
    "grey": _ramp("6a6e7c 9da2b0 ccd0d8"),
}
EYE_COLOURS = {"brown": "6b4021", "blue": "3f86d0", "green": "4d9350", "grey": "7c8796", "black": "17151f"}
SHIRTS = {"brick": "b04a3c 843329", "navy": "36466f 252f50", "forest": "47764f 2f5638", "plum": "75497f 54325d"}
BACKGROUNDS = {"cream": "f4ead5", "sand": "e6d3ae", "rose": "f2d8d8", "mist": "dde2da"}

UNIFORM = {"hair_style": "short", "shirt": "navy", "background": "cream"}
"""Attributes shared by all faces of the ``uniform`` sets."""
UNIFORM_COLOURS = {
    "light": {"hair_colour": "fair", "eye_colour": "blue"},
    "medium": {"hair_colour": "black", "eye_colour": "black"},
    "dark": {"hair_colour": "black", "eye_colour": "black"},
}
"""Attributes shared by all faces of one ``uniform`` set."""

CHOICES = {
    "tone": SETS,
    "hair_colour": tuple(HAIR_COLOURS),
    "hair_style": tuple(HAIR),
    "eye_colour": tuple(EYE_COLOURS),
    "eyes": tuple(EYES),
    "nose": tuple(NOSES),
    "mouth": tuple(MOUTHS),
    "shirt": tuple(SHIRTS),
    "background": tuple(BACKGROUNDS),
    "covering": ("none", *COVERINGS),
}
"""Values of each attribute."""


@dataclass(frozen=True)
class Attributes:
    """The attributes of a pixel face, with values from :data:`CHOICES`; ConfigError for any other value."""

    tone: str
    hair_colour: str
    hair_style: str
    eye_colour: str
    eyes: str
    nose: str
    mouth: str
    shirt: str = "navy"
    background: str = "cream"
    covering: str = "none"
    covering_colour: str = ""

    def __post_init__(self):
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"a pixel face's {name} is {getattr(self, name)!r}; it must be one of {', '.join(choices)}."
                )
        colours = PIXEL_COVERING_COLOURS.get(self.covering, {"": ""})
        if self.covering_colour not in colours:
            raise ConfigError(
                f"a {self.covering}'s colour is one of {', '.join(colours)}, not {self.covering_colour!r}."
            )


@dataclass(frozen=True)
class PixelFace:
    """One face of the set: its file name, the same with and without a covering, its :class:`Attributes`, and its
    split, ``"train"`` or ``"test"``."""

    name: str
    attributes: Attributes
    split: str

    @property
    def pixels(self):
        """uint8 32×32×3, read-only."""
        return draw(self.attributes)[0]

    @property
    def region(self):
        """bool 32×32: the covered pixels."""
        return draw(self.attributes)[1]

    @property
    def image(self):
        """RGB ``PIL.Image``."""
        return Image.fromarray(self.pixels)

    @property
    def columns(self):
        """The attributes and the split as a dict, as in ``metadata.csv``."""
        return asdict(self.attributes) | {"split": self.split}

    def uncovered(self):
        """The same face without its covering."""
        return self.covered("none", "")

    def covered(self, covering, colour):
        """The same face with another covering, or with one."""
        changed = {"covering": covering, "covering_colour": colour}
        return PixelFace(self.name, replace(self.attributes, **changed), self.split)


@dataclass(frozen=True)
class BuiltinSpec:
    """A parsed spec: some of :data:`SETS`, and the options in the module's docstring."""

    sets: tuple = SETS
    covering: str = "none"
    uniform: bool = False
    varied: bool = False
    split: str = "train"

    @classmethod
    def parse(cls, spec):
        """Parse a spec; SourceError unless it has the form in the module's docstring."""
        match = re.fullmatch(rf"{NAME}((?:/[\w-]+)*)(?::(\w+))?", spec)
        words = match[1].split("/")[1:] if match else []
        sets = tuple(word for word in SETS if word in words)
        coverings = [word for word in words if word in (*COVERINGS, "covered")]
        ways = [word for word in words if word in ("uniform", "varied")]
        others = set(words) - set(SETS) - set(coverings) - set(ways)
        split = (match[2] or "train") if match else None
        if not match or others or len(coverings) > 1 or len(ways) > 1 or split not in ("train", "test", "all"):
            raise SourceError(
                f"there is no source {spec}: built in are {NAME}[/light|/medium|/dark][/mask|/scarf|/covered]"
                "[/uniform|/varied][:train|:test|:all] and builtin:portraits[/masked][:train|:test|:all]."
            )
        return cls(sets or SETS, (coverings or ["none"])[0], "uniform" in ways, "varied" in ways, split)


@functools.lru_cache(maxsize=32)
def pixel_faces(spec=NAME):
    """The faces that a spec names, a tuple of :class:`PixelFace` in fixed order; errors as for
    :meth:`BuiltinSpec.parse`."""
    wanted = BuiltinSpec.parse(spec)
    faces = []
    for tone in wanted.sets:
        for number in range(125):
            eyes, nose, mouth = number // 25, number // 5 % 5, number % 5
            # so that each type of eyes, nose and mouth is in the test split five times, and no two twice together
            split = "test" if (eyes + 2 * nose + 3 * mouth) % 5 == 4 else "train"
            if wanted.split in (split, "all"):
                faces += [
                    _face(wanted, tone, (eyes, nose, mouth), split, version)
                    for version in range(VARIED if wanted.varied else 1)
                ]
    return tuple(faces)


def _face(wanted, tone, types, split, version):
    name = f"{tone}-{types[0]}{types[1]}{types[2]}{f'-{version}' if wanted.varied else ''}.png"

    def pick(what, choices):
        digest = hashlib.sha1(f"{what} {name}".encode(), usedforsecurity=False).digest()
        return tuple(choices)[int.from_bytes(digest[:8], "big") % len(choices)]

    chosen = {key: CHOICES[key][number] for key, number in zip(("eyes", "nose", "mouth"), types, strict=True)}
    if wanted.uniform:
        chosen |= UNIFORM | UNIFORM_COLOURS[tone]
    else:
        free = {key: CHOICES[key] for key in ("hair_colour", "hair_style", "eye_colour", "shirt", "background")}
        free["eye_colour"] = free["eye_colour"][:-1]  # black was added later; older faces must not change
        chosen |= {key: pick(key, choices) for key, choices in free.items()}
    face = PixelFace(name, Attributes(tone, **chosen), split)
    if wanted.covering == "none":
        return face
    kind = pick("covering", ("mask", "mask", "scarf")) if wanted.covering == "covered" else wanted.covering
    return face.covered(kind, pick("covering colour", PIXEL_COVERING_COLOURS[kind]))


@functools.lru_cache(maxsize=4096)
def draw(attributes):
    """Draw one face: uint8 32×32×3, and bool 32×32, where it is covered; both read-only."""
    a = attributes
    layers = [BACK_HAIR[a.hair_style]] if a.hair_style in BACK_HAIR else []
    letters = _shaded(_laid(np.full((SIDE, SIDE), ord("."), np.uint8), *layers, BODY, HEAD))
    letters = _laid(letters, EYES[a.eyes], NOSES[a.nose], MOUTHS[a.mouth], HAIR[a.hair_style])
    region = np.zeros((SIDE, SIDE), bool)
    if a.covering != "none":
        letters = _laid(letters, COVERINGS[a.covering])
        region = np.isin(letters, list(b"mMl"))
    pixels = _palette(a)[letters]
    pixels.flags.writeable = region.flags.writeable = False
    return pixels, region


def _laid(letters, *sprites):
    """The canvas with sprites over it, as bytes of ASCII letters."""
    for sprite in sprites:
        over = _canvas(sprite)
        letters = np.where(over == ord("."), letters, over)
    return letters


@functools.lru_cache(maxsize=128)
def _canvas(sprite):
    top, left, rows = sprite
    canvas = np.full((SIDE, SIDE), ord("."), np.uint8)
    for number, row in enumerate(rows):
        canvas[top + number, left : left + len(row)] = list(row.encode())
    return canvas


def _shaded(letters):
    """Light from the upper left: a bright forehead, a dark right rim and underside."""
    skin, outline = letters == ord("s"), np.pad(letters == ord("o"), ((0, 1), (0, 1)))
    row, column = np.indices(letters.shape)
    rim = (outline[:-1, 1:] & (column > 16)) | (outline[1:, :-1] & (row > 20))
    bright = (column >= 8) & (row >= 6) & (row + column < 19)
    return np.where(skin & rim, ord("d"), np.where(skin & bright, ord("h"), letters)).astype(np.uint8)


def _palette(a):
    """The colour of each letter, uint8 128×3."""
    outline, shadow, base, highlight, blush, lip, lip_line = SKIN[a.tone]
    dark, hair, light = HAIR_COLOURS[a.hair_colour]
    shirt, shirt_shadow = _ramp(SHIRTS[a.shirt])
    palette = {
        ".": _ramp(BACKGROUNDS[a.background])[0], "o": outline, "d": shadow, "s": base, "h": highlight, "b": blush,
        "n": shadow, "N": tuple((np.array(outline) + shadow) // 2), "D": dark, "H": hair, "L": light,
        "k": (34, 26, 32), "w": (250, 248, 244), "i": _ramp(EYE_COLOURS[a.eye_colour])[0],
        "r": lip, "R": lip_line, "t": (252, 246, 236), "c": shirt, "C": shirt_shadow,
    }  # fmt: skip
    if a.covering != "none":
        palette |= zip("mMl", _ramp(PIXEL_COVERING_COLOURS[a.covering][a.covering_colour]), strict=True)
    table = np.zeros((128, 3), np.uint8)
    for letter, colour in palette.items():
        table[ord(letter)] = colour
    return table


class PixelSource(PhotoSource):
    """The faces of a spec as a source of photos, and of pairs, since each can be drawn with and without its covering.

    ``holdout`` leaves out the faces of :func:`~maskhub.data.folder.is_held_out`; the test split is apart in any case.
    """

    draws_pairs = True

    def __init__(self, spec, holdout=False):
        self.spec = spec
        self.faces = [face for face in pixel_faces(spec) if not (holdout and is_held_out(face.name))]
        self.size = len(self.faces)

    def walk(self, positions, seed):
        for position in positions:
            face = self._at(position, seed).image
            yield position, (face, self.partner._at(position, seed).image) if self.partner else face

    def pair(self, position, seed):
        """As in the base. A face of a source without coverings gets a mask, of a colour that the position draws."""
        face = self._at(position, seed)
        if face.attributes.covering == "none":
            colours = tuple(PIXEL_COVERING_COLOURS["mask"])
            face = face.covered("mask", colours[np.random.default_rng((seed, 3, position)).integers(len(colours))])
        return face.uncovered().pixels, face.pixels, face.region.astype(np.float32)

    def identity(self):
        return [face.name for face in self.faces]

    def limited(self, count):
        other = copy(self)
        other.faces = [self.faces[place] for place in chosen_few(self.identity(), count)]
        other.size = len(other.faces)
        return other

    def _at(self, position, seed):
        epoch, place = divmod(position, self.size)
        return self.faces[_order(self.size, seed, epoch)[place]]


@functools.lru_cache(maxsize=64)
def _order(size, seed, epoch):
    return np.random.default_rng((seed, epoch)).permutation(size)


def write_folder(spec, folder):
    """Write the faces of a spec as an imagefolder with every attribute in ``metadata.csv``, by
    :func:`~maskhub.data.tables.write_imagefolder`; returns how many."""
    faces = pixel_faces(spec)
    files = (prepare_file(Path(folder) / face.name, encode_photo(face.image, face.name)) for face in faces)
    write_imagefolder(folder, [{"file_name": face.name, **face.columns} for face in faces], files)
    return len(faces)
