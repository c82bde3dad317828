"""Put a mask on a face in a photo: the fabric is lit like the face, and as sharp and grainy as the photo.

    worn = wear(Image.open("portrait.jpg"), style="surgical", colour="blue", seed=7)
    worn.image.save("masked.jpg")          # the photo with the mask
    worn.region                            # H×W, 1 where the mask covers the photo

Earlier simulated masks, for recognition and paired training: Anwar, Raychowdhury: "Masked Face Recognition for Secure
Authentication" (MaskTheFace), 2020; Cabani and others: "MaskedFace-Net", 2020. Here the mask is a 3-D sheet, so it
turns with the head, and its lighting is fitted to the skin (:mod:`maskhub.masks.lighting`).
"""

import functools
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from maskhub.errors import NoFaceError, PhotoError
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import PRESENT, Landmarks
from maskhub.faces.landmarks import landmarks as find_landmarks
from maskhub.masks.fabric import paint
from maskhub.masks.fit import Head, drape, unwrap
from maskhub.masks.lighting import LUMA, estimate_lighting, filled, to_linear, to_srgb
from maskhub.masks.straps import draw_straps, skin_like
from maskhub.masks.styles import design as draw_design

__all__ = ["Worn", "grain_tile", "reliable", "wear"]

SEARCH_SIDE = 192
"""Photos are first searched for their largest face at this size; enough for a face that fills the picture."""
SURE_FACE, NEAR = 0.85, 0.066
"""Landmarks of low presence are still used if the detector's score reaches the first number and its five points lie
within the second, in face sizes. Tuned on 600 CelebA photos, whose six profiles all pass; one of 400 masked photos
does."""
SHADOW = 0.34
"""Depth of the contact shadow where the fabric touches the skin."""
MARGIN = 0.07
"""How far shadow and straps may extend beyond the fabric, in face widths."""


class Worn(NamedTuple):
    """A photo with a mask put on.

    Attributes:
        image: the photo in the type it was given (``PIL.Image`` or uint8 RGB array), masked.
        region: float32 H×W in [0, 1]: 1 where mask or strap covers the photo, soft at the edges, and low (the shadow's
            depth) where the mask only shades the skin. Pixels where it is 0 are unchanged.
        style, colour, worn: names of the mask and the way it is worn (see :data:`maskhub.masks.styles.WORN`).
        landmarks: the :class:`~maskhub.faces.landmarks.Landmarks` that were used: presence, yaw, pitch, roll.
        face: the :class:`~maskhub.faces.detect.Face`, or None if only landmarks were given.
    """

    image: Any
    region: np.ndarray
    style: str
    colour: str
    worn: str
    landmarks: Landmarks
    face: Any = None


def wear(photo, face=None, style="random", seed=0, *, colour=None, worn="correctly", landmarks=None):
    """Put a mask on one face, as :class:`Worn`.

    Args:
        photo: ``PIL.Image`` (any mode; the result is RGB) or uint8 RGB array, H×W×3.
        face: the :class:`~maskhub.faces.detect.Face`; by default the photo's largest.
        style: a name in :data:`maskhub.masks.STYLES`, or ``random``.
        seed: whole number from 0; the same seed and photo give the same bytes.
        colour: a name in the style's :data:`maskhub.masks.COLOURS`, three sRGB numbers (0 to 255), or None: random.
        worn: a name in :data:`maskhub.masks.WORN`, or ``random`` for one of the three incorrect ways.
        landmarks: of that face, if already known; used whatever their presence.

    Raises:
        NoFaceError: no face was found, or its landmarks are unreliable. PhotoError: an array that isn't uint8 RGB.
        ConfigError: an unknown style, colour or way of wearing.
    """
    image = _as_array(photo)
    if landmarks is None:
        if face is None:
            face = _largest(image)
        landmarks = find_landmarks(image, face)
        if not reliable(landmarks, face):
            raise NoFaceError(
                f"the face's landmarks are unreliable (presence {landmarks.presence:.2f}, minimum {PRESENT}): "
                "the face is covered, turned too far or too small. Use another photo, or give landmarks."
            )
    rng = np.random.default_rng(seed)
    design = draw_design(style, colour, worn, rng)
    masked, region = _put_on(image, landmarks, design, rng)
    if isinstance(photo, Image.Image):
        masked = Image.fromarray(masked)
    return Worn(masked, region, design.style, design.colour, design.worn, landmarks, face)


def _as_array(photo):
    if isinstance(photo, Image.Image):
        return np.asarray(photo if photo.mode == "RGB" else photo.convert("RGB"))
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise PhotoError("the photo must be a PIL picture or a uint8 array of shape H×W×3 (RGB).")
    return photo


def _largest(image):
    faces = detect(image, max_side=SEARCH_SIDE)
    if not faces or max(faces[0].box[2:]) < 0.15 * max(image.shape[:2]):
        faces = detect(image) or faces
    if not faces:
        raise NoFaceError("no face was found in the photo. Use one in which a face is larger and less covered.")
    return faces[0]


def reliable(landmarks, face):
    """Whether a mask can be drawn by these landmarks of a detected face.

    They are present, or a confident detector places eyes, nose and mouth where they do: strong profiles have a low
    presence although their landmarks fit; on covered faces the two disagree.
    """
    if landmarks.present:
        return True
    points = landmarks.points[:, :2]
    five = np.stack([(points[33] + points[133]) / 2, (points[263] + points[362]) / 2, *points[[1, 61, 291]]])
    off = float(np.linalg.norm(five - face.points, axis=1).mean()) / max(face.box[2:])
    return face.score >= SURE_FACE and off <= NEAR


def _put_on(image, landmarks, design, rng):
    region = np.zeros(image.shape[:2], np.float32)
    head = Head.of(landmarks)
    sheet = drape(head, design.tension, bulge=design.bulge)
    reach = design.side + max(design.waist, 0) + 0.025
    low, high = float(design.top.min()) - 0.03, float(design.bottom.max()) + 0.03
    unwrapped = unwrap(sheet, (-reach, reach), (low, high), (image.shape[1], image.shape[0]))
    if unwrapped is None:
        return image.copy(), region
    lighting = estimate_lighting(image, landmarks, head)
    painted = paint(design, unwrapped, head.width)

    # a rectangle with room for straps and shadow
    x0, y0, x1, y1 = _room(design, head, unwrapped, image.shape)
    size = x1 - x0, y1 - y0
    inner = (
        slice(unwrapped.top - y0, unwrapped.top - y0 + unwrapped.u.shape[0]),
        slice(unwrapped.left - x0, unwrapped.left - x0 + unwrapped.u.shape[1]),
    )
    part = image[y0:y1, x0:x1]

    fabric = _lit(painted, unwrapped.normals, lighting)
    alpha = np.zeros((size[1], size[0]), np.float32)
    alpha[inner] = painted.alpha
    skin = skin_like(part, lighting.skin)
    strap = draw_straps(design, head, sheet, skin, x0, y0)
    if strap is None:
        layer = np.zeros((size[1], size[0], 3), np.float32)
        layer[inner] = fabric
        whole = alpha
    else:
        strap_cover, normal = strap
        shade = lighting.on(*(np.full((1, 1), value, np.float32) for value in normal))
        strap_colour = _toned(to_linear(design.strap[None, None] * 255), lighting, shade)
        layer = filled(alpha.shape, strap_colour[0, 0])
        layer[inner] += (fabric - layer[inner]) * _three(painted.alpha)
        whole = np.maximum(alpha, strap_cover)

    # blur the fabric and its cover like the photo; from here on the colours are weighted by the cover
    sigma = max(lighting.blur, 0.5)
    window = 2 * int(np.ceil(2.2 * sigma)) + 1
    layer = cv2.GaussianBlur(layer * _three(whole), (window, window), sigma)
    whole = cv2.GaussianBlur(whole, (window, window), sigma)
    shadow = _shadow(whole, head, lighting) * skin
    mixed = part * _three((1 - shadow) * (1 - whole)) + layer
    mixed += _three(_grain(size, lighting.grain, rng) * whole)
    cover = np.maximum(whole, shadow)
    cover[cover < 1 / 255] = 0
    out = image.copy()
    changed = cv2.add(mixed, 0.0, dtype=cv2.CV_8UC3)  # rounds, and clips to 0 to 255
    out[y0:y1, x0:x1] = cv2.copyTo(changed, (cover > 0).view(np.uint8), part.copy())
    region[y0:y1, x0:x1] = np.minimum(cover, 1)
    return out, region


def _three(plane):
    """A plane as three equal channels: numpy broadcasts slowly over a last axis of 3."""
    return cv2.merge((plane, plane, plane))


def _room(design, head, unwrapped, shape):
    margin = int(np.ceil(MARGIN * head.width)) + 3
    height = -0.24 if design.style == "cup" else -0.12
    ears = head.to_photo(np.array([[-0.54, height, 0.1], [0.54, height, 0.1], [-0.54, 0.2, 0.1], [0.54, 0.2, 0.1]]))
    x0 = min(unwrapped.left - margin, int(ears[:, 0].min()) - 2)
    y0 = min(unwrapped.top - margin, int(ears[:, 1].min()) - 2)
    x1 = max(unwrapped.left + unwrapped.u.shape[1] + margin, int(ears[:, 0].max()) + 3)
    y1 = max(unwrapped.top + unwrapped.u.shape[0] + margin, int(ears[:, 1].max()) + 3)
    return max(x0, 0), max(y0, 0), min(x1, shape[1]), min(y1, shape[0])


def _lit(painted, normals, lighting):
    """The fabric's colours in the photo, float32 0 to 255."""
    slope_x = cv2.Sobel(painted.relief, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(painted.relief, cv2.CV_32F, 0, 1, scale=1 / 8)
    lean = np.float32(1.2) * np.clip(-normals[..., 2], 0, 1)
    shade = lighting.on(
        normals[..., 0] - np.clip(slope_x, -1, 1) * lean,
        normals[..., 1] - np.clip(slope_y, -1, 1) * lean,
        normals[..., 2],
    )
    return _toned(painted.colour, lighting, shade * painted.dim)


def _toned(colour, lighting, shade):
    linear = colour
    if lighting.saturation < 1:
        grey = linear @ LUMA
        linear = _three(grey) + (linear - _three(grey)) * np.float32(lighting.saturation)
    lit = linear * cv2.merge([shade * value for value in lighting.exposure])
    return to_srgb(lit) * np.float32(255)


def _shadow(whole, head, lighting):
    """How much the mask darkens the skin around it: close along its rim, more on the side away from the light."""
    sigma = max(0.6, 0.016 * head.width)
    size = 2 * int(np.ceil(2 * sigma)) + 1
    direction = -lighting.shade[1:3]
    reach = 0.010 * head.width
    shift = direction / max(float(np.hypot(*direction)), 0.15) * reach
    moved = cv2.warpAffine(whole, np.float64([[1, 0, shift[0]], [0, 1, shift[1]]]), (whole.shape[1], whole.shape[0]))
    soft = cv2.GaussianBlur(moved, (size, size), sigma)
    return np.float32(SHADOW) * soft * (1 - whole)


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
