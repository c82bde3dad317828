"""What a mask's design is painted on: the fields of its sheet, and the strokes that change them.

Lengths are in face widths (about 14 cm). Strokes are as sharp as the photo allows, and anti-aliased.
"""

import functools

import cv2
import numpy as np

from maskhub.masks.fit import within
from maskhub.masks.lighting import filled, to_linear
from maskhub.masks.noise import TILE, noise_tile

__all__ = ["TALL", "WIDE", "Canvas", "Thinned"]

WIDE, TALL = np.float32(0.78), np.float32(0.84)
"""Face widths along the sheet per unit of u and of v."""
SLOW = 240
"""Smooth noise of at most so many texels per face width is interpolated between pixels."""


class Thinned:
    """Every ``step``-th pixel of fields h×w on a face ``width`` pixels wide, and back: for what changes slowly."""

    def __init__(self, shape, width):
        # of odd steps a pixel is the middle one
        self.shape, self.step = shape, int(min(max(width / 50, 1), 15)) // 2 * 2 + 1
        self._rows, self._columns = (
            np.minimum(np.arange(self.step // 2, -(-side // self.step) * self.step, self.step), side - 1)
            for side in shape
        )

    def of(self, field):
        """The thinned field."""
        # take is far faster than indexing with brackets
        return field if self.step == 1 else field.take(self._rows, 0).take(self._columns, 1)

    def full(self, thinned):
        """The field of h×w, interpolated linearly."""
        if self.step == 1:
            return thinned
        size = thinned.shape[1] * self.step, thinned.shape[0] * self.step
        return cv2.resize(thinned, size)[: self.shape[0], : self.shape[1]]


class Places:
    """Where some pixels lie on the sheet, in face widths, and about where the first and the last of them do."""

    def __init__(self, x, y):
        self._axes = x, y
        self._ends = [[some.min(), some.max()] for some in (x[::4, ::4], y[::4, ::4])]

    def texels(self, axis, scale, start):
        """Their places on a noise tile along an axis, at ``scale`` texels per face width from ``start`` on."""
        scale, start = np.float32(scale), np.float32(start)
        places = self._axes[axis] * scale
        places += start
        low, high = (float(end * scale + start) for end in self._ends[axis])
        if low < 0 and high + TILE < 2 * TILE - 1:  # the tile repeats itself after TILE
            places += np.float32(TILE)
        elif high > 2 * TILE - 1 and low >= TILE:
            places -= np.float32(TILE)
        return places


class Canvas:
    """The fields that a painter reads (coordinates, distances) and writes (colour, relief, dim)."""

    def __init__(self, design, u, v, away, down, below_top, above_bottom, from_side, inside, width):
        self.design, self.width, self.thin = design, width, Thinned(u.shape, width)
        self.u, self.v, self.away, self.down = u, v, away, down
        self.below_top, self.above_bottom, self.from_side, self.inside = below_top, above_bottom, from_side, inside
        self.x, self.y = u * WIDE, v * TALL
        self._places = Places(self.x, self.y)
        self._slow_places = Places(self.thin.of(self.x), self.thin.of(self.y))
        self.relief = np.zeros_like(u)
        self.dim = np.ones_like(u)
        self.colour = to_linear(design.base * 255)
        self.picks = design.numbers["picks"]

    def noise(self, name, scale_x, scale_y, channel=0):
        """A random field of mean 0 and standard deviation 1, at ``scale`` texels of its tile per face width."""
        # OpenCV is ten times slower outside the tile: start where the whole mask fits
        seed = self.design.seed >> (channel * 5)
        start_x = 0.75 * scale_x + seed % max(int(2 * TILE - 1 - 1.5 * scale_x), 1)
        start_y = 0.10 * scale_y + (seed // 7) % max(int(2 * TILE - 1 - 1.3 * scale_y), 1)
        slow = name == "smooth" and max(scale_x, scale_y) <= SLOW
        places = self._slow_places if slow else self._places
        x, y = places.texels(0, scale_x, start_x), places.texels(1, scale_y, start_y)
        field = cv2.remap(noise_tile(name), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return self.thin.full(field) if slow else field

    def tint(self, amount, colour):
        """Mix in an sRGB colour, by a field in [0, 1]."""
        if self.colour.ndim == 1:
            self.colour = filled(self.u.shape, self.colour)
        # numpy broadcasts slowly over a last axis of 3
        rest = 1 - amount
        self.colour *= cv2.merge((rest, rest, rest))
        self.colour += cv2.merge([amount * value for value in to_linear(np.asarray(colour) * 255)])

    def line(self, distance, half, soft=None):
        """1 within ``half`` (in widths) of where a distance is 0, with soft edges about a pixel wide."""
        soft = max(1.0 / self.width, 0.35 * half) if soft is None else soft
        # lines thinner than a pixel are fainter, not missing
        strength = min(1.0, 2 * half * self.width)
        away = np.abs(distance)
        away *= np.float32(-strength / soft)
        away += np.float32(strength * (half / soft + 0.5))
        return within(away, 0, strength, away)

    def dashes(self, along, length, share=0.6):
        """A row of stitches: 1 on the dashes along a coordinate in widths."""
        if length * self.width < 4:
            return np.float32(share)
        place = along * np.float32(1 / length)
        place -= np.floor(place)
        place -= np.float32(0.5)
        np.abs(place, out=place)
        place *= np.float32(-length * self.width)
        place += np.float32(share * length * self.width * 0.5 + 0.5)
        return within(place, 0, 1, place)

    def groove(self, mask, depth, dim):
        """Press in a line: lower and darker."""
        cv2.scaleAdd(mask, -depth, self.relief, self.relief)
        self.dim *= cv2.addWeighted(mask, -dim, mask, 0, 1)

    def ridge(self, height, reach):
        """Raise the fabric along the middle, where two halves meet at an angle."""
        self.relief += np.exp(self.away * np.float32(-1 / reach)) * np.float32(height)

    def pleats(self, place, count, variant, relief, dim):
        """Folds across the sheet at ``place`` (0 at the top edge, 1 at the bottom)."""
        # sampled at pixel resolution, so that a lip is never sharper than the photo
        soft = int(min(max(2048 * 1.6 / (0.75 * self.width), 25), 160)) // 8 * 8 + 1
        heights, dims = _pleats(count, variant, soft)
        index = (place * np.float32(len(heights) - 1)).astype(np.int64)  # which take needs; other types it converts
        height, dark = heights.take(index, mode="clip"), dims.take(index, mode="clip")
        height *= relief
        self.relief += height
        dark *= dim
        self.dim *= np.subtract(1, dark, out=dark)

    def rim(self, radius, dim=0.16):
        """Round off the fabric's edge and darken it."""
        part = self.inside * np.float32(1 / radius)
        part = within(part, 0, 1, part)
        rise = (2 - part) * part
        cv2.scaleAdd(rise, 0.35 * radius, self.relief, self.relief)
        self.dim *= cv2.addWeighted(rise, dim, rise, 0, 1 - dim)

    def cloth_noise(self, broad, creases, fibre):
        """Dents, creases towards the straps, and the unevenness of the fibres."""
        if broad:
            cv2.scaleAdd(np.ascontiguousarray(self.noise("smooth", 170, 240)), broad, self.relief, self.relief)
        if creases:
            pull = self.away * np.float32(2.2 * creases)
            pull -= np.float32(0.22 * 2.2 * creases)
            pull = within(pull, 0, creases, pull)
            pull *= self.noise("smooth", 130, 640, 1)
            self.relief += pull
        if fibre:
            scale = min(700.0, max(self.width, 120.0) * 1.3)
            speck = self.noise("fibre", scale, scale, 2)
            self.dim *= cv2.addWeighted(speck, 2.2 * fibre, speck, 0, 1)


@functools.lru_cache(64)
def _pleats(count, variant, soft):
    """Relief and darkness down a pleated sheet, 0 to 1: each fold swells, then drops at its lip into shadow."""
    rng = np.random.default_rng(variant)
    s = np.linspace(0, 1, 2048)
    lips = (np.arange(count) + 0.72) / (count + 0.35) + rng.normal(0, 0.018, count)
    relief, dim = np.zeros_like(s), np.zeros_like(s)
    start = 0.08
    for lip in lips:
        part = within((s - start) / (lip - start), 0, 1)
        swell = part**1.5 * (s < lip)
        relief += swell
        dim += np.exp(-np.clip(s - lip, 0, None) / 0.040) * (s >= lip)
        dim -= 0.12 * np.exp(-(((s - lip + 0.02) / 0.012) ** 2))
        start = lip
    part = within((s - start) / (0.96 - start), 0, 1)
    relief += 0.6 * np.sin(np.pi * part) * (s >= start)
    window = np.hanning(soft + 2)
    window /= window.sum()
    relief, dim = (np.convolve(np.pad(a, (soft + 1) // 2, "edge"), window, "valid") for a in (relief, dim))
    return relief.astype(np.float32), dim.astype(np.float32)
