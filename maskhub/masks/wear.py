"""Put a mask on a face in a photo: the fabric is lit like the face, and as sharp and grainy as the photo.

    worn = wear(open_photo("portrait.jpg"), style="surgical", colour="blue", seed=7)
    worn.image.save("masked.jpg")          # the photo with the mask
    worn.region                            # H×W, 1 where the mask covers the photo

Earlier simulated masks, for recognition and paired training: Anwar, Raychowdhury: "Masked Face Recognition for Secure
Authentication" (MaskTheFace), 2020; Cabani and others: "MaskedFace-Net", 2020. Here the mask is a 3-D sheet, so it
turns with the head, and its lighting is fitted to the skin (:mod:`maskhub.masks.lighting`).
"""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from maskhub.arguments import check_pixels, check_whole
from maskhub.errors import NoFaceError, PhotoError, first_line
from maskhub.faces.align import shrunk
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import PRESENT, Landmarks, reliable, surest_landmarks
from maskhub.faces.photo import to_rgb
from maskhub.masks.blend import blend, lit, three, toned
from maskhub.masks.coverings import COVERED, COVERINGS, RANDOM_COVERING, put_before
from maskhub.masks.fabric import paint
from maskhub.masks.fit import Head, drape, unwrap
from maskhub.masks.lighting import estimate_lighting, to_linear
from maskhub.masks.pictures import PICTURE, MaskPictures
from maskhub.masks.straps import draw_straps, skin_like
from maskhub.masks.styles import WORN
from maskhub.masks.styles import design as draw_design

__all__ = ["Worn", "wear"]

SEARCH_SIDE = 128
"""Photos are first searched for their largest face averaged down to about this size; enough for a face that fills the
picture. With the margin below, a square photo is 160 pixels then, of which the detector needs a multiple of 32."""
SEARCH_MARGIN = 0.125
UNSURE_YAW = 30, 50
"""Degrees of yaw between which the place of the nose goes from certain to uncertain."""
MARGIN = 0.07
"""How far shadow and straps may extend beyond the fabric, in face widths."""


class Worn(NamedTuple):
    """A photo with a mask put on.

    Attributes:
        image: the photo in the type it was given (``PIL.Image`` or uint8 RGB array), masked.
        region: float32 H×W in [0, 1]: 1 where mask or strap covers the photo, soft at the edges, and low (the shadow's
            depth) where the mask only shades the skin. Pixels where it is 0 are unchanged.
        style, colour, worn: names of the mask and the way it is worn (see :data:`maskhub.masks.styles.WORN`), or
            ``"covered"`` for another covering. Of a picture: ``picture``, and its file name.
        landmarks: the :class:`~maskhub.faces.landmarks.Landmarks` that were used: presence, yaw, pitch, roll.
        face: the :class:`~maskhub.faces.face.Face`, or None if only landmarks were given.
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
        photo: ``PIL.Image`` (any mode; the result is RGB) or uint8 RGB array, H×W×3. It is taken as its pixels lie:
            the photos of phones need :func:`~maskhub.faces.photo.open_photo`, which turns them upright.
        face: the :class:`~maskhub.faces.face.Face`; by default the photo's largest.
        style: a mask: a name in :data:`maskhub.masks.STYLES`, or ``random`` for one of these. Something else
            in front of the face: a name in :data:`maskhub.masks.COVERINGS`, or ``random-covering`` for one of these. Or
            one of some :class:`~maskhub.masks.pictures.MaskPictures`.
        seed: whole number from 0; the same seed and photo give the same bytes.
        colour: a name of a colour of that style (:data:`maskhub.masks.COLOURS`), three sRGB numbers (0 to 255), or
            None: random.
        worn: a name in :data:`maskhub.masks.WORN`, or ``random`` for one of the three incorrect ways; of masks.
        landmarks: of that face, if already known; used whatever their presence.

    Raises:
        NoFaceError: no face was found, or its landmarks are unreliable. PhotoError: an array that isn't uint8 RGB.
        ConfigError: an unknown style, colour or way of wearing, or a bad seed.
    """
    check_whole("the seed", seed, 0)
    image = _as_array(photo)
    if landmarks is None:
        if face is None:
            face = _largest(image)
        landmarks = surest_landmarks(image, face)
        if not reliable(landmarks, face):
            raise NoFaceError(
                f"the face's landmarks are unreliable (presence {landmarks.presence:.2f}, minimum {PRESENT}): "
                "the face is covered, turned too far or too small. Use another photo, or give landmarks."
            )
    rng = np.random.default_rng(seed)
    if isinstance(style, MaskPictures):
        picture = style.pick(rng)
        design = picture.design(worn, rng)
        masked, region = _put_on(image, landmarks, design, rng, picture.paint)
        labels = PICTURE, picture.name, design.worn
    elif style in COVERINGS or style == RANDOM_COVERING:
        masked, region, *labels = *put_before(image, landmarks, style, colour, rng), COVERED
    else:
        design = draw_design(style, colour, worn, rng)
        masked, region = _put_on(image, landmarks, design, rng)
        labels = design.style, design.colour, design.worn
    if isinstance(photo, Image.Image):
        masked = Image.fromarray(masked)
    return Worn(masked, region, *labels, landmarks, face)


def _as_array(photo):
    if isinstance(photo, Image.Image):
        try:
            return np.asarray(photo if photo.mode == "RGB" else to_rgb(photo).convert("RGB"))
        except (ValueError, OSError) as error:  # NaN in a float picture; a lazily loaded file that is cut short
            raise PhotoError(f"the photo can't be read: {first_line(error)}.") from error
    check_pixels(photo)
    return photo


def _largest(image):
    factor = max(1, min(round(max(image.shape[:2]) / SEARCH_SIDE), *image.shape[:2]))
    faces = [face.moved(factor) for face in detect(shrunk(image, factor), margin=SEARCH_MARGIN, closer=False)]
    if not faces or max(faces[0].box[2:]) < 0.15 * max(image.shape[:2]):
        faces = detect(image, closer=False) or faces
    if not faces:
        raise NoFaceError("no face was found in the photo. Use one in which a face is larger and less covered.")
    return faces[0]


def _put_on(image, landmarks, design, rng, paint=paint):
    head = Head.of(landmarks)
    if (share := _unsure_nose(landmarks)) and design.worn == WORN[0]:
        design = design.with_room(share)
    sheet = drape(head, design.tension, bulge=design.bulge)
    reach = design.side + max(design.waist, 0) + 0.025
    beyond = design.numbers.get("beyond", 0.03)
    low, high = float(design.top.min()) - beyond, float(design.bottom.max()) + beyond
    unwrapped = unwrap(sheet, (-reach, reach), (low, high), (image.shape[1], image.shape[0]))
    if unwrapped is None:
        return image.copy(), np.zeros(image.shape[:2], np.float32)
    lighting = estimate_lighting(image, landmarks, head)
    painted = paint(design, unwrapped, head.width)

    # a rectangle with room for straps and shadow
    x0, y0, x1, y1 = _room(design, head, unwrapped, image.shape)
    size = x1 - x0, y1 - y0
    top, left = unwrapped.top - y0, unwrapped.left - x0
    height, width = unwrapped.u.shape
    part = image[y0:y1, x0:x1]

    layer, cover = np.zeros((size[1], size[0], 3), np.float32), np.zeros((size[1], size[0]), np.float32)
    colours = lit(painted, unwrapped.normals[painted.box], lighting)
    np.multiply(colours, three(painted.alpha), out=layer[top : top + height, left : left + width][painted.box])
    cover[top : top + height, left : left + width][painted.box] = painted.alpha
    skin = skin_like(part, lighting.skin)
    strap = draw_straps(design, head, sheet, skin, x0, y0)
    if strap is not None:
        strap_cover, normal = strap
        shade = lighting.on(*(np.full((1, 1), value, np.float32) for value in normal))
        colour = toned(to_linear(design.strap * 255), lighting, shade)[0, 0]
        beside = np.flatnonzero(strap_cover > cover)
        layer.reshape(-1, 3)[beside] += (strap_cover.ravel()[beside] - cover.ravel()[beside])[:, None] * colour
        cover = np.maximum(cover, strap_cover, out=cover)
    return blend(image, (x0, y0), layer, cover, lighting, head, rng, skin=skin)


def _unsure_nose(landmarks):
    """How uncertain the place of the nose is, 0 to 1. In profiles that the landmark network doesn't confirm, the nose
    is often longer or higher than its landmarks, and a mask that follows these would leave its tip free."""
    low, high = UNSURE_YAW
    return 0.0 if landmarks.present else min(max((abs(landmarks.yaw) - low) / (high - low), 0.0), 1.0)


def _room(design, head, unwrapped, shape):
    margin = int(np.ceil(MARGIN * head.width)) + 3
    height = -0.24 if design.style == "cup" else -0.12
    ears = head.to_photo(np.array([[-0.54, height, 0.1], [0.54, height, 0.1], [-0.54, 0.2, 0.1], [0.54, 0.2, 0.1]]))
    x0 = min(unwrapped.left - margin, int(ears[:, 0].min()) - 2)
    y0 = min(unwrapped.top - margin, int(ears[:, 1].min()) - 2)
    x1 = max(unwrapped.left + unwrapped.u.shape[1] + margin, int(ears[:, 0].max()) + 3)
    y1 = max(unwrapped.top + unwrapped.u.shape[0] + margin, int(ears[:, 1].max()) + 3)
    return max(x0, 0), max(y0, 0), min(x1, shape[1]), min(y1, shape[0])
