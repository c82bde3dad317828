"""Masks from pictures: cut-outs, photos of a mask on a plain background, and masks that people wear in photos.

    picture = MaskPicture.read("masks/floral.png")
    wear(photo, style=MaskPictures([picture]), seed=3)

A picture becomes a texture on the same sheet that drawn masks are painted on (:mod:`maskhub.masks.fit`), so it turns
with the head, and is lit, blurred and grained like the photo.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from maskhub.errors import PhotoError
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.masks.canvas import TALL, WIDE
from maskhub.masks.detector import detect_mask
from maskhub.masks.fabric import Painted
from maskhub.masks.fit import Head, drape
from maskhub.masks.lighting import LUMA, cast_on_white, to_linear, white_level
from maskhub.masks.noise import TILE, noise_at
from maskhub.masks.styles import design as draw_design

__all__ = ["PICTURE", "MaskPicture", "MaskPictures"]

PICTURE = "picture"
"""The style of masks from pictures; their colour is the picture's file name."""
TEXELS = 384
ACROSS, DOWN = (-1.06, 1.06), (-0.15, 1.12)
"""What the texture shows: from one side of the mask (-1) to the other (1), from its top edge (0) to its bottom (1)."""
LARGEST, SMALLEST = 1024, 48
"""Sides in pixels: larger pictures are reduced, smaller masks refused."""
PLAIN, APART = 16.0, 9.0
"""A ground is plain if nine tenths of the picture's border differ from its median by less than the first, in Lab; what
differs by more than the second is the mask."""
MOST_TURNED = 30.0
FRONT = (151, 9, 8, 107, 336, 50, 280)
"""Landmarks above a mask: forehead, between the eyes, cheekbones."""


@dataclass(frozen=True)
class MaskPicture:
    """A mask from a picture.

    Attributes:
        name: the picture's.
        texture: float32 T×T×3, linear albedo in [0, 1], over :data:`ACROSS` and :data:`DOWN`.
        alpha: float32 T×T in [0, 1], where the mask is.
        strap: 3 sRGB values in [0, 1].
    """

    name: str
    texture: np.ndarray
    alpha: np.ndarray
    strap: np.ndarray

    @classmethod
    def read(cls, path):
        """Read a picture.

        Raises:
            PhotoError: it can't be read, or shows no mask that can be cut out.
        """
        photo, name = open_photo(path), Path(path).name
        photo.thumbnail((LARGEST, LARGEST))
        rgb, alpha = split_alpha(photo)
        pixels = np.ascontiguousarray(rgb)
        if alpha is not None and np.mean(np.asarray(alpha) < 128) > 0.02:
            return cls._flat(name, pixels, np.asarray(alpha, np.float32) / 255)
        faces = detect(pixels)
        if faces:
            return cls._worn(name, pixels, faces[0])
        return cls._flat(name, pixels, _before_plain_ground(name, pixels))

    @classmethod
    def _flat(cls, name, pixels, alpha):
        """From a mask seen from the front; its straps are left out and drawn separately."""
        body, straps = _without_straps(alpha)
        rows, columns = np.nonzero(body > 0.5)
        if len(rows) == 0 or np.ptp(columns) < SMALLEST:
            raise PhotoError(f"{name} shows no mask, or one of less than {SMALLEST} pixels.")
        low, high = np.percentile(rows, [0.1, 99.9])
        left, right = np.percentile(columns, [0.1, 99.9])
        ratio = (high - low) / (right - left)
        if not 0.3 < ratio < 1.4:
            raise PhotoError(
                f"{name}: what it shows is {ratio:.1f} times as high as it is wide, unlike any mask. Turn it."
            )
        a, b = _texels()
        x = (left + right) / 2 + a * (right - left) / 2
        y = low + b * (high - low)
        linear = to_linear(pixels)
        strap = pixels[straps > 0.5]
        if len(strap) < 30:
            strap = _strap(linear[body > 0.5])[None] * 255
        texture, cover = _sampled(linear, x, y), _sampled(body, x, y)
        return cls(name, texture.clip(0.02, 0.95), cover, np.median(strap, 0) / 255)

    @classmethod
    def _worn(cls, name, pixels, face):
        """From a mask that somebody wears; without the light of its photo, as far as the face above it tells."""
        found = detect_mask(pixels, face)
        if not found.masked:
            raise PhotoError(f"{name} shows a face without a mask.")
        marks = landmarks(pixels, face, passes=2)
        if not marks.present or abs(marks.yaw) > MOST_TURNED:
            raise PhotoError(f"{name}: the masked face is not clear, or turned by more than {MOST_TURNED:.0f}°.")
        head = Head.of(marks)
        if head.width < 1.3 * SMALLEST:
            raise PhotoError(f"{name} shows a mask of less than {SMALLEST} pixels.")
        plan = draw_design("cloth", rng=np.random.default_rng(0))
        sheet = drape(head, plan.tension, bulge=plan.bulge)
        a, b = _texels()
        u = a * np.float32(plan.side)
        top, bottom = plan.edges(u)
        v = top + b * (bottom - top)
        xyz, normals = sheet.at(u, v), sheet.at(u, v, sheet.normals)
        linear = to_linear(pixels)
        texture, cover = (_sampled(plane, xyz[..., 0], xyz[..., 1]) for plane in (linear, found.region))
        seen = np.clip((-normals[..., 2] - 0.10) / 0.25, 0, 1)
        texture, cover = _both_sides(texture, cover, seen)
        if (cover[(np.abs(a) < 0.75) & (b > 0.3) & (b < 0.85)] > 0.5).mean() < 0.85:
            raise PhotoError(f"{name}: its mask does not cover nose, mouth and chin.")
        texture, cover = _whole(texture, cover)
        texture = _evenly_lit(texture / _white(linear, marks), cover).clip(0.02, 0.95)
        return cls(name, texture.astype(np.float32), cover, _strap(texture[cover > 0.5]))

    def design(self, worn, rng):
        """A :class:`~maskhub.masks.styles.Design`: where the mask lies, how it bulges, and its straps."""
        plan = draw_design("cloth", None, worn, rng)
        numbers = plan.numbers | {"beyond": -DOWN[0], "loose": 0.03, "bulge": max(plan.numbers["bulge"], 0.015)}
        if worn == "nose-and-mouth-out":
            numbers |= {"loose": 0.0, "bulge": 0.0}
        return replace(plan, numbers=numbers, strap=self.strap, waist=0.0)

    def paint(self, design, sheet, width):
        """:func:`maskhub.masks.fabric.paint` with this picture."""
        u, v = sheet.u, sheet.v
        top, bottom = design.edges(u)
        across, down = u / np.float32(design.side), (v - top) / np.maximum(bottom - top, np.float32(0.05))
        needed = 1.2 * width  # texels across, at which none is skipped
        side = next((TEXELS >> step for step in (3, 2, 1) if TEXELS >> step >= needed), TEXELS)
        texture, alpha = (
            cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA) for plane in (self.texture, self.alpha)
        )
        x = (across - ACROSS[0]) * np.float32((side - 1) / (ACROSS[1] - ACROSS[0]))
        y = (down - DOWN[0]) * np.float32((side - 1) / (DOWN[1] - DOWN[0]))
        cover = cv2.remap(alpha, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        relief = noise_at("smooth", u * WIDE, v * TALL, 170, 240, design.seed % TILE)
        dim = 1 - np.float32(0.30) * np.clip((v - np.float32(0.86)) * 4, 0, 1)
        colour = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return Painted(cover * sheet.cover, colour, relief * np.float32(0.006 * width), dim)


@dataclass(frozen=True)
class MaskPictures:
    """Several :class:`MaskPicture` s, one of which is drawn for each face."""

    pictures: tuple

    def pick(self, rng):
        """One of them, by a ``numpy.random.Generator``."""
        return self.pictures[int(rng.integers(len(self.pictures)))]


def _texels():
    """The places across and down of the texture's texels, T×T each."""
    across, down = (np.linspace(*ends, TEXELS, dtype=np.float32) for ends in (ACROSS, DOWN))
    return np.meshgrid(across, down)


def _sampled(plane, x, y):
    x, y = np.float32(x), np.float32(y)
    step = max(float(np.abs(np.diff(x, axis=1)).mean()), float(np.abs(np.diff(y, axis=0)).mean()))
    if step > 1:
        plane = cv2.GaussianBlur(plane, (0, 0), 0.5 * step)
    return cv2.remap(np.float32(plane), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def _before_plain_ground(name, pixels):
    """Where the object on a plain background is, float32 H×W in [0, 1]."""
    lab = cv2.cvtColor(cv2.GaussianBlur(pixels, (0, 0), 1).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    rim = max(2, min(pixels.shape[:2]) // 40)
    border = np.concatenate([part.reshape(-1, 3) for part in (lab[:rim], lab[-rim:], lab[:, :rim], lab[:, -rim:])])
    ground = np.median(border, 0)
    if np.quantile(np.linalg.norm(border - ground, axis=1), 0.9) > PLAIN:
        raise PhotoError(
            f"{name} is not a cut-out (with a transparent background), and shows neither a mask on a plain "
            "background nor a masked face."
        )
    away = np.linalg.norm(lab - ground, axis=2)
    inside = cv2.morphologyEx((away > APART).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside)
    if count < 2:
        raise PhotoError(f"{name} shows nothing on its plain background.")
    largest = (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    # small holes are prints in the ground's colour; a large one is the loop of a strap
    holes, marks, sizes, _ = cv2.connectedComponentsWithStats(1 - largest)
    small = [place for place in range(1, holes) if sizes[place, cv2.CC_STAT_AREA] < 0.02 * largest.sum()]
    largest[np.isin(marks, small)] = 1
    return cv2.GaussianBlur(largest.astype(np.float32), (0, 0), 0.8)


def _without_straps(alpha):
    """The body of a mask, and its straps: parts thinner than a ninth of its height. Both float32 H×W."""
    solid = (alpha > 0.5).astype(np.uint8)
    rows = np.flatnonzero(solid.any(1))
    thick = max(3, (np.ptp(rows) if len(rows) else 0) // 9) | 1
    body = cv2.morphologyEx(solid, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thick, thick)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(body)
    if count > 1:
        body = (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    near = cv2.dilate(body, np.ones((3, 3), np.uint8))
    straps = solid * (1 - cv2.dilate(body, np.ones((7, 7), np.uint8)))
    # a little less than the mask, so that no rim of the ground's colour is left
    inner = cv2.erode((alpha * near * 255).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32) / 255
    return cv2.GaussianBlur(inner, (0, 0), 0.8), cv2.erode(straps, np.ones((3, 3), np.uint8))


def _both_sides(texture, cover, seen):
    """What one side of a turned face hides is taken from the other."""
    own, other = seen + np.float32(1e-3), (1 - seen) * seen[:, ::-1]
    total = own + other
    texture = (texture * own[..., None] + texture[:, ::-1] * other[..., None]) / total[..., None]
    return texture, (cover * own + cover[:, ::-1] * other) / total


def _whole(texture, cover):
    """A worn mask with a smooth outline, a little within the detector's, which is not exact; without holes."""
    solid = (cv2.GaussianBlur(cover, (0, 0), 5) > 0.5).astype(np.uint8)
    ellipse = [cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)) for side in (81, 11)]
    padded = cv2.copyMakeBorder(solid, 90, 90, 90, 90, cv2.BORDER_REPLICATE)
    body, _ = _without_straps(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, ellipse[0])[90:-90, 90:-90].astype(np.float32))
    known = cv2.erode((cover > 0.7).astype(np.uint8), ellipse[1]).astype(np.float32)
    for sigma in (40, 10):  # colours from around, where the mask is not sure
        weight = cv2.GaussianBlur(known, (0, 0), sigma) + np.float32(1e-4)
        around = cv2.GaussianBlur(texture * known[..., None], (0, 0), sigma) / weight[..., None]
        near = (np.clip(weight * 8, 0, 1) * (1 - known))[..., None]
        texture = texture * (1 - near) + around * near
    return texture, cv2.GaussianBlur(cv2.erode(body, ellipse[1]), (0, 0), 1.5)


def _strap(albedo):
    """The colour of straps of which nothing is seen: of dark masks the mask's own, else nearly white."""
    colour = np.median(albedo, 0)
    return np.full(3, 0.9) if colour @ LUMA > 0.15 else colour ** (1 / 2.2)


def _white(linear, marks):
    """The linear colour of an evenly lit white surface, by the skin above the mask (as in ``estimate_lighting``)."""
    size = linear.shape[1] - 1, linear.shape[0] - 1
    at = np.clip(np.rint(marks.points[list(FRONT), :2]).astype(int), 0, size)
    skin = np.median(linear[at[:, 1], at[:, 0]], 0)
    level = max(float(skin @ LUMA), 1e-3)
    brightest = float(np.quantile(linear[::4, ::4] @ LUMA, 0.97))
    return np.float32(white_level(level, brightest) * cast_on_white(skin / level))


def _evenly_lit(texture, cover):
    """Without the light from one side: what is brighter on one side than mirrored on the other, in the large."""
    weight = cv2.GaussianBlur(cover, (0, 0), TEXELS / 12) + np.float32(1e-3)
    broad = cv2.GaussianBlur((texture @ LUMA).astype(np.float32) * cover, (0, 0), TEXELS / 12) / weight + 1e-3
    even = np.sqrt(np.clip(broad[:, ::-1] / broad, 0.25, 4))
    return texture * even[..., None]
