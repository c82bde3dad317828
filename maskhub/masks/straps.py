"""Draw the straps: ribbons from the mask's corners to the ears, hidden where the head turns away.

A strap leaves the fabric at a corner, crosses the cheek and ends at the base of the ear. The two bands of a cup
respirator go around the head instead. Parts behind the cheek's outline or under hair are not drawn.
"""

import cv2
import numpy as np

from maskhub.faces.align import shrunk
from maskhub.masks.fit import within
from maskhub.masks.lighting import LUMA

__all__ = ["draw_straps", "skin_like"]

EAR_TOP, EAR_FOOT = np.array([0.515, -0.08, 0.05]), np.array([0.500, 0.15, 0.06])
"""Top and bottom of the base of the left ear, in the head's axes."""
BAND_TOP, BAND_FOOT = np.array([0.54, -0.22, 0.30]), np.array([0.50, 0.30, 0.30])
WIDTHS = {"surgical": 0.012, "kn95": 0.018, "cup": 0.022, "cloth": 0.016, "patterned": 0.016, "neoprene": 0.024}
STEPS = 14
_STEPS = np.linspace(0, 1, STEPS)
_CHEEK = np.stack([0 * _STEPS, 0 * _STEPS, -0.55 + 0.35 * _STEPS], 1)


def draw_straps(design, head, sheet, skin, left, top):
    """Draw the straps of a design on a rectangle of the photo whose corner is at (``left``, ``top``).

    ``skin`` is :func:`skin_like` of that rectangle, h×w. Returns the cover, float32 h×w in [0, 1], and the mean normal
    (3) of the visible part; None if nothing is visible.
    """
    cover = np.zeros(skin.shape, np.uint8)
    width = WIDTHS[design.style] * (0.9 + 0.3 * design.numbers["picks"][7])
    normal_sum = np.zeros(3)
    hidden = np.zeros_like(cover)
    for points, normals in zip(*strap_paths(design, head, sheet), strict=True):
        visible = normals[:, 2] < -0.13
        # only the first visible stretch: what reappears behind the head is not drawn
        count = len(visible) if visible.all() else int(np.argmin(visible))
        if count < 2:
            continue
        line = points[:count, :2] - (left, top)
        # hair over the ear: the strap disappears under anything that doesn't look like skin, and soon ends
        at = within(np.rint(line), 0, (skin.shape[1] - 1, skin.shape[0] - 1)).astype(int)
        along = skin[at[:, 1], at[:, 0]]
        target = cover
        if along[-4:].mean() < 0.5:
            target = hidden
            gone = np.flatnonzero(np.convolve(along < 0.4, [1, 1], "valid") == 2)
            count = min(count, int(gone[0]) + 2 if len(gone) else count)
            if count < 3:
                continue
            line = line[:count]
        _ribbon(target, line, width * head.width)
        normal_sum += normals[:count].sum(0)
    if not normal_sum.any():
        return None
    cover = np.maximum(cover / np.float32(255), hidden * skin / np.float32(255))
    return cover, normal_sum / max(float(np.linalg.norm(normal_sum)), 1e-6)


def skin_like(part, skin):
    """How much each pixel looks like the face's skin, 0 to 1: h×w float32."""
    height, width = part.shape[:2]
    small = shrunk(part, min(max(2, round(max(height, width) / 128)), height, width))
    red, green, blue = (small[..., channel] - np.float32(skin[channel]) for channel in range(3))
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    far = (luma / 70) ** 2 + ((red - luma) ** 2 + (green - luma) ** 2 + (blue - luma) ** 2) / 24**2
    return cv2.resize(within(1.6 - 0.6 * far, 0, 1), (width, height), interpolation=cv2.INTER_LINEAR)


def strap_paths(design, head, sheet):
    """The straps' centre lines, 4×STEPS×3 in the photo, and the outward normals of the cheek below them.

    In this order: right top, right bottom, left top, left bottom.
    """
    band = design.style == "cup"
    sign = np.array([-1.0, -1.0, 1.0, 1.0])
    u = (sign * (design.side - 0.025)).astype(np.float32)
    low, high = (float(edge[0]) for edge in design.edges(u[2:3]))
    inset = 0.22 if band else 0.16 if design.style == "neoprene" else 0.05
    v = low + np.array([inset, 1 - inset, inset, 1 - inset]) * (high - low)
    start = sheet.at(u, v, sheet.head_points).astype(np.float64)
    ends = np.stack((BAND_TOP, BAND_FOOT) if band else (EAR_TOP, EAR_FOOT))[[0, 1, 0, 1]]
    ends[:, 0] *= sign
    ears = head.points[[234, 234, 454, 454]]
    ends += 0.6 * (ears - sign[:, None] * (0.5, 0, 0))
    t = _STEPS[:, None]
    lines = start[:, None] + (ends - start)[:, None] * t
    # follow the rounded cheek instead of cutting through it, and sag a little
    arch = np.sin(np.pi * _STEPS)
    lines[..., 0] += 0.012 * sign[:, None] * arch
    lines[..., 1] += np.array([0.006, 0.012, 0.006, 0.012])[:, None] * arch
    return head.to_photo(lines), (sign[:, None, None] * (1, 0, 0) + _CHEEK) @ head.rotation.T


def _ribbon(cover, line, width):
    """Fill a ribbon of a given width in pixels along a line; one thinner than a pixel is drawn fainter."""
    ahead = np.diff(line, axis=0)
    direction = np.concatenate([ahead[:1], ahead[:-1] + ahead[1:], ahead[-1:]])
    across = np.stack([-direction[:, 1], direction[:, 0]], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    half = max(width, 1.0) / 2
    outline = np.concatenate([line + half * across, (line - half * across)[::-1]])
    value = int(255 * min(1.0, width))
    cv2.fillPoly(cover, [np.rint(outline * 16).astype(np.int32)], value, cv2.LINE_AA, 4)
