"""A scarf or neck gaiter over mouth and chin: a sheet that follows the face and stands out around the neck in folds."""

from dataclasses import replace

import cv2
import numpy as np

from maskhub.masks.blend import lit
from maskhub.masks.canvas import TALL, WIDE
from maskhub.masks.fabric import Painted
from maskhub.masks.fit import FINE_STEP, drape, sheet_of
from maskhub.masks.lighting import filled, to_linear
from maskhub.masks.noise import TILE, noise_at
from maskhub.masks.solid import Window, grid, mixed, rasterized

__all__ = ["draw_scarf"]

U_END, V_END = 1.9, 2.3
"""The scarf goes around to the nape (in the u of :mod:`maskhub.masks.fit`), and down over the chest (in its v)."""
KNOTS = np.array([0.0, 0.15, 0.35, 0.6, 0.85, 1.1, 1.5, 1.9])
HIGH = np.array([0.22, 0.26, 0.35, 0.48, 0.70, 1.02, 0.98, 0.95])
LOW = np.array([0.46, 0.465, 0.49, 0.57, 0.76, 1.06, 1.00, 0.95])
"""v of the top edge at these |u|: over the nose, and just over the mouth."""


def draw_scarf(head, lighting, colour, rng, size):
    """Draw a scarf of a colour, 3 in [0, 1], as :class:`~maskhub.masks.solid.Drawn`; None if it lies outside."""
    look = _Look(rng, colour)
    sheet, u, v = _around(head, look)
    window = Window.around(sheet.xyz.reshape(-1, 3), head, size)
    if window is None:
        return None
    places = np.stack(np.meshgrid(u, v), -1).astype(np.float32)
    surface = grid(sheet.xyz, sheet.normals, places)
    low = surface.places[surface.triangles, 1].max(1) > HIGH.min() - 0.1
    use = low & (surface.normals[surface.triangles, 2].min(1) < 0.3)
    flat = np.column_stack([window.pixels(surface.points), surface.points[:, 2]]).astype(np.float32)
    rows, columns, which, weights = rasterized(flat, surface.triangles, use, window.shape)
    if not len(rows):
        return None
    # only the box around it is painted
    y0, y1, x0, x1 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    fields, cover = np.zeros((y1 - y0, x1 - x0, 5), np.float32), np.zeros((y1 - y0, x1 - x0), np.float32)
    values = np.hstack([surface.places, surface.normals]).astype(np.float32)
    fields[rows - y0, columns - x0] = mixed(values, surface.triangles[which], weights)
    cover[rows - y0, columns - x0] = 1
    u, v, *normals = cv2.split(fields)
    painted = look.paint(u, v, cover, head.width * window.fine)
    inside = cv2.erode(cover, np.ones((3, 3), np.uint8))  # at the outline there is nothing to compare heights with
    painted = replace(painted, relief=painted.relief * inside)
    layer, alpha = np.zeros((*window.shape, 3), np.float32), np.zeros(window.shape, np.float32)
    layer[y0:y1, x0:x1], alpha[y0:y1, x0:x1] = lit(painted, cv2.merge(normals), lighting), _smooth(painted.alpha)
    return window.reduced(layer, alpha)


def _smooth(alpha):
    """Without the notches where the scarf turns away from the camera and its edge jumps from one pixel to the next."""
    return cv2.medianBlur(np.rint(alpha * 255).astype(np.uint8), 7).astype(np.float32) / 255


def _around(head, look):
    """The scarf's :class:`~maskhub.masks.fit.Sheet`, and the u of its columns and the v of its rows."""
    u, v = np.arange(-U_END, U_END + 1e-6, 2 * FINE_STEP), np.arange(-0.1, V_END + 1e-6, 2 * FINE_STEP)
    face = drape(head, 14, gap=0.02).head_points.astype(np.float64)
    rows = np.minimum(2 * np.arange(len(v)), len(face) - 1)
    columns = np.clip(np.rint((u + 1.1) / FINE_STEP).astype(int), 0, face.shape[1] - 1)
    near = face[rows][:, columns]
    jaw = float(face[33, face.shape[1] // 2, 1])  # v = 1 below the nose
    angle = np.radians(80 * u)[None]
    below = np.clip(v - 1, 0, None)[:, None]
    wide = 0.50 + 0.05 * np.tanh(3 * below) + 0.10 * np.clip(below - 0.45, 0, None)
    deep = 0.40 + 0.06 * np.tanh(3 * below) + 0.10 * np.clip(below - 0.45, 0, None)
    ring_y = jaw + (v[:, None] - 1) * 0.62 - 0.05 * (1 - np.cos(angle))
    ring = np.stack(np.broadcast_arrays(wide * np.sin(angle), ring_y, 0.08 - deep * np.cos(angle)), -1)
    # behind the cheeks there are no landmarks: go over to the ring around neck and hair
    part = np.maximum(_step(np.abs(u), 0.85, 1.25)[None], _step(v, 0.98, 1.35)[:, None])
    points = near + (ring - near) * part[..., None]
    out = np.stack(np.broadcast_arrays(np.sin(angle), 0 * angle, -np.cos(angle)), -1)
    points += out * (look.folds(*np.meshgrid(u, v)) * look.height)[..., None]
    return sheet_of(points, head), u, v


def _step(values, start, end):
    part = np.clip((values - start) / (end - start), 0, 1)
    return part * part * (3 - 2 * part)


class _Look:
    """One random scarf: its edge, folds, fabric and pattern."""

    def __init__(self, rng, colour):
        self.base = colour
        share = rng.random()
        self.top = HIGH + (LOW - HIGH) * (0.0 if share < 0.5 else 1.0) + 0.03 * rng.normal()
        self.slant = 0.05 * rng.normal()
        self.thin = rng.random() < 0.4  # a gaiter or bandana: small folds, no roll at its edge
        self.height = 0.012 if self.thin else 0.038
        self.period = rng.uniform(0.26, 0.36) if self.thin else rng.uniform(0.24, 0.34)
        self.lean, self.phase = rng.uniform(-0.35, 0.35), rng.random()
        self.seeds = rng.integers(0, TILE, 8)
        self.pattern = ("plain", "plain", "plaid", "stripes", "ends")[int(rng.random() * 5)]
        dark = colour.mean() > 0.45
        self.accent = colour * 0.35 if dark else 1 - (1 - colour) * rng.uniform(0.25, 0.55)
        self.accent = np.clip(self.accent + rng.uniform(-0.12, 0.12, 3), 0.02, 0.95)
        self.knit = not self.thin and rng.random() < 0.55
        self.waves = rng.uniform(0, 2 * np.pi, 6).tolist()

    def _down(self, u, v):
        """Place across the folds, in periods."""
        w = self.waves
        bend = 0.10 * np.sin(2.1 * u + w[0]) + 0.06 * np.sin(4.3 * u + w[1] + 2 * v) + 0.05 * np.sin(3.0 * v + w[2])
        return (v + self.lean * u + 0.16 * np.abs(u) + bend) / self.period + self.phase

    def folds(self, u, v):
        """Height of the folds, 0 in the creases to 1."""
        place = self._down(u, v)
        round_ = np.abs(np.sin(np.pi * place)) ** 0.7
        uneven = 0.6 + 0.4 * np.sin(1.7 * u + self.waves[3] + 2.2 * np.floor(place))
        return round_ * uneven * _step(v, 0.25, 0.7)

    def paint(self, u, v, cover, width):
        """The fabric as :class:`~maskhub.masks.fabric.Painted`."""
        edge = np.interp(np.abs(u), KNOTS, self.top).astype(np.float32) + np.float32(self.slant) * np.clip(u, -1, 1)
        edge += np.float32(0.012) * np.sin(u * 5 + self.waves[4]).astype(np.float32)
        inside = (v - edge) * TALL
        alpha = np.clip(inside * np.float32(width) + np.float32(0.5), 0, 1) * cover
        place = self._down(u, v).astype(np.float32)
        crease = 1 - np.abs(np.sin(np.pi * place)) ** np.float32(0.7)
        strength = _step(v, 0.25, 0.7).astype(np.float32)
        x, y = u * WIDE, v * TALL
        dim = 1 - (0.16 if self.thin else 0.42) * crease**3 * strength
        relief = 0.35 * self.height * self.folds(u, v).astype(np.float32)
        relief += noise_at("smooth", x, y, 150, 210, self.seeds[0]) * np.float32(0.016)
        relief += noise_at("smooth", x, y, 420, 300, self.seeds[1]) * np.float32(0.004)
        colour = filled(u.shape, to_linear(self.base * 255))
        self._pattern(colour, x, y, width)
        if self.knit:
            pitch = max(0.030, 4.5 / width)  # stitches of less than four pixels would only be noise
            column = x / np.float32(pitch)
            stitch = y / np.float32(0.8 * pitch) + np.abs(column % 1 - 0.5) * np.float32(0.9)
            deep = np.cos(2 * np.pi * column) * 0.5 + np.cos(2 * np.pi * stitch) * 0.5
            dim *= 1 + np.float32(0.10) * deep
            relief += np.float32(0.004) * deep
        speck = min(700.0, max(width, 120.0) * 1.3)
        dim *= 1 + np.float32(0.045) * noise_at("fibre", x, y, speck, speck, self.seeds[2])
        # the edge is rolled, and under the chin it is darker
        roll = np.float32(0.012 if self.thin else 0.035)
        part = np.clip(inside / roll, 0, 1)
        relief += part * (2 - part) * roll * np.float32(0.6)
        dim *= np.float32(0.86) + np.float32(0.14) * part
        dim *= 1 - np.float32(0.22) * np.exp(-(((v - 1.12) / 0.16) ** 2)) * np.clip(1.1 - np.abs(u), 0, 1)
        return Painted(
            alpha.astype(np.float32), colour, (relief * np.float32(width)).astype(np.float32),
            np.clip(dim, 0.2, 1.1).astype(np.float32),
        )  # fmt: skip

    def _pattern(self, colour, x, y, width):
        accent = to_linear(self.accent * 255)

        def band(along, period, share, amount):
            away = np.abs((along / np.float32(period)) % 1 - 0.5) * 2
            strength = np.clip((share - away) * np.float32(period * width / 2) + 0.5, 0, 1) * np.float32(amount)
            colour[...] += (accent - colour) * strength[..., None]

        if self.pattern == "plaid":
            for along in (x, y):
                band(along, 0.21, 0.42, 0.45)
                band(along + 0.06, 0.21, 0.06, 0.6)
        elif self.pattern == "stripes":
            band(y, 0.17, 0.5, 0.85)
        elif self.pattern == "ends":
            band(y - 0.05, 0.9, 0.12, 0.8)
