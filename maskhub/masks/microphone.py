"""A microphone in front of the mouth, held by a hand, as solid things."""

from dataclasses import replace
from functools import partial

import numpy as np

from maskhub.masks.hand import gripping_hand
from maskhub.masks.lighting import to_linear
from maskhub.masks.solid import Part, draw, lathe, turned

__all__ = ["draw_microphone"]

LIPS = (13, 14)
HELD = 0.8
"""Share of the microphones that a hand holds; the others stand on something outside the picture."""


def draw_microphone(head, lighting, colour, rng, size):
    """Draw a microphone as :class:`~maskhub.masks.solid.Drawn`: a wire grille, or foam of a colour (3 in [0, 1])."""
    foam = np.ptp(colour) > 0.12 or (colour.mean() < 0.2 and rng.random() < 0.5)
    radius = rng.uniform(0.19, 0.24) if foam else rng.uniform(0.155, 0.18)
    mouth = head.points[list(LIPS)].mean(0)
    mirror = rng.random() < 0.5
    lean = rng.uniform(4, 34)
    rotation = turned(x=rng.uniform(-32, -8), z=-lean)
    centre = mouth + np.array([0.04 * rng.normal(), rng.uniform(0.02, 0.17), -0.12 - radius])
    side = -1.0 if mirror else 1.0
    centre[0] *= side  # everything is built for one side, then mirrored
    ball, body, ring = _ball(radius, foam), _body(radius), _ring(radius)
    pitch = max(0.016, 3.4 / head.width)
    skin = partial(_foam, pitch) if foam else partial(_grille, pitch)
    case = to_linear(np.full(3, (18.0, 18.0, 110.0)[int(rng.random() * 3)]))
    looks = [
        (ball, to_linear(colour * 255), skin, 18 if foam else 22),
        (body, case, _shiny(0.30), 26),
        (ring, to_linear(np.full(3, 0.55) * 255) if not foam else case, _shiny(0.6), 20),
    ]
    flip = np.array([side, 1.0, 1.0])
    parts = []
    for surface, albedo, finish, gloss in looks:
        moved = surface.moved(rotation, centre)
        moved = replace(moved, points=moved.points * flip, normals=moved.normals * flip)
        parts.append(Part(moved, albedo, finish, gloss))
    sleeve = None if rng.random() < 0.3 else np.array(_SLEEVES[int(rng.random() * len(_SLEEVES))])
    if rng.random() < HELD:
        place = centre + rotation @ np.array([0.0, radius + rng.uniform(0.42, 0.62), 0.0])
        parts += gripping_hand(lighting, sleeve, rng, place, rotation, mirror)
    return draw(parts, head, lighting, size)


_SLEEVES = ((0.11, 0.14, 0.2), (0.25, 0.25, 0.27), (0.8, 0.79, 0.76), (0.35, 0.16, 0.16), (0.2, 0.3, 0.45))


def _ball(radius, foam):
    turn = np.radians(np.linspace(0, 143, 22))
    tall = np.where(turn < np.pi / 2, 1.12 if foam else 1.0, 1.0)
    return lathe(np.stack([radius * np.sin(turn), -tall * radius * np.cos(turn)], 1))


def _ring(radius):
    return lathe(radius * np.array([(0.60, 0.80), (0.67, 0.80), (0.68, 0.82), (0.68, 0.92), (0.62, 0.93)]))


def _body(radius):
    y = np.array([0.93, 1.1, 1.3, 1.8, 3.0, 6.2, 6.6, 6.6])
    wide = np.array([0.62, 0.62, 0.60, 0.52, 0.46, 0.38, 0.37, 0.02])
    return lathe(radius * np.stack([wide, y], 1))


def _grille(pitch, places, normals):
    """Woven wire: a lattice with dark holes, and a band around the middle."""
    turn, y, _ = places.T
    across = turn * 2 * np.pi * 0.17 / pitch
    down = y / pitch
    wire = 0.5 + 0.25 * (np.cos(2 * np.pi * (across + down) / 1.4) + np.cos(2 * np.pi * (across - down) / 1.4))
    band = np.exp(-((y / 0.018) ** 2))
    factor = (0.30 + 0.75 * wire) * (1 - band) + 0.85 * band
    return factor, 0.0, 0.25 * wire + 0.35 * band


def _foam(pitch, places, normals):
    turn, y, _ = places.T
    pores = np.sin(turn * 190 + 9 * np.sin(y * 70)) * np.sin(y * 2 * np.pi / pitch + 7 * np.sin(turn * 60))
    return 1 + 0.18 * pores, 0.0, 0.01


def _shiny(strength):
    return lambda places, normals: (1.0, 0.0, strength)
