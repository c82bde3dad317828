"""The methods of the Compare tab: the app's network, further ones, masks drawn by rule, and classical inpainting.

Further ones are those that ``maskhub models fetch`` fetched, and those that ``MASKHUB_COMPARE`` names by folder or Hub
id, separated by commas.
"""

import functools
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskhub.cards import ModelCard
from maskhub.data.masked import Wearing, mask_faces
from maskhub.direction import Direction
from maskhub.errors import MaskHubError, NoFaceError
from maskhub.evaluation.baselines import INPAINTINGS, inpaint
from maskhub.evaluation.trained_against import card_folder
from maskhub.faces.detect import detect
from maskhub.faces.photo import split_alpha
from maskhub.masks.detector import MASKED, detect_mask
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.pipelines.fetch import local_folder
from maskhub.pipelines.named import named_pipelines
from maskhub.pipelines.photo_pipeline import BUNDLED
from maskhub.provenance import RULE, Provenance, mark
from space import model
from space.kept import Kept

__all__ = ["Method", "methods"]

AROUND = 24
"""Pixels around a mask that an inpainting uses."""
GROWN = 0.3
"""Confidence per pixel from which the mask detector's region is filled: its edge too, or a line of the mask stays."""

UNTOLD = "its card doesn't say"


@dataclass(frozen=True)
class Method:
    """One way to put masks on and take them off: ``name``, ``about`` and ``trained_on``, its photos, are for people;
    ``size`` is that of its weights in bytes, 0 for a rule. ``can`` tells whether it does ``"mask"``, ``"unmask"`` or
    ``"cycle"``; ``run`` does it to a ``PIL.Image`` and returns another, with NoFaceError if there is nothing to do."""

    name: str
    about: str
    size: int
    trained_on: str
    run: Callable
    can: Callable = bool


def methods(pipe):
    """The app's own pipeline; those that are bundled, fetched or in ``MASKHUB_COMPARE``; and two that need no training.
    One that can't be loaded is listed with this problem."""
    known = [str(one.folder) for one in named_pipelines() if one.kind == "FaceMaskPipeline"]
    further = [name.strip() for name in os.environ.get("MASKHUB_COMPARE", "").split(",") if name.strip()]
    own, *others = dict.fromkeys(map(_place, (model.name() or str(BUNDLED), *known, *further)))
    pipes = [(pipe, own), *((_pipe(name), name) for name in others)]
    about, photos = "masks drawn by rule, taken off by filling the hole from its edge", "nothing"
    telea, stokes = (functools.partial(_by_rule, inpainting) for inpainting in INPAINTINGS)
    # a mask drawn by rule is shown once
    once = _takes_off if any(one and one.masker is None and one.config.wear for one, _ in pipes) else bool
    return [
        *(_network(one, name) for one, name in pipes),
        Method("Rule and Telea's inpainting", f"{about} (Telea, 2004)", 0, photos, telea, once),
        Method("Rule and Navier–Stokes", f"{about} (Bertalmio, 2001)", 0, photos, stokes, _takes_off),
    ]


def _place(name):
    """The folder of a pipeline, by which it is shown once; its Hub id if it is not on this machine."""
    folder = local_folder(name)
    return str(folder.resolve()) if folder else name


def _pipe(name):
    """The pipeline of a folder or Hub id, or None with a warning in the log if it can't be loaded."""
    try:
        return _loaded(name)
    except MaskHubError as error:
        warnings.warn(str(error), stacklevel=2)
        return None


_loaded = Kept(FaceMaskPipeline.from_pretrained)


def _card_line(name):
    """What the card of a model (folder or Hub id) says in ``trained_on``."""
    photos = ModelCard.load(card_folder(name)).front.get("trained_on")
    photos = photos if isinstance(photos, list) else [photos] if photos else []
    return "; ".join(str(line)[:200] for line in photos[:8])


_card_lines = Kept(_card_line)


def _trained_on(name):
    with suppress(MaskHubError):
        return _card_lines(name) or UNTOLD
    return UNTOLD


def _network(pipe, name):
    if pipe is None:
        return Method(Path(name).name, "", 0, "", _fail)
    networks = [network for network in (pipe.masker, pipe.unmasker) if network is not None]
    size = sum(value.numel() * value.element_size() for network in networks for value in network.parameters())
    kinds = " and ".join(sorted({type(network).__name__ for network in networks}))
    rule = ("; masks drawn by rule", ", on a mask drawn by rule")[pipe.masker is not None] if pipe.config.wear else ""
    about = f"{kinds} at {pipe.config.resolution} pixels{rule}"
    ways = functools.partial(_ask, pipe), functools.partial(_can, pipe)
    return Method(Path(pipe.model_name).name, about, size, _trained_on(name), *ways)


def _fail(photo, what):
    raise MaskHubError("it could not be loaded.")


def _takes_off(what):
    return what != "mask"


def _can(pipe, what):
    return all(pipe.can(direction) for direction in (Direction if what == "cycle" else (what,)))


def _ask(pipe, photo, what):
    output = pipe.cycle(photo, details=True) if what == "cycle" else pipe(photo, what, details=True)
    if not any(face.changed for face in output.faces[0]):
        raise NoFaceError(_nothing(what))
    return output.images[0]


def _by_rule(inpainting, photo, what):
    """Masks by :func:`maskhub.data.masked.mask_faces`, and off by an inpainting of :data:`INPAINTINGS`."""
    pixels, region = np.asarray(split_alpha(photo)[0]), None
    if what != "unmask":
        try:
            masked = mask_faces(pixels, Wearing(bare_only=True, scores="none"), "")
        except NoFaceError as error:
            raise NoFaceError(_nothing(what)) from error
        pixels, region = masked.image, masked.region > 0
    if what != "mask":
        pixels = _filled(pixels, region if region is not None else _worn(pixels), INPAINTINGS[inpainting])
    return mark(Image.fromarray(pixels), Provenance(what, RULE))


def _worn(pixels):
    """Where masks are, as the mask detector finds them: bool H×W."""
    region = np.zeros(pixels.shape[:2], bool)
    for face in detect(pixels):
        found = detect_mask(pixels, face)
        if found.presence >= MASKED:
            region |= found.region > GROWN
    if not region.any():
        raise NoFaceError(_nothing("unmask"))
    return region


def _filled(pixels, region, method):
    """Inpaint within the part of the photo that holds the region, since time grows with the picture."""
    rows, columns = np.nonzero(region)
    top, left = max(rows.min() - AROUND, 0), max(columns.min() - AROUND, 0)
    part, out = np.s_[top : rows.max() + AROUND, left : columns.max() + AROUND], pixels.copy()
    out[part] = inpaint(np.ascontiguousarray(pixels[part]), region[part], method)
    return out


def _nothing(what):
    return f"no {'masked' if what == 'unmask' else 'unmasked'} face was found to compare on."
