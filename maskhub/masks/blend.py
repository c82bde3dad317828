"""Mix a drawn covering into a photo: as sharp and grainy as the photo, with its shadow on the face."""

import functools
import math

import cv2
import numpy as np

from maskhub.masks.fit import within
from maskhub.masks.lighting import LUMA, SHADES, shade_table, to_srgb

__all__ = ["SHADOW", "blend", "grain_tile", "lit", "three", "toned"]

SHADOW = 0.34
"""Depth of the contact shadow where the fabric touches the skin."""
GAP = 0.010
"""A mask's distance from the skin where it casts its shadow, in face widths."""


def three(plane):
    """A plane as three equal channels: numpy broadcasts slowly over a last axis of 3."""
    return cv2.merge((plane, plane, plane))


def toned(colour, lighting, shade):
    """Linear colours h×w×3, or the same one (3) everywhere, in a shade h×w of a
    :class:`~maskhub.masks.lighting.Lighting`, as the photo shows them: sRGB, float32 0 to 255."""
    fading = lighting.exposure[:, None] * (lighting.saturation * np.eye(3) + (1 - lighting.saturation) * LUMA)
    if colour.ndim == 1:
        steps = np.sqrt(shade)
        steps *= np.float32(SHADES)
        if steps.size == 1:
            return shade_table(fading @ colour, np.trunc(steps.ravel()))[None, :, :3]
        # one table for all pixels; its rows of four floats are read three times as fast as rows of three
        rows = shade_table(fading @ colour).take(steps.astype(np.int64), axis=0, mode="clip")
        return cv2.cvtColor(rows, cv2.COLOR_RGBA2RGB)
    tone = to_srgb(cv2.transform(colour, fading) * three(shade))
    tone *= np.float32(255)
    return tone


def lit(painted, normals, lighting):
    """The colours in the photo, float32 0 to 255, of a :class:`~maskhub.masks.fabric.Painted` sheet whose normals are
    h×w×3."""
    slope_x = cv2.Sobel(painted.relief, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(painted.relief, cv2.CV_32F, 0, 1, scale=1 / 8)
    z = np.ascontiguousarray(normals[..., 2])
    lean = within(z * np.float32(-1.2), 0, 1.2)
    x = normals[..., 0] - within(slope_x, -1, 1) * lean
    y = normals[..., 1] - within(slope_y, -1, 1) * lean
    shade = lighting.on(x, y, z)
    shade *= painted.dim
    return toned(painted.colour, lighting, shade)


def blend(image, corner, layer, cover, lighting, head, rng, *, skin, gap=GAP, shadow=SHADOW, shape=None):
    """Put a layer on a part of a photo.

    Args:
        image: uint8 RGB H×W×3; not modified.
        corner: the part's left and top in the photo.
        layer: float32 h×w×3, its colours (0 to 255) times ``cover``; overwritten.
        cover: float32 h×w in [0, 1], how much of each pixel it hides.
        lighting, head: the face's :class:`~maskhub.masks.lighting.Lighting` and :class:`~maskhub.masks.fit.Head`.
        rng: ``numpy.random.Generator`` for the grain.
        skin: float32 h×w, or a number: the share of the shadow that falls on each pixel.
        gap: distance from the face in face widths: a shadow from further away is softer and further off.
        shadow: depth of the shadow.
        shape: float32 h×w in [0, 1], what counts as covered, where that is more than ``cover``: dark glass.

    Returns:
        a copy of the photo with the layer, and its region, float32 H×W; where that is 0 the photo is unchanged.
    """
    x0, y0 = corner
    size = cover.shape[1], cover.shape[0]
    part = image[y0 : y0 + size[1], x0 : x0 + size[0]]
    # blur the layer and its cover like the photo
    sigma = max(lighting.blur, 0.5)
    window = 2 * int(np.ceil(2.2 * sigma)) + 1
    layer = cv2.GaussianBlur(layer, (window, window), sigma, dst=layer)
    cover = cv2.GaussianBlur(cover, (window, window), sigma)
    darker = _shadow(cover, head, lighting, gap, shadow)
    darker *= skin
    light = 1 - darker
    light *= 1 - cover
    cv2.accumulateProduct(part.astype(np.float32), three(light), layer)  # in half the time of numpy's += and *
    cv2.accumulate(three(_grain(size, lighting.grain, rng) * cover), layer)
    changed = np.maximum(cover, darker, out=darker)
    if shape is not None:
        changed = np.maximum(changed, shape)
    _, changed = cv2.threshold(changed, 1 / 255, 0, cv2.THRESH_TOZERO)
    out, region = image.copy(), np.zeros(image.shape[:2], np.float32)
    mixed = cv2.add(layer, 0.0, dtype=cv2.CV_8UC3)  # rounds, and clips to 0 to 255
    out[y0 : y0 + size[1], x0 : x0 + size[0]] = cv2.copyTo(mixed, (changed > 0).view(np.uint8), part.copy())
    np.minimum(changed, 1, out=region[y0 : y0 + size[1], x0 : x0 + size[0]])
    return out, region


def _shadow(whole, head, lighting, gap, depth):
    """How much a covering darkens the skin around it: close along its rim, more on the side away from the light."""
    sigma = max(0.6, 1.6 * gap * head.width)
    size = 2 * int(np.ceil(2 * sigma)) + 1
    direction = -lighting.shade[1:3]
    reach = gap * head.width
    shift = direction / max(float(np.hypot(*direction)), 0.15) * reach
    # one filter moves and blurs: the Gaussian between its two shifts by whole pixels
    reach = int(np.ceil(np.abs(shift).max()))
    x, y = (_moved_kernel(cv2.getGaussianKernel(size, sigma).ravel(), along, reach) for along in shift)
    soft = cv2.sepFilter2D(whole, -1, x, y * depth, borderType=cv2.BORDER_CONSTANT)
    soft *= 1 - whole
    return soft


def _moved_kernel(kernel, shift, reach):
    """The filter that applies a kernel and moves the picture by up to ``reach`` pixels, interpolated linearly."""
    low = math.floor(shift)
    moved = np.zeros(len(kernel) + 2 * reach)
    # cv2's filters correlate: a picture that moves to the right takes its values from the left
    for start, share in ((reach - low, 1 - (shift - low)), (reach - low - 1, shift - low)):
        if share:
            moved[start : start + len(kernel)] += share * kernel
    return moved


def _grain(size, sigma, rng):
    """Noise as strong as the photo's, h×w, cut from a fixed tile, which repeats itself, at a random place."""
    tile = grain_tile()
    x, y = rng.integers(0, tile.shape[1], 2)
    times = (y + size[1] - 1) // tile.shape[0] + 1, (x + size[0] - 1) // tile.shape[1] + 1
    if times != (1, 1):
        tile = _four_tiles() if max(times) == 2 else np.tile(tile, times)
    return tile[y : y + size[1], x : x + size[0]] * np.float32(sigma)


@functools.cache
def _four_tiles():
    return np.tile(grain_tile(), (2, 2))


@functools.cache
def grain_tile():
    noise = np.random.default_rng(3).standard_normal((512, 512)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (3, 3), 0.6)
    return noise / noise.std()
