"""Estimate the lighting on a face from its skin, so that a mask is lit, exposed and blurred like the rest of the photo.

Skin and fabric are treated as matt: a pixel's linear value is albedo × exposure × shade(normal). The shade is a
second-order polynomial of the normal (Ramamoorthi, Hanrahan: "An Efficient Representation for Irradiance Environment
Maps", 2001), fitted to the skin at the landmarks. Albedo and exposure cannot be told apart from the skin alone; the
exposure is estimated from the skin, the whites of the eyes and the brightest parts of the picture.
"""

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from maskhub.faces.align import shrunk, warped
from maskhub.faces.landmarks import MEAN_FACE
from maskhub.masks.fit import within

__all__ = [
    "SHADES", "Lighting", "cast_on_white", "estimate_lighting", "filled", "mean_normals", "rank", "shade_table",
    "to_linear", "to_srgb", "white_level",
]  # fmt: skip

THUMB = 72
"""Side in pixels of the face image on which colours are measured."""
SKIN = np.array([1.63, 0.845, 0.58], np.float32)
"""Linear red, green and blue of skin under white light, divided by its luminance."""
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
CAST = 0.15
"""The exponent with which the colour cast of skin shows on fabric: skin differs more in colour than light does."""
SHARES = (0.17, 0.10, 0.13)
"""The exponents by which the level of the skin, of the whites of the eyes and of the photo's brightest parts enter the
estimate of white."""
WHITE = 1.35
"""White if all three are 1."""
SHADE_RANGE = (0.22, 1.75)


@dataclass(frozen=True)
class Lighting:
    """The lighting on one face.

    Attributes:
        shade: 7 coefficients of the shade, about 1 on average, for (1, x, y, z, x², xy, y²) of a normal in the photo.
        exposure: 3 float32: the linear value of a white fabric at shade 1; includes the light's colour.
        saturation: 0 (greyscale photo) to 1, how much of a colour shows.
        blur: standard deviation of the photo's blur in pixels.
        grain: standard deviation of the photo's noise in grey levels of 255.
        skin: 3 float32, the skin's median colour (sRGB, 0 to 255).
    """

    shade: np.ndarray
    exposure: np.ndarray
    saturation: float
    blur: float
    grain: float
    skin: np.ndarray

    def on(self, x, y, z):
        """The shade of normals, given as three arrays; they need not have length 1."""
        c = self.shade
        value = c[4] * x
        value += c[5] * y
        value += c[1]
        value *= x
        value += (c[6] * y + c[2]) * y
        value += c[3] * z
        value += c[0]
        return within(value, *SHADE_RANGE, value)


def estimate_lighting(image, landmarks, head):
    """Estimate the :class:`Lighting` on a face of a photo (uint8 RGB H×W×3) from its
    :class:`~maskhub.faces.landmarks.Landmarks` and :class:`~maskhub.masks.fit.Head`."""
    xy = landmarks.points[:, :2]
    low, high = xy.min(0), xy.max(0)
    side = float((high - low).max()) * 1.1
    corner = (low + high) / 2 - side / 2
    thumb = _thumb(image, corner, side)
    linear = to_linear(thumb)
    at = (xy[:468] - corner) * (THUMB / side) - 0.5
    cell = within(np.rint(at), 0, THUMB - 1).astype(int)

    normals, use = mean_normals()
    facing = normals @ head.rotation.T
    x, y = at.T
    low, high = np.minimum(x, y), np.maximum(x, y)
    use = use & (facing[:, 2] < -0.25) & (low > -1) & (high < THUMB)
    if use.sum() < 40:
        use = facing[:, 2] < 0.2
    colours = linear[cell[use, 1], cell[use, 0]]
    shade, level, inlier = _fit_shade(facing[use], colours @ LUMA)
    skin = np.array([rank(channel, 0.5) for channel in colours[inlier].T], np.float32)

    tint = skin / max(float(skin @ LUMA), 1e-4)
    spread = float((skin.max() - skin.min()) / max(skin.max(), 1e-4))
    saturation = min(max((spread - 0.12) / 0.33, 0.0), 1.0)
    white = cast_on_white(tint, saturation)
    exposure = _exposure(level, linear, xy, corner, side, image)
    grey = cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY)
    blur, grain = _sharpness(image, landmarks, head, grey)
    return Lighting(
        shade.astype(np.float32), (exposure * white).astype(np.float32), saturation, blur, grain, to_srgb(skin) * 255
    )


def white_level(level, brightest, eyes=None):
    """Estimate the linear value of a white, evenly lit surface next to a face.

    A real white mask is nearly as bright on dark skin as on light skin, since cameras choose the exposure by the whole
    picture. The exponents come from a regression for the upper quartile of the brightness of 2,022 real masks, see
    ``docs/training-log.md``; :data:`WHITE` makes white masks as bright as the brightest tenth of them.

    Args:
        level: luminance of the skin, linear.
        brightest: luminance of the brightest parts of the photo (its 97th percentile), linear.
        eyes: luminance of the whites of the eyes, linear; None if they are not seen.
    """
    eyes = 0.9 * level if eyes is None else eyes
    white = WHITE
    for value, share in zip((level, eyes, brightest), SHARES, strict=True):
        white *= max(float(value), 1e-3) ** share
    # skin has an albedo of 0.05 to 0.65; white fabric has 0.85, and hardly any is 1.7 times as bright as the rest
    return max(min(white, level / 0.05, 2 * max(brightest, level)), level / 0.65)


def cast_on_white(tint, saturation=1.0):
    """The linear colour of white fabric next to skin, of luminance 1 (before limits): 3 float32.

    ``tint`` is the skin's linear colour divided by its luminance, ``saturation`` 0 (a greyscale photo) to 1.
    """
    white = (np.maximum(tint, 1e-3) / SKIN) ** (CAST * saturation)
    return within(white / np.float32(white @ LUMA), 0.55, 1.8)


def filled(shape, colour):
    """A float32 picture of one colour; numpy broadcasts slowly over a last axis of 3."""
    return cv2.merge([np.full(shape, value, np.float32) for value in colour])


def rank(values, share):
    """A quantile, by partial sorting: np.quantile takes ten times as long on so few values."""
    values = np.array(values).ravel()
    place = min(int(share * values.size), values.size - 1)
    values.partition(place)
    return float(values[place])


def to_linear(srgb):
    """uint8 or [0, 255] sRGB to linear float32 in [0, 1] (a plain power of 2.2)."""
    if srgb.dtype == np.uint8:
        return cv2.LUT(srgb, _linear_table())
    return (np.asarray(srgb, np.float32) / 255) ** np.float32(2.2)


def to_srgb(linear):
    """Linear float32 to sRGB in [0, 1], with the highlights rolled off as in a camera."""
    root = np.sqrt(np.maximum(np.asarray(linear, np.float32), 0))
    root *= np.float32(_TONE_STEPS)
    return _tone_table().take(root.astype(np.int32), mode="clip")  # far faster than indexing with brackets


SHADES = 2048
"""Rows of a :func:`shade_table` per unit of the shade's square root."""
_ALL_SHADES = np.arange(1.5 * SHADES, dtype=np.float32)


def shade_table(colour, steps=_ALL_SHADES):
    """The sRGB of a linear colour (3) in shades from 0 to 2.2, as float32 N×4 from 0 to 255 (the last is 0), by the
    shade's square root in ``steps`` of 1 / :data:`SHADES`."""
    root = (steps + np.float32(0.5)) * np.float32(_TONE_STEPS / SHADES)
    scale = np.sqrt(np.maximum(np.append(colour, 0), 0)).astype(np.float32)
    table = _tone_table().take((root[:, None] * scale).astype(np.int64), mode="clip")
    table *= np.float32(255)
    return table


_TONE_STEPS = 4096


@functools.cache
def _tone_table():
    """A table of sRGB for linear values 0 to 4, indexed by their square root."""
    linear = ((np.arange(2 * _TONE_STEPS) + 0.5) / _TONE_STEPS) ** 2
    knee = 0.72
    soft = knee + (1 - knee) * (1 - np.exp(-(linear - knee) / (1 - knee)))
    return (np.where(linear > knee, soft, linear) ** (1 / 2.2)).astype(np.float32)


@functools.cache
def _linear_table():
    return ((np.arange(256) / 255) ** 2.2).astype(np.float32)


def _thumb(image, corner, side):
    scale = THUMB / side
    if scale < 0.6:
        x0, y0 = np.maximum(np.floor(corner), 0).astype(int)
        x1, y1 = np.ceil(corner + side).astype(int)
        part = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        if part.size:
            factor = min(int(0.5 + 1 / scale), *part.shape[:2])
            grow = scale * factor
            matrix = np.array([[grow, 0, (x0 - corner[0]) * scale], [0, grow, (y0 - corner[1]) * scale]])
            return warped(shrunk(part, factor), matrix, THUMB)
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    return warped(image, matrix, THUMB)


def _fit_shade(normals, luma):
    """Robust ridge fit of the shade to the skin: the coefficients divided by the level, the level, and the inliers."""
    x, y, z = normals.T
    basis = np.empty((len(x), 7))
    for column, values in enumerate((1, x, y, z + 0.8, x * x - 0.25, x * y, y * y - 0.2)):
        basis[:, column] = values
    level = rank(luma, 0.5) + 1e-4
    target = luma / level
    weight = np.ones_like(target)
    ridge = np.diag([1e-3, 1.2, 1.2, 4.0, 6.0, 6.0, 6.0]) * len(target) / 150
    for _ in range(3):
        weighted = basis * weight[:, None]
        coefficients = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ target)
        error = target - basis @ coefficients
        # hair, brows and beards are darker than skin: points below the fit get less weight than points above
        scale = 1.5 * rank(np.abs(error), 0.5) + 0.03
        weight = 1 / (1 + (error / np.where(error < 0, scale, 1.6 * scale)) ** 2)
    inlier = weight > 0.4
    if inlier.sum() < 10:
        inlier = np.ones_like(inlier)
    mean = float((basis[inlier] @ coefficients).mean())
    c = coefficients / max(mean, 0.2)
    # nearly every photo has some light from above, and folds need a direction to show
    c[2], c[3] = min(c[2], -0.22), min(c[3], -0.25)
    plain = np.array([c[0] + 0.8 * c[3] - 0.25 * c[4] - 0.2 * c[6], *c[1:]])
    return plain, level * max(mean, 0.2), inlier


def _exposure(level, linear, xy, corner, side, image):
    """The linear value of a white, evenly lit surface, from the skin's level and what else the photo shows."""
    luma = (linear.reshape(-1, 3) @ LUMA).reshape(linear.shape[:2])
    eyes = []
    for outer, inner in ((33, 133), (263, 362)):
        a, b = ((xy[i] - corner) * (THUMB / side) for i in (outer, inner))
        middle, reach = (a + b) / 2, max(np.abs(a - b).max() / 2, 2)
        x0, x1 = _pixels(middle[0] - reach, middle[0] + reach + 1)
        y0, y1 = _pixels(middle[1] - 0.35 * reach, middle[1] + 0.35 * reach + 1)
        if x1 > x0 and y1 > y0:
            eyes.append(rank(luma[y0:y1, x0:x1], 0.9))
    step = max(1, max(image.shape[:2]) // 48)
    brightest = rank(to_linear(np.ascontiguousarray(image[::step, ::step])).reshape(-1, 3) @ LUMA, 0.97)
    return white_level(level, brightest, max(eyes, default=None))


def _pixels(*places):
    return [int(min(max(place, 0), THUMB)) for place in places]


def _sharpness(image, landmarks, head, thumb):
    """The photo's blur (from its sharpest edges around the eyes) and grain (from smooth skin), in its pixels."""
    points = landmarks.points
    eyes = points[[33, 263, 70, 300, 105, 334, 6], :2]
    low, high = eyes.min(0) - 0.08 * head.width, eyes.max(0) + 0.08 * head.width
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = high.astype(int) + 1
    part = image[y0:y1, x0:x1]
    if part.shape[0] < 6 or part.shape[1] < 6:
        return 0.6, 1.0
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    dx = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    steepest = math.sqrt(rank(dx * dx + dy * dy, 0.985))
    up_to = np.cumsum(np.bincount(grey.ravel(), minlength=256))
    low, high = np.searchsorted(up_to, [int(0.03 * grey.size), int(0.97 * grey.size)], side="right")
    contrast = float(high - low)
    blur = contrast / (2.5 * max(steepest, 0.5))
    # calibrated on sharp faces blurred by known amounts
    blur = min(max(math.sqrt(max((blur**2 - 3.6) / 2.3, 0.1)), 0.3), 0.04 * head.width + 0.3)

    cheek = points[[50, 280, 151, 205, 425], :2].astype(int)
    reach = max(3, int(0.05 * head.width))
    noise = []
    for x, y in cheek:
        patch = image[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach, 1]
        if min(patch.shape) >= 5:
            # Immerkær: "Fast Noise Variance Estimation", 1996
            second = cv2.filter2D(patch, cv2.CV_32F, _IMMERKAER)[1:-1, 1:-1]
            noise.append(cv2.norm(second, cv2.NORM_L1) / second.size * math.sqrt(math.pi / 2) / 6)
    grain = rank(noise, 0.5) if noise else 0.5
    return blur, min(max(grain, 0.2), 12.0)


_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


@functools.cache
def mean_normals():
    """Outward normals of the mean face's landmarks in the head's axes, and which landmarks lie on uncovered skin."""
    mean = np.load(MEAN_FACE)[:468].astype(np.float64)
    distance = ((mean[:, None] - mean[None]) ** 2).sum(-1)
    normals = np.empty_like(mean)
    for i, near in enumerate(np.argsort(distance, 1)[:, :14]):
        spread = mean[near] - mean[near].mean(0)
        normals[i] = np.linalg.svd(spread, full_matrices=False)[2][2]
        normals[i] *= np.sign(normals[i] @ (mean[i] - [0, 0.1, 0.1])) or 1
    x, y = np.abs(mean[:, 0]), mean[:, 1]
    eyes = (x > 0.07) & (x < 0.40) & (y > -0.32) & (y < -0.03)
    lips = (x < 0.24) & (y > 0.26) & (y < 0.50)
    nostrils = (x < 0.11) & (y > 0.15) & (y < 0.26)
    return normals, ~(eyes | lips | nostrils | (y < -0.46))
