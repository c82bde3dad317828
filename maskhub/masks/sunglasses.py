"""Sunglasses: a frame, two lenses and the temples, as solid things on the face's eyes, nose and ears."""

import numpy as np

from maskhub.masks.blend import three
from maskhub.masks.lighting import to_linear, to_srgb
from maskhub.masks.solid import Drawn, Part, draw, grid, joined, tube

__all__ = ["SHAPES", "draw_sunglasses"]

SHAPES = {
    # one lens around its middle, from the nose outwards: half width, height above and below, and how square it is
    "square": (0.185, 0.115, 0.135, 4.0),
    "aviator": (0.195, 0.115, 0.190, 2.3),
    "round": (0.160, 0.150, 0.160, 2.0),
    "cat": (0.190, 0.125, 0.125, 2.6),
    "narrow": (0.185, 0.085, 0.095, 3.4),
    "large": (0.215, 0.150, 0.185, 3.0),
}
CORNERS = 48
EYES = (33, 133, 263, 362)
TINTS = ("0d0e10", "14110d", "241812", "101a22", "12201a", "1c1c20")


def draw_sunglasses(head, lighting, colour, rng, size):
    """Draw sunglasses as :class:`~maskhub.masks.solid.Drawn`; ``colour`` is the frame's, 3 in [0, 1]."""
    name = tuple(SHAPES)[int(rng.random() * len(SHAPES))]
    eyes = head.points[list(EYES)].reshape(2, 2, 3).mean(1)
    level = eyes.mean(0)
    apart = abs(eyes[1, 0] - eyes[0, 0]) / 2
    scale = np.clip(apart / 0.215, 0.85, 1.15) * rng.uniform(0.97, 1.08)
    wire = name in ("aviator", "round") and rng.random() < 0.8
    thick = (0.008 if wire else rng.uniform(0.011, 0.021)) * scale
    outline = _outline(name) * scale
    middle = max(apart, outline[:, 0].max() + 0.035 * scale)
    front = head.points[[168, 6], 2].min() - 0.035  # in front of the bridge of the nose
    drop = level[1] + 0.025 * scale + 0.012 * rng.normal()
    tilt = 0.02 * rng.normal()

    def at(x, y):
        """On the curved front of the glasses: further back at the sides and below."""
        bend = 0.42 * np.abs(x) ** 2 + 0.25 * np.abs(x) ** 3
        return np.stack([x + level[0], y + drop + tilt * x, front + bend - 0.10 * (y - 0.1)], -1)

    rims, lenses = [], []
    for side in (-1, 1):
        x, y = side * (middle + outline[:, 0]), outline[:, 1]
        rims.append(tube(at(x, y), thick, 0.8, 8, closed=True))
        lenses.append(_lens(at, side, middle, outline))
    half = middle + outline[:, 0].min()
    bridge_y = -0.045 * scale if not wire else -0.055 * scale
    t = np.linspace(-1, 1, 9)
    arch = at(t * half, bridge_y - 0.018 * scale * (1 - t**2))
    rims.append(tube(arch, thick * (1.0 if wire else 1.15), 0.8))
    if name == "aviator" and wire:
        rims.append(tube(at(t * (half + 0.03), np.full(9, outline[:, 1].min() + 0.012)), thick * 0.9))
    edge = middle + outline[:, 0].max()
    temples = [_temple(at, side, edge, outline, thick, head, level) for side in (-1, 1)]
    frame = to_linear(colour * 255) if not wire else to_linear(np.array(_metal(rng)) * 255)
    shine, gloss = (0.9, 14) if wire else (0.35, 45)

    def drawn(surfaces, hidden=None):
        look = Part(joined(surfaces), frame, lambda places, normals: (1.0, 0.0, shine), gloss)
        return draw([look], head, lighting, size, hidden)

    layers = drawn(rims), drawn(temples, _behind_head(head)), drawn(lenses)
    if layers[0] is None or layers[2] is None:
        return None
    return _with_glass(*layers, lenses, head, lighting, rng)


def _outline(name):
    """CORNERS×2: a lens from its middle, x outwards, y down."""
    wide, up, down, power = SHAPES[name]
    t = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    cos, sin = np.cos(t), np.sin(t)
    x = wide * np.sign(cos) * np.abs(cos) ** (2 / power)
    y = np.where(sin < 0, up, down) * np.sign(sin) * np.abs(sin) ** (2 / power)
    if name == "aviator":  # a drop that hangs outwards
        x = x * (1 - 0.22 * np.clip(y / down, 0, 1)) + 0.03 * np.clip(y / down, 0, 1)
    if name == "cat":
        y = y - 0.055 * np.clip(x / wide, 0, 1) ** 2 * (sin < 0.3)
    if name in ("square", "large", "narrow"):
        x = x * (1 - 0.07 * np.clip(y / down, -1, 1))
    return np.stack([x, y], 1)


def _lens(at, side, middle, outline):
    rings = np.linspace(0, 1, 5)[:, None]
    outline = np.concatenate([outline, outline[:1]])
    x, y = side * (middle + rings * outline[:, 0]), rings * outline[:, 1]
    points = at(x, y)
    normals = np.zeros_like(points)
    normals[..., 0], normals[..., 1], normals[..., 2] = 1.1 * x, 0.9 * y, -1
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return grid(points, normals, np.stack([x, y], -1))


def _temple(at, side, edge, outline, thick, head, level):
    """From the hinge back to the top of the ear."""
    y = 0.55 * outline[:, 1].min()
    hinge = at(np.array([side * (edge + 0.2 * thick)]), np.array([y]))[0]
    ear = head.points[454 if side > 0 else 234] + [0.035 * side, -0.075, 0.12]
    t = np.linspace(0, 1, 10)[:, None]
    path = hinge + (ear - hinge) * t
    path[:, 0] += 0.03 * side * np.sin(np.pi * t[:, 0])
    return tube(path, thick * np.linspace(1.0, 0.75, 10), 0.6)


def _behind_head(head):
    """Whether points of a temple are hidden: the head, as an ellipsoid, lies in front of them."""
    centre, radii = np.array([0.0, -0.06, 0.08]), np.array([0.475, 0.62, 0.5])
    towards = head.rotation.T @ np.array([0, 0, -1.0]) / radii

    def hidden(points):
        start = (points - centre) / radii
        a, b, c = towards @ towards, 2 * start @ towards, (start * start).sum(1) - 1
        inside = b * b - 4 * a * c
        far = (-b + np.sqrt(np.maximum(inside, 0))) / (2 * a)
        return (inside > 0) & (far > 0.12) & (points[:, 2] > -0.25)

    return hidden


def _with_glass(rims, temples, glass, lenses, head, lighting, rng):
    """The rims, the lenses behind them, and the temples behind these. Lenses are dark and see-through, with the sky's
    reflection above and sometimes a bright patch."""
    layers = [one for one in (rims, temples, glass) if one is not None]
    x0, y0 = (min(one.corner[axis] for one in layers) for axis in (0, 1))
    x1 = max(one.corner[0] + one.cover.shape[1] for one in layers)
    y1 = max(one.corner[1] + one.cover.shape[0] for one in layers)

    def placed(one, plane):
        left, top = one.corner[0] - x0, one.corner[1] - y0
        more = [(top, y1 - y0 - top - plane.shape[0]), (left, x1 - x0 - left - plane.shape[1])]
        return np.pad(plane, more + [(0, 0)] * (plane.ndim - 2))

    solid, front = placed(rims, rims.cover), placed(rims, rims.layer)
    lens = placed(glass, glass.cover)
    if temples is not None:
        behind = placed(temples, temples.cover) * (1 - lens) * (1 - solid)
        whole = solid + behind
        front = front * three(solid) + placed(temples, temples.layer) * three(behind)
        solid, front = whole, front / np.maximum(three(whole), 1e-3)
    points = np.concatenate([head.to_photo(surface.points) for surface in lenses])
    down = head.rotation[:2, 1] / max(float(np.linalg.norm(head.rotation[:2, 1])), 1e-6)
    span = points[:, :2] @ down
    ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    height = np.clip((xs * down[0] + ys * down[1] - span.min()) / max(np.ptp(span), 1e-6), 0, 1)
    tint = to_linear(np.frombuffer(bytes.fromhex(TINTS[int(rng.random() * len(TINTS))]), np.uint8)[None])[0]
    opaque = rng.uniform(0.89, 0.985)
    graded = opaque if rng.random() < 0.6 else opaque * (1 - 0.45 * height**1.5)
    sky = rng.uniform(0.01, 0.09) * np.clip(1 - height * rng.uniform(1.2, 2.2), 0, 1) ** 1.3
    bright = rng.uniform(0.0, 0.16) if rng.random() < 0.6 else 0.0
    across = ((xs - xs.mean()) * down[1] - (ys - ys.mean()) * down[0]) / head.width
    period = rng.uniform(0.36, 0.5)
    place = (across + 0.35 * height + rng.uniform(0, period)) / period % 1.0
    patch = bright * np.exp(-(((place - 0.5) / 0.16) ** 2)) * np.exp(-(((height - 0.36) / 0.26) ** 2))
    light = three((sky + patch).astype(np.float32)) * np.float32(lighting.exposure) + np.float32(tint * 0.5)
    colours = to_srgb(light) * np.float32(255)
    see = (lens * graded).astype(np.float32)
    cover = solid + (1 - solid) * see
    layer = (front * three(solid) + colours * three((1 - solid) * see)) / np.maximum(three(cover), 1e-3)
    return Drawn((x0, y0), layer.astype(np.float32), cover, np.maximum(solid, lens))


def _metal(rng):
    return ((0.78, 0.64, 0.38), (0.72, 0.73, 0.75), (0.20, 0.20, 0.21))[int(rng.random() * 3)]
