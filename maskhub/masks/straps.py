"""The straps: ribbons from the mask's corners to the ears, hidden where the head turns away.

A strap leaves the fabric at a corner, crosses the cheek and ends at the root of the ear; a cup respirator's two bands
go round the head instead. What lies behind the cheek's outline, or under hair, is not drawn.
"""

import cv2
import numpy as np

from maskhub.masks.light import LUMA

__all__ = ["draw_straps", "skin_like"]

EAR_TOP, EAR_FOOT = np.array([0.515, -0.08, 0.05]), np.array([0.500, 0.15, 0.06])
"""Where the ear's root begins and ends on the head's axes, on the left side."""
BAND_TOP, BAND_FOOT = np.array([0.54, -0.22, 0.30]), np.array([0.50, 0.30, 0.30])
WIDTHS = {"surgical": 0.012, "kn95": 0.018, "cup": 0.022, "cloth": 0.016, "patterned": 0.016, "neoprene": 0.024}
STEPS = 14


def draw_straps(design, head, sheet, bare, left, top):
    """Draw the straps' cover on a rectangle of the photo.

    Args:
        design: :class:`~maskhub.masks.styles.Design`.
        head: :class:`~maskhub.masks.fit.Head`.
        sheet: :class:`~maskhub.masks.fit.Sheet`.
        bare: :func:`skin_like` of a rectangle of the photo, h×w.
        left, top: its corner in the photo.

    Returns:
        (cover, normal): float32 h×w in [0, 1], and the mean normal (3) of what is seen; None where nothing is.
    """
    cover = np.zeros(bare.shape, np.uint8)
    width = WIDTHS[design.style] * (0.9 + 0.3 * design.numbers["picks"][7])
    normal_sum = np.zeros(3)
    hidden = np.zeros_like(cover)
    for points, normals in strap_paths(design, head, sheet):
        visible = normals[:, 2] < -0.12
        # only the first stretch: what comes out again behind the head is not drawn
        count = len(visible) if visible.all() else int(np.argmin(visible))
        if count < 2:
            continue
        line = points[:count, :2] - (left, top)
        # hair over the ear: the strap runs under what doesn't look like skin, and soon ends
        at = np.clip(np.rint(line), 0, (bare.shape[1] - 1, bare.shape[0] - 1)).astype(int)
        along = bare[at[:, 1], at[:, 0]]
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
    cover = np.maximum(cover / np.float32(255), hidden * bare / np.float32(255))
    return cover, normal_sum / max(float(np.linalg.norm(normal_sum)), 1e-6)


def skin_like(part, skin):
    """How much each pixel looks like the face's skin, 0 to 1: h×w float32."""
    height, width = part.shape[:2]
    factor = max(2, round(max(height, width) / 128))
    small = cv2.resize(part, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_AREA)
    difference = small.astype(np.float32) - np.asarray(skin, np.float32)
    luma = difference @ LUMA
    chroma = difference - luma[..., None]
    far = (luma / 70) ** 2 + (chroma * chroma).sum(-1) / 24**2
    return cv2.resize(
        np.clip(1.6 - 0.6 * far, 0, 1).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )


def strap_paths(design, head, sheet):
    """Each strap's middle line: STEPS×3 points in the photo and the outward normals of the cheek below it."""
    band = design.style == "cup"
    ends = (BAND_TOP, BAND_FOOT) if band else (EAR_TOP, EAR_FOOT)
    ears = head.points[[234, 454]]
    paths = []
    for sign, ear in ((-1, ears[0]), (1, ears[1])):
        for which, end in enumerate(ends):
            u = sign * (design.side - 0.025)
            at = np.float32(u)
            top_v, bottom_v = (float(design.edge(table, at)) for table in (design.top, design.bottom))
            inset = 0.10 if band else 0.05
            share = inset if which == 0 else 1 - inset
            if band:
                share = 0.22 if which == 0 else 0.80
            if design.style == "neoprene":
                share = 0.16 if which == 0 else 0.84
            v = top_v + share * (bottom_v - top_v)
            start = sheet.at([u], [v], sheet.head_points)[0].astype(np.float64)
            target = np.array([sign, 1, 1]) * end
            target = target + (ear - np.array([sign * 0.5, 0, 0])) * 0.6
            t = np.linspace(0, 1, STEPS)[:, None]
            line = start + (target - start) * t
            # lie on the rounded cheek instead of cutting through it, and sag a little
            line[:, 0] += sign * 0.012 * np.sin(np.pi * t[:, 0])
            line[:, 1] += (0.012 if which else 0.006) * np.sin(np.pi * t[:, 0])
            normals = np.stack([np.full(STEPS, float(sign)), np.zeros(STEPS), -0.55 + 0.35 * t[:, 0]], 1)
            normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            paths.append((head.to_photo(line), normals @ head.rotation.T))
    return paths


def _ribbon(cover, line, width):
    """Fill a ribbon of a width in pixels along a line; one thinner than a pixel is drawn fainter."""
    direction = np.gradient(line, axis=0)
    across = np.stack([-direction[:, 1], direction[:, 0]], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    half = max(width, 1.0) / 2
    outline = np.concatenate([line + half * across, (line - half * across)[::-1]])
    value = int(255 * min(1.0, width))
    cv2.fillPoly(cover, [np.rint(outline * 16).astype(np.int32)], value, cv2.LINE_AA, 4)
