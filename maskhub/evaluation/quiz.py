"""A round of the survey: 22 pictures of faces, half real and half generated, shuffled by a seed.

Nothing but the translation itself may give a picture away. If a source has masked and unmasked faces, there are real
and generated pictures of both kinds. If it has only one kind, the generated pictures are round trips. All pictures go
through the same crop and file format.
"""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from maskhub.direction import Direction
from maskhub.errors import ConfigError, NoFaceError, SourceError
from maskhub.evaluation.sets import picture_seed
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.photo import split_alpha
from maskhub.masks.detector import detect_masks_on_crops

__all__ = ["PICTURES", "Question", "Quiz", "draw_quiz"]

PICTURES = 22
SIDE = 256
"""Side of every picture in pixels."""
LEAST_FACE = 48
"""Minimum width of a face in pixels; smaller ones would be recognised by their blur."""


@dataclass(frozen=True)
class Question:
    """One picture, 256×256: whether it is a ``real`` photo, unchanged but for cropping and scaling; for a generated
    one, its ``direction``, ``"mask"``, ``"unmask"`` or ``"cycle"``, else empty; whether it shows a mask, or should
    (``masked``); and a hash of its pixels (``key``)."""

    picture: Image.Image
    before: Image.Image
    real: bool
    direction: str
    masked: bool
    key: str


@dataclass(frozen=True)
class Quiz:
    """A round: :class:`Question` s in the order in which they are asked, and the number of different ``photos`` they
    come from; if these are fewer, some are used again, mirrored, rotated and with changed brightness. ``kinds`` is
    ``("masked", "unmasked")``, or the only kind that the source has."""

    questions: list
    photos: int
    kinds: tuple


def draw_quiz(photos, pipe, seed, count=PICTURES):
    """Draw a round of ``count`` pictures, an even number, with a
    :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`. The ``photos`` are ``PIL.Image`` s in an order that depends
    on the seed; only as many as needed are read. The ``seed`` also chooses the generated pictures and the order.
    SourceError if no photo shows a face that is large enough, ConfigError for a bad ``count``, or if the pipeline lacks
    a generator."""
    if count < 4 or count % 2:
        raise ConfigError(f"a round can't have {count} pictures: give an even number of at least 4.")
    rng = np.random.default_rng(seed)
    pools = _pools(photos, count)
    half = count // 2
    both = all(pipe.can(direction) for direction in Direction)
    if min(map(len, pools.values())) >= max(2, half // 2) and both:
        kinds = ("masked", "unmasked")
        # the same number of real and generated pictures of each kind, so that the kind gives nothing away
        plan = [("masked", "", half - half // 2), ("unmasked", "", half // 2)]
        plan += [("unmasked", "mask", half - half // 2), ("masked", "unmask", half // 2)]
    elif both:
        kinds = (max(pools, key=lambda kind: len(pools[kind])),)
        plan = [(kinds[0], "", half), (kinds[0], "cycle", half)]
    else:
        raise ConfigError("the quiz needs a pipeline that puts masks on and takes them off.")
    questions, used = [], set()
    for kind, supply in pools.items():
        wanted = [(direction, number) for of, direction, number in plan if of == kind]
        drawn = _endless(supply, rng)
        for direction, number in wanted:
            questions += _made(drawn, pipe, kind, direction, number, used)
    order = rng.permutation(len(questions))
    return Quiz([questions[place] for place in order], len(used), kinds)


def _pools(photos, count):
    """Aligned crops of the largest face of each photo, masked and unmasked ones, up to ``count`` each."""
    pools, tried, known = {"masked": [], "unmasked": []}, 0, set()
    for photo in photos:
        tried += 1
        pixels = np.asarray(split_alpha(photo)[0])
        digest = hashlib.blake2b(np.ascontiguousarray(pixels)).digest()
        if digest in known:  # a small source repeats
            continue
        known.add(digest)
        faces = [face for face in detect(pixels)[:1] if min(face.box[2:]) >= LEAST_FACE]
        if faces:
            crop = align.crop(pixels, align.alignment(faces[0], SIDE), SIDE)
            pools["masked" if detect_masks_on_crops([crop])[0].masked else "unmasked"].append(crop)
        full = [len(pool) >= count for pool in pools.values()]
        if all(full) or tried >= 4 * count or (any(full) and tried >= 2 * count):
            break
    if not any(pools.values()):
        raise SourceError(f"none of {tried} photos shows a face of {LEAST_FACE} pixels or more.")
    return pools


def _endless(pool, rng):
    """``(number, crop)`` of each in turn, and then again and again, varied."""
    yield from enumerate(pool)
    while pool:  # always vary the original crop, or it would be zoomed more and more
        yield from ((number, _varied(crop, rng)) for number, crop in enumerate(pool))


def _made(drawn, pipe, kind, direction, number, used):
    """``number`` questions of one kind and direction; crops on which the pipeline finds no face are skipped."""
    questions, tries = [], 0
    while len(questions) < number:
        tries += 1
        if tries > 5 * number + 20:
            raise SourceError("too few faces of the quiz can be translated: use larger, clearer photos.")
        place, crop = next(drawn)
        picture = before = Image.fromarray(crop)
        try:
            if direction == "cycle":
                start = next(way for way in Direction if way.source == kind)
                picture = pipe.cycle(picture, start, force=True, seed=picture_seed(crop))
            elif direction:
                picture = pipe(picture, direction, force=True, seed=picture_seed(crop))
        except NoFaceError:
            continue
        used.add((kind, place))
        masked = (kind == "masked") != (direction in list(Direction))
        key = hashlib.blake2b(picture.tobytes(), digest_size=6).hexdigest()
        questions.append(Question(picture, before, not direction, direction, masked, key))
    return questions


def _varied(crop, rng):
    """Vary a face as photos of one person vary: mirror, rotate, zoom, and change the brightness."""
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), rng.uniform(-7, 7), rng.uniform(1.0, 1.12))
    turned = cv2.warpAffine(crop, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    image = Image.fromarray(turned)
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.15))
    return np.asarray(ImageEnhance.Color(image).enhance(rng.uniform(0.75, 1.15)))
