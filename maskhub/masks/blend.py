"""Mix a drawn covering into a photo: as sharp and grainy as the photo, with its shadow on the face."""

import functools

import cv2
import numpy as np

from maskhub.masks.fit import within
from maskhub.masks.lighting import LUMA, to_srgb

__all__ = ["SHADOW", "blend", "grain_tile", "lit", "three", "toned"]

SHADOW = 0.34
"""Depth of the contact shadow where the fabric touches the skin."""
GAP = 0.010
"""A mask's distance from the skin where it casts its shadow, in face widths."""


def three(plane):
    """A plane as three equal channels: numpy broadcasts slowly over a last axis of 3."""
    return cv2.merge((plane, plane, plane))


def toned(colour, lighting, shade):
    """Linear colours h×w×3 in a shade h×w of a :class:`~maskhub.masks.lighting.Lighting`, as the photo shows them:
    sRGB, float32 0 to 255."""
    fading = lighting.saturation * np.eye(3) + (1 - lighting.saturation) * LUMA
    tone = to_srgb(cv2.transform(colour, lighting.exposure[:, None] * fading) * three(shade))
    tone *= np.float32(255)
    return tone


def lit(painted, normals, lighting):
    """The colours in the photo, float32 0 to 255, of a :class:`~maskhub.masks.fabric.Painted` sheet whose normals are
    h×w×3."""
    slope_x = cv2.Sobel(painted.relief, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(painted.relief, cv2.CV_32F, 0, 1, scale=1 / 8)
    x, y, z = (np.ascontiguousarray(normals[..., axis]) for axis in range(3))
    lean = np.float32(1.2) * within(-z, 0, 1)
    x -= within(slope_x, -1, 1) * lean
    y -= within(slope_y, -1, 1) * lean
    return toned(painted.colour, lighting, lighting.on(x, y, z) * painted.dim)


def blend(image, corner, layer, cover, lighting, head, rng, *, skin, gap=GAP, shadow=SHADOW, shape=None):
    """Put a layer on a part of a photo.

    Args:
        image: uint8 RGB H×W×3; not modified.
        corner: the part's left and top in the photo.
        layer: float32 h×w×3, 0 to 255, its colours.
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
    # blur the layer and its cover like the photo; from here on the colours are weighted by the cover
    sigma = max(lighting.blur, 0.5)
    window = 2 * int(np.ceil(2.2 * sigma)) + 1
    layer = cv2.GaussianBlur(layer * three(cover), (window, window), sigma)
    cover = cv2.GaussianBlur(cover, (window, window), sigma)
    darker = _shadow(cover, head, lighting, gap, shadow) * skin
    layer += cv2.multiply(part, three((1 - darker) * (1 - cover)), dtype=cv2.CV_32F)
    mixed = cv2.add(layer, three(_grain(size, lighting.grain, rng) * cover), dst=layer)
    changed = np.maximum(cover, darker)
    if shape is not None:
        changed = np.maximum(changed, shape)
    changed[changed < 1 / 255] = 0
    out, region = image.copy(), np.zeros(image.shape[:2], np.float32)
    mixed = cv2.add(mixed, 0.0, dtype=cv2.CV_8UC3)  # rounds, and clips to 0 to 255
    out[y0 : y0 + size[1], x0 : x0 + size[0]] = cv2.copyTo(mixed, (changed > 0).view(np.uint8), part.copy())
    region[y0 : y0 + size[1], x0 : x0 + size[0]] = np.minimum(changed, 1)
    return out, region


def _shadow(whole, head, lighting, gap, depth):
    """How much a covering darkens the skin around it: close along its rim, more on the side away from the light."""
    sigma = max(0.6, 1.6 * gap * head.width)
    size = 2 * int(np.ceil(2 * sigma)) + 1
    direction = -lighting.shade[1:3]
    reach = gap * head.width
    shift = direction / max(float(np.hypot(*direction)), 0.15) * reach
    moved = cv2.warpAffine(whole, np.float64([[1, 0, shift[0]], [0, 1, shift[1]]]), (whole.shape[1], whole.shape[0]))
    soft = cv2.GaussianBlur(moved, (size, size), sigma)
    soft *= np.float32(depth)
    soft *= 1 - whole
    return soft


def _grain(size, sigma, rng):
    """Noise as strong as the photo's, h×w, cut from a fixed tile at a random place."""
    tile = grain_tile()
    x, y = rng.integers(0, tile.shape[1], 2)
    if x + size[0] <= tile.shape[1] and y + size[1] <= tile.shape[0]:
        return tile[y : y + size[1], x : x + size[0]] * np.float32(sigma)
    rows, columns = (np.arange(size[1]) + y) % tile.shape[0], (np.arange(size[0]) + x) % tile.shape[1]
    return tile[rows][:, columns] * np.float32(sigma)


@functools.cache
def grain_tile():
    noise = np.random.default_rng(3).standard_normal((512, 512)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (3, 3), 0.6)
    return noise / noise.std()
