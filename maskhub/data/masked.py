"""Put rule-based masks on the faces of a photo.

    masked = mask_faces(pixels, Wearing(style="surgical", wrongly_worn=0.2, seed=1), name="photo.jpg")

The mask of a face depends on a hash of the seed, the photo's name and the face's number, not on the order, so results
are the same for any number of workers and after interruptions.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import tyro
from PIL import Image
from pydantic import Field, model_validator

from maskhub.data.mask_images import mask_images_digest, mask_pictures
from maskhub.data.scores import SCORES, score
from maskhub.errors import ConfigError, NoFaceError
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks, reliable, surest_landmarks
from maskhub.masks.coverings import COVERING_COLOURS, COVERINGS, RANDOM_COVERING
from maskhub.masks.detector import MASKED, mask_presences
from maskhub.masks.styles import COLOURS, STYLES, WORN
from maskhub.masks.wear import wear
from maskhub.options import Count, OptionSet, Share

__all__ = [
    "MaskOptions", "Masked", "Wearing", "face_facts", "faces_of", "low_quality", "mask_box", "mask_faces",
    "region_image", "seed_of", "wear_near",
]  # fmt: skip

REACH, ARM = 1.6, 3.2
"""Part of the photo around a face for the mask, or for a covering with an arm: this many times the face's box to each
side of its centre."""


class MaskOptions(OptionSet):
    """Style of masks: the options shared by ``maskhub mask``, ``maskhub dataset build`` and training."""

    style: Literal[*STYLES, "random", *COVERINGS, RANDOM_COVERING] = "random"
    """Mask style: surgical, kn95, cup, cloth, patterned, neoprene, or random for one of these. Or something else
    in front of the face: sunglasses, scarf, hand, microphone, or random-covering for one of these."""
    colour: str = "random"
    """A colour of that style, such as blue, black or white, or random."""
    wrongly_worn: Share = 0.0
    """Probability that a mask is worn wrongly (nose, chin, or nose and mouth out)."""
    mask_images: str | None = None
    """Folder with your own pictures of masks, used instead of drawn ones: cut-outs (with a transparent background),
    photos of a mask on a plain background, or photos of masked faces, whose masks are cut out."""

    @model_validator(mode="after")
    def _check_colour(self):
        known = (COLOURS | COVERING_COLOURS).get(self.style, ())
        if self.colour != "random" and self.colour not in known:
            kind = f"{self.style} masks come" if self.style in COLOURS else f"{self.style} comes"
            hint = f"{kind} in {', '.join(known)}" if known else "a colour needs a style that has it"
            raise ConfigError(f"there is no colour {self.colour!r} here: {hint}.")
        if self.mask_images and (self.style, self.colour) != ("random", "random"):
            raise ConfigError("--mask-images are used instead of a --style and a --colour: leave these out.")
        if self.wrongly_worn and not self.is_mask:
            raise ConfigError(f"--wrongly-worn is for masks: leave it out with --style {self.style}.")
        return self

    @property
    def is_mask(self):
        """Whether masks are put on, not other coverings."""
        return self.style not in (*COVERINGS, RANDOM_COVERING)

    @property
    def chosen_colour(self):
        """The ``colour`` of :func:`maskhub.masks.wear`."""
        return None if self.colour == "random" else self.colour


class Wearing(MaskOptions):
    """Masks, and how and by how many faces they are worn."""

    portion: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the faces in a photo that get a mask, at least one."""
    seed: Count = 0
    """Seed of the masks, independent of the number of workers."""
    own_boxes: str = "auto"
    """Mask only the faces that the data set itself marks: the column with their boxes or landmarks, or the path of a
    COCO file, or of VOC or YOLO files. auto: with --boxes, the annotation files in INPUT, if it has any. none: mask
    all faces. Boxes are written in the order of the data set's own."""
    worn: Annotated[Literal[*WORN] | None, tyro.conf.Suppress] = None
    """How every mask is worn; None: by wrongly_worn."""
    bare_only: Annotated[bool, tyro.conf.Suppress] = False
    """Skip faces that already wear a mask according to the mask detector. ``maskhub mask`` sets this."""
    holdout: Annotated[bool, tyro.conf.Suppress] = False
    """Leave out the held-out tenth of ``mask_images``. Training with ``--holdout`` sets this."""

    scores: Literal["all", "fast", "none"] = "all"
    """How each masked face is scored: fast leaves out the mask detector's agreement with the mask."""
    min_quality: Share = 0.0
    """Leave out masks of a lower quality, 0 to 1: that of the worst score."""

    @property
    def look(self):
        """The ``style`` of :func:`maskhub.masks.wear`. SourceError if ``mask_images`` has none that can be used."""
        return mask_pictures(self.mask_images, self.holdout) if self.mask_images else self.style

    def identity(self):
        """The options as results depend on them: of ``mask_images`` the contents, not the place. SourceError as for
        :attr:`look`. Without the data set's own boxes."""
        options = self.model_dump(exclude={"mask_images", "own_boxes", "holdout"})
        if self.mask_images:
            _ = self.look  # reads the pictures once, before there are workers
            options["mask_images"] = mask_images_digest(self.mask_images)
        return options

    @model_validator(mode="after")
    def _check_scores(self):
        if self.min_quality and self.scores == "none":
            raise ConfigError("--min-quality needs scores: leave out --scores none.")
        return self

    def score(self, before, after, region, face, mark=None):
        """The chosen scores, as :func:`maskhub.data.scores.score` returns them. Only masks are compared with what the
        mask detector finds."""
        if self.scores == "none":
            return {}
        agreement = self.scores == "all" and self.is_mask
        return score(before, after, region, face, mark and mark.presence, agreement)

    def accepts(self, scores):
        """Whether a face with these scores keeps its mask."""
        return scores["quality"] is None or scores["quality"] >= self.min_quality

    def order(self, name, count):
        """The order in which the ``count`` faces of a photo are tried, as their numbers, and how many get a mask."""
        order = sorted(range(count), key=lambda number: seed_of(self.seed, name, number, "portion"))
        return order, max(1, round(self.portion * count))

    def way(self, rng):
        """Draw how a mask is worn, a name of :data:`maskhub.masks.WORN`, from a ``numpy.random.Generator``."""
        wrong = rng.random() < self.wrongly_worn
        return self.worn or (WORN[rng.integers(1, len(WORN))] if wrong else WORN[0])

    def put_on(self, image, marks, seed, worn):
        """:func:`maskhub.masks.wear` in this style and colour, with given landmarks."""
        return wear(image, style=self.look, seed=seed, colour=self.chosen_colour, worn=worn, landmarks=marks)


@dataclass(frozen=True)
class Masked:
    """A photo with masks put on.

    Attributes:
        image: uint8 RGB, H×W×3.
        region: float32 H×W in [0, 1]; where it is 0, the photo is unchanged.
        faces: a dict for each face, largest first: ``box`` (left, top, width, height), ``score``, ``worn`` (one of
            :data:`maskhub.masks.WORN`, ``"covered"`` for another covering, ``"unmasked"``, or ``"already masked"`` for
            a skipped face),
            ``style``, ``colour`` (empty for a face without a new mask), ``mask_box`` (or None), and ``pose`` (yaw,
            pitch, roll in degrees) and ``presence`` if its landmarks were detected, else None; and ``agreement``,
            ``sharpness``, ``light`` and ``quality`` of a new mask (:func:`maskhub.data.scores.score`), else None.
            Pixels and degrees are rounded to hundredths.
        landmarks: the :class:`~maskhub.faces.landmarks.Landmarks` of each face, or None, in the same order.
        found: the :class:`~maskhub.faces.face.Face` of each.
    """

    image: np.ndarray
    region: np.ndarray
    faces: list
    landmarks: list
    found: list


def seed_of(*what):
    """A hash of ``what`` as an integer of 63 bits."""
    text = "\0".join(map(str, what))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def faces_of(pixels, own=None):
    """The faces of a photo, uint8 RGB H×W×3, to put masks on: ``own`` if given, as in :func:`mask_faces`, otherwise all
    detected ones. NoFaceError if none is detected."""
    found = detect(pixels) if own is None else own
    if not found and own is None:
        raise NoFaceError("no face was found: a face must be at least about 30 pixels wide.")
    return found


def mask_faces(pixels, wearing, name, largest=False, own=None):
    """Put masks on the faces of a photo, uint8 RGB H×W×3, as :class:`Masked`.

    The masks depend on ``wearing`` and on ``name``, the photo's; ``largest`` only masks the largest face. NoFaceError
    if no face was found, or none with reliable landmarks, or all wear a mask already; but not with ``own``: a
    :class:`~maskhub.faces.face.Face` or None for each box of the data set, which are masked instead of the detected
    faces, in their order.
    """
    found = faces_of(pixels, own)
    marks, chosen, worn_already = _chosen(pixels, found, wearing, name, largest)
    if not chosen and worn_already and own is None:
        raise NoFaceError("all faces that are clear enough already wear a mask; --force puts another one on.")
    if not chosen and own is None:
        best = max(mark.presence for mark in marks if mark)
        raise NoFaceError(f"a face was found, but its landmarks are too uncertain for a mask (presence {best:.2f}).")
    image, region = pixels.copy(), np.zeros(pixels.shape[:2], np.float32)
    faces = [face_facts(face, mark) for face, mark in zip(found, marks, strict=True)]
    for number in worn_already:
        faces[number]["worn"] = "already masked"
    # the larger face is usually nearer, and may hide part of another one
    for number in sorted(chosen, reverse=True) if own is None else sorted(chosen, key=lambda n: found[n].box[2]):
        rng = np.random.default_rng(seed_of(wearing.seed, name, number, "worn"))
        worn = wearing.way(rng)
        seed = seed_of(wearing.seed, name, number, "mask")
        made, cover, (x0, y0) = wear_near(image, found[number], marks[number], wearing, seed, worn)
        part = np.s_[y0 : y0 + cover.shape[0], x0 : x0 + cover.shape[1]]
        faces[number] |= wearing.score(
            image[part], made.image, cover, found[number].moved(shift=(-x0, -y0)), marks[number]
        )
        if wearing.accepts(faces[number]):
            image[part], region[part] = made.image, np.maximum(region[part], cover)
            box = mask_box(cover, x0, y0)
            faces[number] |= {"worn": made.worn, "style": made.style, "colour": made.colour, "mask_box": box}
    if own is None and not any(face["style"] for face in faces):
        raise NoFaceError(low_quality(faces, wearing))
    return Masked(image, region, faces, marks, found)


def _chosen(pixels, found, wearing, name, largest):
    """The landmarks of the faces (None where not needed), and the numbers of those that get a mask or wear one."""
    order, wanted = (range(len(found)), 1) if largest else wearing.order(name, len(found))
    marks, chosen, worn_already = [None] * len(found), [], []
    for number in (number for number in order if found[number]):
        marks[number] = landmarks(pixels, found[number])
        if wearing.bare_only and mask_presences([(pixels, found[number])])[0] >= MASKED:
            worn_already.append(number)
            continue
        marks[number] = surest_landmarks(pixels, found[number], marks[number])
        if reliable(marks[number], found[number]):
            chosen.append(number)
        if len(chosen) == wanted:
            break
    return marks, chosen, worn_already


def low_quality(faces, wearing):
    """Why no face of a photo (:attr:`Masked.faces`) is masked although some were tried."""
    best = max((face for face in faces if face["quality"] is not None), key=lambda face: face["quality"])
    measures = ", ".join(f"{key} {best[key]}" for key in SCORES if best[key] is not None)
    return f"its mask is not good enough for --min-quality {wearing.min_quality:g} ({measures})."


def wear_near(image, face, mark, wearing, seed, worn):
    """Put a mask, with the ``seed``, on one face of a uint8 RGB H×W×3 image within the part around it, so that time
    does not grow with the photo's size; ``worn`` is a name in :data:`maskhub.masks.WORN`. Returns the
    :class:`~maskhub.masks.wear.Worn` of that part, its region, and the part's left and top in the photo."""
    left, top, width, height = face.box
    reach = (REACH if wearing.is_mask else ARM) * max(width, height)
    x0, y0 = max(int(left + width / 2 - reach), 0), max(int(top + height / 2 - reach), 0)
    part = image[y0 : int(top + height / 2 + reach) + 1, x0 : int(left + width / 2 + reach) + 1]
    shifted = replace(mark, points=mark.points - np.float32([x0, y0, 0]))
    made = wearing.put_on(np.ascontiguousarray(part), shifted, seed, worn)
    return made, made.region, (x0, y0)


def mask_box(cover, x0=0, y0=0):
    """Left, top, width and height of a mask with this region (float32 H×W), whose corner is at x0, y0; or None."""
    ys, xs = np.nonzero(cover > 0.5)  # a shadow is not a mask: only half cover and more
    return [int(xs.min()) + x0, int(ys.min()) + y0, int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1] if len(xs) else None


def face_facts(face, mark=None):
    """The dict in :class:`Masked` of a face without a mask; ``worn`` is ``"not found"`` for None, a faceless box."""
    return {
        "box": [round(float(value), 2) for value in face.box] if face else None,
        "score": round(face.score, 4) if face else None,
        "worn": "unmasked" if face else "not found",
        "style": "",
        "colour": "",
        "mask_box": None,
        "pose": [round(angle, 2) for angle in (mark.yaw, mark.pitch, mark.roll)] if mark else None,
        "presence": round(mark.presence, 4) if mark else None,
        "agreement": None,
        "sharpness": None,
        "light": None,
        "quality": None,
    }


def region_image(region):
    """A region as 8-bit ``PIL.Image``: rounded up, so that 0 still means an unchanged pixel."""
    return Image.fromarray(np.ceil(region * 255).astype(np.uint8))
