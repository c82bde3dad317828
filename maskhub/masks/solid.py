"""Solid things in front of a face: triangles in the head's axes, drawn with smooth normals and lit like the face.

    ball = lathe([(0, -0.1), (0.1, 0), (0, 0.1)])
    drawn = draw([Part(ball, to_linear(...))], head, lighting, (width, height))

Lengths are in face widths (about 14 cm), as in :mod:`maskhub.masks.fit`.
"""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from maskhub.masks.blend import three, toned

__all__ = [
    "Drawn", "Part", "Surface", "Window", "draw", "grid", "joined", "lathe", "mixed", "rasterized", "tube", "turned",
]  # fmt: skip

DEEP = 0.5
"""How much darker it is in a gap, such as between two fingers."""


@dataclass(frozen=True)
class Surface:
    """Triangles with a normal at each corner.

    Attributes:
        points, normals: N×3 float.
        triangles: M×3 whole numbers.
        places: N×K float: coordinates on the surface, which a finish reads.
    """

    points: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    places: np.ndarray

    def moved(self, rotation, shift=0.0, scale=1.0):
        """Turned by a 3×3 rotation, enlarged and shifted."""
        return replace(self, points=self.points @ rotation.T * scale + shift, normals=self.normals @ rotation.T)


@dataclass(frozen=True)
class Part:
    """A surface and how it looks.

    Attributes:
        surface: :class:`Surface` in the head's axes.
        albedo: 3 linear values in [0, 1].
        finish: function (places P×K, normals P×3 in the photo) → (a factor for the albedo, P or P×3; bumps added to the
            normals, P×3 or 0; shine, P or 0, the strength of the light's reflection), or None for a matt surface.
        gloss: exponent of the reflection: the higher, the smaller.
    """

    surface: Surface
    albedo: Any
    finish: Any = None
    gloss: float = 30.0


@dataclass(frozen=True)
class Drawn:
    """What is to be mixed into the photo by :func:`maskhub.masks.blend.blend`: the corner (left, top) of a part of it,
    and its ``layer``, float32 h×w×3 from 0 to 255, and ``cover``, float32 h×w in [0, 1]; ``shape`` is what counts as
    covered where the layer lets something through."""

    corner: tuple
    layer: np.ndarray
    cover: np.ndarray
    shape: np.ndarray | None = None


def turned(x=0.0, y=0.0, z=0.0):
    """3×3 rotation by degrees: first around z (in the picture), then y (aside), then x (up or down)."""
    a, b, c = np.radians([x, y, z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def joined(surfaces):
    """Several surfaces as one."""
    starts = np.cumsum([0, *(len(surface.points) for surface in surfaces)])
    return Surface(
        np.concatenate([surface.points for surface in surfaces]),
        np.concatenate([surface.normals for surface in surfaces]),
        np.concatenate([surface.triangles + start for surface, start in zip(surfaces, starts, strict=False)]),
        np.concatenate([surface.places for surface in surfaces]),
    )


def lathe(profile, sides=36):
    """A surface of revolution around y, of a profile of (radius, y); its places are (turns in [0, 1], y, radius)."""
    profile = np.asarray(profile, float)
    slope = np.gradient(profile, axis=0)
    across = np.stack([slope[:, 1], -slope[:, 0]], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    if slope[:, 1].sum() < 0:
        across = -across
    turn = np.linspace(0, 1, sides + 1)
    cos, sin = np.cos(2 * np.pi * turn)[None], np.sin(2 * np.pi * turn)[None]

    def around(radius, y):
        return np.stack([radius[:, None] * cos, np.repeat(y[:, None], sides + 1, 1), radius[:, None] * sin], -1)

    points, normals = around(*profile.T), around(*across.T)
    places = np.stack(np.broadcast_arrays(turn[None], profile[:, 1:], profile[:, :1]), -1)
    return grid(points, normals, places)


def tube(path, radius, flat=1.0, sides=8, closed=False):
    """A tube along a path, N×3; ``radius`` is a number or N of them, ``flat`` its thickness in z as a share of that.

    Its places are (share of the path in [0, 1], turns in [0, 1])."""
    path = np.asarray(path, float)
    if closed:
        path = np.concatenate([path, path[:1]])
        ahead = np.roll(path[:-1], -1, 0) - np.roll(path[:-1], 1, 0)
        ahead = np.concatenate([ahead, ahead[:1]])
    else:
        ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    depth = np.array([0.0, 0.0, 1.0]) - ahead * ahead[:, 2:]
    depth /= np.linalg.norm(depth, axis=1, keepdims=True) + 1e-9
    aside = np.cross(ahead, depth)
    turn = np.linspace(0, 1, sides + 1)
    cos, sin = np.cos(2 * np.pi * turn)[None, :, None], np.sin(2 * np.pi * turn)[None, :, None]
    normals = aside[:, None] * cos + depth[:, None] * sin
    radius = np.broadcast_to(np.asarray(radius, float), len(path))[:, None, None]
    points = path[:, None] + radius * (aside[:, None] * cos + flat * depth[:, None] * sin)
    places = np.stack(np.broadcast_arrays(np.linspace(0, 1, len(path))[:, None], turn[None]), -1)
    return grid(points, normals, places)


def grid(points, normals, places):
    """A surface of rows×columns points, with their normals and places."""
    rows, columns = points.shape[:2]
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    return Surface(points.reshape(-1, 3), normals.reshape(-1, 3), triangles, places.reshape(rows * columns, -1))


def draw(parts, head, lighting, size, hidden=None):
    """Draw :class:`Part` s on a photo of ``size`` (width, height) as :class:`Drawn`; None if all lie outside.

    ``hidden``: function of points P×3 in the head's axes → whether the head hides them; or None.
    """
    points = np.concatenate([head.to_photo(part.surface.points) for part in parts])
    window = Window.around(points, head, size)
    if window is None:
        return None
    starts = np.cumsum([0, *(len(part.surface.points) for part in parts)])
    triangles = np.concatenate([p.surface.triangles + start for p, start in zip(parts, starts, strict=False)])
    owner = np.repeat(np.arange(len(parts)), [len(p.surface.triangles) for p in parts])
    normals = (np.concatenate([part.surface.normals for part in parts]) @ head.rotation.T).astype(np.float32)
    use = normals[triangles, 2].min(1) < 0.35  # what turns away from the camera is hidden by the rest
    if hidden is not None:
        use &= ~hidden(np.concatenate([part.surface.points for part in parts])[triangles].mean(1))
    flat = np.column_stack([window.pixels(points), points[:, 2] / head.width]).astype(np.float32)
    shape = window.shape
    rows, columns, which, weights = rasterized(flat, triangles, use, shape)
    depth = np.full(shape, np.nan, np.float32)
    depth[rows, columns] = mixed(flat[:, 2:], triangles[which], weights)[:, 0]
    open_ = _openness(depth, 0.03 * head.width * window.fine)[rows, columns]

    layer, cover = np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
    cover[rows, columns] = 1
    for number, part in enumerate(parts):
        own = owner[which] == number
        if own.any():
            corners, share = triangles[which[own]], weights[own]
            places = mixed(part.surface.places.astype(np.float32), corners - starts[number], share)
            colours = _lit(part, mixed(normals, corners, share), places, open_[own], lighting)
            layer[rows[own], columns[own]] = colours
    return window.reduced(layer, cover)


@dataclass(frozen=True)
class Window:
    """A part of the photo that is drawn at ``fine`` times its resolution: ``left``, ``top``, ``width``, ``height``."""

    left: int
    top: int
    width: int
    height: int
    fine: int

    @classmethod
    def around(cls, points, head, size, fine=2):
        """The part of a photo of ``size`` (width, height) around points, N×3 in its pixels, with room for the shadow;
        None if they lie outside."""
        reach = int(np.ceil(0.2 * head.width)) + 6
        x0, y0 = np.maximum(np.floor(points[:, :2].min(0)).astype(int) - reach, 0).tolist()
        x1, y1 = np.minimum(np.ceil(points[:, :2].max(0)).astype(int) + reach, size).tolist()
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        return cls(x0, y0, x1 - x0, y1 - y0, fine if head.width < 300 else 1)

    @property
    def shape(self):
        return self.height * self.fine, self.width * self.fine

    def pixels(self, points):
        """Where points of the photo lie in the enlarged window, N×2."""
        return (points[:, :2] - (self.left, self.top)) * self.fine

    def reduced(self, layer, cover):
        """:class:`Drawn` of the enlarged window's layer and cover."""
        if self.fine > 1:
            layer = layer * three(cover)
            target = self.width, self.height
            layer, cover = (cv2.resize(plane, target, interpolation=cv2.INTER_AREA) for plane in (layer, cover))
            layer /= np.maximum(three(cover), 1e-3)
        return Drawn((self.left, self.top), layer, cover)


def rasterized(points, triangles, use, shape):
    """Which triangle each pixel shows.

    Args:
        points: N×3 float32: x and y in pixels, and the depth.
        triangles: M×3; use: M bool, which of them to draw, the nearest last.
        shape: height and width in pixels.

    Returns:
        rows, columns, the triangle's number, and the weights of its corners (P×3), of each covered pixel.
    """
    corners = points[triangles]
    flat = corners[..., :2]
    use = use & (flat.max(1) > 0).all(1) & (flat.min(1) < shape[::-1]).all(1)
    order = np.flatnonzero(use)
    order = order[np.argsort(-corners[order, :, 2].mean(1), kind="stable")]
    ids = np.full(shape, -1, np.int32)
    shifted = np.rint(flat * 16).astype(np.int32)
    for number in order.tolist():
        cv2.fillConvexPoly(ids, shifted[number], number, cv2.LINE_8, 4)
    rows, columns = np.nonzero(ids >= 0)
    which = ids[rows, columns]
    origin = flat[:, 0]
    ab, ac = flat[:, 1] - origin, flat[:, 2] - origin
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-6, np.float32(1e-6), area)
    ab, ac = ab / area[:, None], ac / area[:, None]
    here = np.stack([columns, rows], 1).astype(np.float32) - origin[which]
    ab, ac = ab[which], ac[which]
    second = np.clip(here[:, 0] * ac[:, 1] - here[:, 1] * ac[:, 0], 0, 1)
    third = np.clip(ab[:, 0] * here[:, 1] - ab[:, 1] * here[:, 0], 0, 1)
    first = np.clip(1 - second - third, 0, 1)
    total = first + second + third
    return rows, columns, which, np.stack([first / total, second / total, third / total], 1)


def mixed(values, corners, weights):
    """Values of N points at pixels with these corners (P×3) and weights (P×3): P×K."""
    out = values[corners[:, 0]] * weights[:, :1]
    out += values[corners[:, 1]] * weights[:, 1:2]
    out += values[corners[:, 2]] * weights[:, 2:]
    return out


def _openness(depth, reach):
    """How much light reaches each pixel: less between things that are closer to the camera. NaN where nothing is."""
    there = ~np.isnan(depth)
    filled = np.where(there, depth, 0).astype(np.float32)
    size = 2 * int(np.ceil(1.5 * reach)) + 1
    weight = cv2.GaussianBlur(there.astype(np.float32), (size, size), reach)
    around = cv2.GaussianBlur(filled, (size, size), reach) / np.maximum(weight, 1e-3)
    return 1 - np.float32(DEEP) * np.clip((filled - around - np.float32(0.015)) / np.float32(0.07), 0, 1)


def _lit(part, normals, places, open_, lighting):
    """The colours, P×3 from 0 to 255, of a part's pixels."""
    factor, bumps, shine = part.finish(places, normals) if part.finish else (1.0, 0.0, 0.0)
    normals = normals + np.float32(bumps)
    normals = normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)
    normals[:, 2] = np.minimum(normals[:, 2], 0.0)
    shade = lighting.on(*(np.ascontiguousarray(axis, np.float32)[:, None] for axis in normals.T))
    factor = np.asarray(factor, np.float32)
    albedo = np.float32(part.albedo) * (factor if factor.ndim == 2 else factor.reshape(-1, 1))
    albedo = np.broadcast_to(albedo, (len(normals), 3)).astype(np.float32)
    if np.any(shine):
        light = np.array([lighting.shade[1], lighting.shade[2], -0.9])
        half = light / np.linalg.norm(light) + [0, 0, -1]
        half /= np.linalg.norm(half)
        spot = np.clip(normals @ half.astype(np.float32), 0, 1) ** np.float32(part.gloss) * shine
        albedo = albedo + spot[:, None].astype(np.float32)
    return toned(albedo[:, None], lighting, shade * open_[:, None])[:, 0]
