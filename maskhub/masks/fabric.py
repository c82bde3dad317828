"""Paint a mask's design on its unwrapped sheet: edges, colours, and the relief of folds, seams and stitches.

Every detail is a function of the sheet's coordinates, evaluated at the photo's pixels, so it is as sharp as the photo
allows. Edges are anti-aliased by their distance in pixels. Lengths are in face widths (about 14 cm).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from maskhub.masks.canvas import WIDE, Canvas, Thinned
from maskhub.masks.fit import within
from maskhub.masks.lighting import rank

__all__ = ["Painted", "paint"]


@dataclass(frozen=True)
class Painted:
    """A painted sheet, in a part of the rectangle of its :class:`~maskhub.masks.fit.Unwrapped`.

    Attributes:
        alpha: float32 h×w in [0, 1], how much of the pixel the mask covers.
        colour: float32 h×w×3, or 3 where it is the same everywhere: linear albedo in [0, 1].
        relief: float32 h×w, height above the flat sheet in pixels.
        dim: float32 h×w, the share of light that reaches into folds, times the unevenness of the fibres.
        box: the part: slices of the rows and columns.
    """

    alpha: np.ndarray
    colour: np.ndarray
    relief: np.ndarray
    dim: np.ndarray
    box: tuple = (slice(None), slice(None))


def paint(design, sheet, width):
    """Paint a :class:`~maskhub.masks.styles.Design` on an unwrapped sheet of a face ``width`` pixels wide, as
    :class:`Painted`."""
    u, v = sheet.u, sheet.v
    away = np.abs(u)
    thin = Thinned(u.shape, width)
    top, bottom = (thin.full(edge) for edge in design.edges(thin.of(u)))
    below_top = v - top
    down = below_top / np.maximum(bottom - top, np.float32(0.05))
    below_top, above_bottom = _distance(below_top, width), _distance(bottom - v, width)
    end = np.float32(design.side)
    if design.waist:
        end = end + np.float32(4 * design.waist) * within(down * (1 - down), 0, 0.25)
    from_side = _distance(end - away, width)
    inside = _rounded(_rounded(below_top, above_bottom, design.corner), from_side, design.corner)
    alpha = within(inside * np.float32(width) + np.float32(0.5), 0, 1)
    alpha *= sheet.cover

    box = _box(alpha)
    fields = (
        np.ascontiguousarray(field[box]) for field in (u, v, away, down, below_top, above_bottom, from_side, inside)
    )
    canvas = Canvas(design, *fields, width)
    _PAINTERS[design.style](canvas)
    # little light reaches the underside of the chin
    canvas.dim *= 1 - within(canvas.v * np.float32(1.2) - np.float32(1.032), 0, 0.3)
    canvas.relief *= np.float32(width)
    return Painted(alpha[box], canvas.colour, canvas.relief, within(canvas.dim, 0.2, 1.1), box)


def _box(alpha):
    """Slices of the rows and columns that are not empty."""
    left, top, width, height = cv2.boundingRect((alpha > 0).view(np.uint8))
    return slice(top, top + max(height, 1)), slice(left, left + max(width, 1))


def _surgical(c):
    design, numbers = c.design, c.design.numbers
    c.cloth_noise(0.013, 0.0075, 0.014)
    count = numbers["pleats"]
    bow = 0.035 + 0.05 * c.picks[7]
    place = c.noise("smooth", 120, 30, 3) * np.float32(0.010)
    place += c.down
    towards_middle = c.away * np.float32(1 / design.side)
    towards_middle *= towards_middle
    np.subtract(1, towards_middle, out=towards_middle)
    bent = (c.down - np.float32(0.35)) * towards_middle
    bent *= np.float32(bow)
    place -= bent
    # the folds are pressed flat at the sides and open over the mouth
    open_ = within(towards_middle, 0, 1, towards_middle)
    uneven = c.noise("smooth", 200, 60, 2) * np.float32(0.35)
    uneven += np.float32(1)
    relief, dim = (cv2.addWeighted(open_, more, open_, 0, flat) for flat, more in ((0.020, 0.012), (0.34, -0.10)))
    relief *= uneven
    dim *= uneven
    c.pleats(place, count, int(c.picks[6] * 8), relief, dim)
    # the sewn rim, brighter because its fabric is doubled, with the nose wire inside
    hem = np.float32(0.042)
    band = c.from_side + np.float32(0.012)
    for distance in (c.below_top, c.above_bottom):
        np.minimum(band, distance, out=band)
    doubled = band * np.float32(-0.7 * c.width)
    doubled += np.float32(0.7 * c.width * hem + 0.5)
    doubled = within(doubled, 0, 1, doubled)
    c.groove(doubled, -0.003, -0.10)
    c.groove(c.line(band - hem, 0.0030) * c.dashes(c.x + c.y, 0.016, 0.7), 0.0012, 0.13)
    c.relief += (
        c.line(c.below_top - np.float32(0.022), 0.009, 0.008) * within((0.34 - c.away) * 8, 0, 1) * np.float32(0.0045)
    )
    c.rim(0.010, 0.10)


def _kn95(c):
    numbers = c.design.numbers
    c.cloth_noise(0.0060, 0.0032, 0.012)
    # the fold from nose to chin forms an edge
    c.ridge(0.032, 0.13)
    c.groove(c.line(c.x, 0.0045), 0.002, 0.10)
    for side in (-0.014, 0.014):
        c.groove(c.line(c.x - np.float32(side), 0.0022) * c.dashes(c.y, 0.020), 0.0010, 0.08)
    rim = np.minimum(np.minimum(c.below_top, c.above_bottom), c.from_side)
    for depth in (0.020, 0.034):
        c.groove(c.line(rim - np.float32(depth), 0.0035) * c.dashes(c.x + c.y, 0.014, 0.55), 0.0016, 0.13)
    # the weld across each half, and the nose clip under the fabric
    slant = c.down - (np.float32(0.26) + np.float32(0.30) * c.away)
    c.groove(c.line(slant * np.float32(0.8), 0.003) * (c.away > 0.12) * (c.from_side > 0.05), 0.0012, 0.09)
    clip = c.line(c.below_top - np.float32(0.060), 0.014, 0.010) * within((0.30 - c.away) * 10, 0, 1)
    c.relief += clip * np.float32(0.005)
    c.dim *= 1 - np.float32(0.10) * clip
    if numbers["valve"]:
        _valve(c, 0.36, 0.62, 0.075)
    if numbers["printed"]:
        print_at = (c.u > 0.36) & (c.u < 0.60)
        for row, (start, end) in enumerate(((0.0, 1.0), (0.0, 0.7))):
            line = c.line(c.down - np.float32(0.52 + 0.055 * row), 0.007)
            letters = c.dashes(c.x + c.noise("fibre", 60, 1, 3) * 0.002, 0.019, 0.62)
            shown = print_at & (c.u > 0.36 + 0.24 * start) & (c.u < 0.36 + 0.24 * end)
            c.tint(line * letters * shown * np.float32(0.45), (0.35, 0.42, 0.55))
    c.rim(0.012, 0.10)


def _cup(c):
    numbers = c.design.numbers
    c.cloth_noise(0.0014, 0.0, 0.020)
    middle = np.float32(0.5)
    round_ = np.sqrt((c.away / np.float32(c.design.side)) ** 2 + ((c.down - middle) * 2) ** 2 + 1e-4)
    for ring in range(numbers["rings"]):
        radius = np.float32(0.80 - 0.16 * ring)
        distance = (round_ - radius) * np.float32(0.5)
        c.relief += c.line(distance, 0.010, 0.012) * np.float32(0.0050)
        c.dim *= 1 - 0.10 * c.line(distance - np.float32(0.014), 0.006, 0.008)
    # the pressed flange
    flange = within((np.float32(0.040) - c.inside) * np.float32(c.width) * 0.5 + 0.5, 0, 1)
    c.relief -= flange * np.float32(0.010)
    c.groove(c.line(c.inside - np.float32(0.042), 0.004), 0.002, 0.14)
    c.groove(c.line(c.inside - np.float32(0.020), 0.0025) * c.dashes(c.x + c.y, 0.012, 0.5), 0.0010, 0.10)
    # the aluminium clip over the nose
    clip = c.line(c.below_top - np.float32(0.058), 0.014, 0.006) * within((0.27 - c.away) * c.width * 0.15, 0, 1)
    c.tint(clip * np.float32(0.75), (0.62, 0.63, 0.65))
    c.relief += clip * np.float32(0.004)
    if numbers["valve"]:
        _valve(c, 0.0, 0.56, 0.085)
    c.rim(0.012, 0.14)


def _cloth(c):
    design, numbers = c.design, c.design.numbers
    if design.style == "patterned":
        _pattern(c, numbers["pattern"])
    c.cloth_noise(0.016, 0.0085, 0.018)
    weave = min(1.0, c.width / 500)
    if weave > 0.5:
        threads = np.sin(c.x * np.float32(2 * np.pi * 150)) * np.sin(c.y * np.float32(2 * np.pi * 150))
        c.dim *= 1 + threads * np.float32(0.07 * weave)
    if numbers["seam"]:
        c.ridge(0.012, 0.12)
        c.groove(c.line(c.x, 0.0040), 0.0025, 0.22)
        c.groove(c.line(np.abs(c.x) - np.float32(0.016), 0.0022) * c.dashes(c.y, 0.018), 0.0012, 0.14)
    if numbers["pleats"]:
        c.pleats(c.down, 2, 3, np.float32(0.022), np.float32(0.35))
    rim = np.minimum(np.minimum(c.below_top, c.above_bottom), c.from_side)
    c.groove(c.line(rim - np.float32(0.024), 0.0028) * c.dashes(c.x + c.y, 0.018, 0.6), 0.0014, 0.18)
    tunnel = within((np.float32(0.055) - c.from_side) * np.float32(c.width) * 0.4 + 0.5, 0, 1)
    c.relief += tunnel * np.float32(0.004) + tunnel * c.noise("smooth", 100, 900, 3) * np.float32(0.0022)
    c.rim(0.012, 0.20)


def _neoprene(c):
    c.cloth_noise(0.009, 0.0040, 0.008)
    c.ridge(0.014, 0.12)
    c.groove(c.line(c.x, 0.0045), 0.0035, 0.24)
    if c.design.numbers["stitched"]:
        rim = np.minimum(np.minimum(c.below_top, c.above_bottom), c.from_side)
        c.groove(c.line(rim - np.float32(0.020), 0.0025), 0.0012, 0.15)
    c.rim(0.016, 0.16)


_PAINTERS = {
    "surgical": _surgical,
    "kn95": _kn95,
    "cup": _cup,
    "cloth": _cloth,
    "patterned": _cloth,
    "neoprene": _neoprene,
}


def _valve(c, u, down, radius):
    """An exhalation valve: a raised plastic disc with slots."""
    x = c.x - np.float32(u) * WIDE
    y = (c.down - np.float32(down)) * np.float32(0.78)
    away = np.sqrt(x * x + y * y)
    soft = max(0.008, 1.5 / c.width)
    disc = within((radius - away) / soft + 0.5, 0, 1)
    c.tint(disc, c.design.base * 0.35 + 0.55)
    c.relief = c.relief * (1 - 0.8 * disc) + disc * np.float32(0.016)
    ring = np.abs(away - np.float32(0.72 * radius))
    c.groove(c.line(ring, 0.004) * disc, 0.004, 0.22)
    slots = c.line(_fraction(y / np.float32(0.026)) * np.float32(0.026) - np.float32(0.013), 0.004) * (
        away < 0.62 * radius
    )
    c.groove(slots, 0.004, 0.35)
    # the shadow at its base
    c.dim *= 1 - 0.22 * within(1 - np.abs(away - radius - 0.006) / 0.012, 0, 1) * (y > -0.3 * radius)


def _pattern(c, name):
    accent = c.design.accent
    picks = c.picks
    if name == "stripes":
        period = 0.05 + 0.07 * picks[4]
        along = c.x if picks[7] < 0.5 else c.y
        c.tint(_wave(along, period, 0.5, c.width), accent)
    elif name == "checks":
        period = 0.05 + 0.06 * picks[4]
        across, down = _wave(c.x, period, 0.5, c.width), _wave(c.y, period, 0.5, c.width)
        c.tint((across + down) * np.float32(0.45), accent)
    elif name == "dots":
        period = np.float32(0.06 + 0.05 * picks[4])
        row = np.floor(c.y / period)
        x = _fraction(c.x / period + 0.5 * row) - 0.5
        y = _fraction(c.y / period) - 0.5
        away = np.sqrt(x * x + y * y) * period
        c.tint(np.clip((0.26 * period - away) * c.width + 0.5, 0, 1), accent)
    elif name == "camouflage":
        light, dark = c.design.base * 0.55 + 0.32, c.design.base * 0.32
        for channel, (colour, level) in enumerate(((light, 0.35), (dark, 0.55), (accent * 0.6, 1.15))):
            field = c.noise("smooth", 330, 430, channel)
            c.tint(np.clip((field - level) * (c.width / 20) + 0.5, 0, 1), colour)
    else:
        _floral(c, accent)


def _floral(c, accent):
    """Flowers of five petals scattered on a jittered grid."""
    leaf = c.design.base * 0.5 + np.array([0.1, 0.25, 0.1])
    field = c.noise("smooth", 600, 600, 2)
    c.tint(np.clip((field - 1.0) * (c.width / 24) + 0.5, 0, 1) * np.float32(0.8), leaf)
    cell = np.float32(0.115 + 0.05 * c.picks[4])
    gx, gy = np.floor(c.x / cell), np.floor(c.y / cell)
    seed = _fraction(np.sin(gx * 127.1 + gy * 311.7 + c.design.seed % 1000) * 437.585)
    turn = _fraction(seed * 57.3)
    x = c.x / cell - gx - np.float32(0.5) - (seed - 0.5) * 0.4
    y = c.y / cell - gy - np.float32(0.5) - (turn - 0.5) * 0.4
    away = np.sqrt(x * x + y * y)
    petals = 0.20 + 0.09 * np.cos(5 * np.arctan2(y, x) + turn * 6.3)
    size = 0.7 + 0.5 * turn
    sharp = cell * c.width
    flower = within((petals * size - away) * sharp + 0.5, 0, 1)
    c.tint(flower, accent)
    c.tint(np.clip((0.075 * size - away) * sharp + 0.5, 0, 1), np.array([0.95, 0.78, 0.30]))


def _wave(along, period, share, width):
    """Bands of a period, anti-aliased."""
    place = np.abs(_fraction(along / np.float32(period)) - 0.5) * 2
    return within((share - place) * np.float32(period * width / 2) + 0.5, 0, 1).astype(np.float32)


def _fraction(x):
    return x - np.floor(x)


def _distance(field, width):
    """Distance in face widths to the field's zero, from its slope, which is clipped where the sheet folds away;
    overwrites the field."""
    dx = cv2.Sobel(field, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(field, cv2.CV_32F, 0, 1, scale=1 / 8)
    # cv2.magnitude does not always return the same last digit
    dx *= dx
    dy *= dy
    dx += dy
    slope = np.sqrt(dx, out=dx)
    typical = rank(slope[::4, ::4], 0.5)
    slope = within(slope, 0.3 * typical + 1e-6, 4 * typical + 1e-5, slope)
    slope *= np.float32(width)
    field /= slope
    return field


def _rounded(a, b, radius):
    """The smaller of two inside distances, with the corner between them rounded."""
    radius = np.float32(radius)
    near = np.minimum(a, b)
    a, b = radius - a, radius - b
    for inner in (a, b):
        np.maximum(inner, 0, out=inner)
    a *= a
    b *= b
    a += b
    return np.maximum(near, radius, out=near) - np.sqrt(a, out=a)
