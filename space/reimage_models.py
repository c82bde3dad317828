"""The models of the Re-image tab: the bundled ones for drawn faces and for photos, those of the registry, and one for
photos in ``MASKHUB_REIMAGE``, a folder or Hub id; and the pipeline for a choice of them."""

import functools
import os
import warnings
from dataclasses import dataclass, field

from maskhub.errors import CheckpointError
from maskhub.pipelines.fetch import WEIGHTS
from maskhub.pipelines.reimaging import PHOTOS, PIXEL_FACES, ReimagingPipeline
from space import rooms
from space.kept import Kept

__all__ = ["CLASSIFIER", "Chosen", "choices", "knows_photos", "pipeline_of"]

CLASSIFIER = "by the classifier"
FOR_PHOTOS = "for photos"
BUILT_IN = "bundled/"
SMALL_FACE = 256
"""Side in pixels of a face's square in its photo up to which the smaller model for photos is chosen: its faces look
right more often (14 of 20, not 10), but are soft."""


@dataclass(frozen=True)
class Chosen:
    """What re-images a face: a ``pipeline``, the name of the ``generator`` in it, or None for any; generators' names
    for people, where they have others (``shown``); and the registry's models that could not be loaded (``broken``)."""

    pipeline: ReimagingPipeline
    generator: str | None = None
    shown: dict = field(default_factory=dict)
    broken: tuple = ()


def choices(key):
    """The models for a dropdown: the automatic choice, those of the registry, those for photos and the bundled ones."""
    bundled = _bundled().models.items() if _there() else ()
    built_in = [(f"{name} – {rooms.words(known)} (built in)", f"{BUILT_IN}{name}") for name, known in bundled]
    photos = [("The model for photos", FOR_PHOTOS)] if _for_photos() else []
    photos += [(f"Photos, {side} pixels (built in)", BUILT_IN + name) for side, name in PHOTOS.items() if _there(name)]
    every = rooms.model_choices(key) + photos + built_in
    return [("Choose for me", CLASSIFIER), *every] if every else []


def pipeline_of(model, given):
    """The :class:`Chosen` for a face, :class:`~space.coverings.Subject`, by a value of :func:`choices`. CheckpointError
    if there are no models, or the chosen one doesn't exist or can't be loaded."""
    if model == CLASSIFIER and given.photo:
        model = _best_for(given.side) or model
    if model == FOR_PHOTOS and _for_photos():
        made = _loaded(_for_photos())
        return Chosen(made, shown={name: f"{name} (for photos)" for name in made.generators})
    for side, name in PHOTOS.items():
        if model == BUILT_IN + name:
            made = _loaded(name)
            return Chosen(made, shown=dict.fromkeys(made.generators, f"the {side}-pixel model for photos (built in)"))
    if model and model.startswith(BUILT_IN) and _there():
        wanted = model.removeprefix(BUILT_IN)
        return Chosen(_bundled(), wanted, {wanted: f"{wanted} (built in)"})
    return _one(model or "-") if model != CLASSIFIER else _all()


def knows_photos(model):
    """Whether a value of :func:`choices` is a model for photos only."""
    return model == FOR_PHOTOS or model in [BUILT_IN + name for name in PHOTOS.values()]


def _best_for(side):
    """The model for a photo in which the face's square has this side, or None."""
    if _for_photos():
        return FOR_PHOTOS
    names = [name for name in PHOTOS.values() if _there(name)]
    return BUILT_IN + names[0 if side <= SMALL_FACE else -1] if names else None


def _one(model):
    """A model of the registry."""
    generator, resolution, attributes = _generator(model)
    classifier, broken = _classifier({model: attributes}, resolution)
    made = ReimagingPipeline(classifier, resolution=resolution)
    made.add(model, generator, attributes)
    return Chosen(made, model, broken=broken)


def _all():
    """All models of one size, among which the classifier chooses."""
    bundled = _bundled() if _there() else None
    resolution = bundled.config.resolution if bundled else None
    parts, shown, broken = {}, {}, []
    for entry in rooms.jobs().models.list("generator"):
        try:
            generator, own, attributes = _generator(entry.name)
        except CheckpointError as error:  # one model must not spoil the choice among the others
            warnings.warn(str(error), stacklevel=2)
            broken.append(entry.name)
            continue
        resolution = resolution or own
        if own == resolution:
            parts[entry.name] = (generator, attributes)
    for name, attributes in bundled.models.items() if bundled else ():
        parts[f"built-in.{name}"] = (bundled.generators[name], attributes)
        shown[f"built-in.{name}"] = f"{name} (built in)"
    if not parts:
        why = f"none of the models can be loaded: {', '.join(broken)}." if broken else "there is no model yet:"
        raise CheckpointError(f"{why} {'Train' if broken else 'train'} one in the Train tab.")
    classifier, more = _classifier({name: attributes for name, (_, attributes) in parts.items()}, resolution)
    made = ReimagingPipeline(classifier=classifier, resolution=resolution)
    for name, (generator, attributes) in parts.items():
        made.add(name, generator, attributes)
    return Chosen(made, None, shown, (*broken, *more))


def _classifier(models, resolution):
    """The classifier that knows the attributes of most of these models, a visitor's, or the bundled one; and the names
    of those that can't be loaded."""
    given = _bundled().classifier if _there() and _bundled().config.resolution == resolution else None
    return rooms.jobs().models.classifier_for(models, resolution, given)


def _generator(name):
    """The generator of a model of the registry, with its resolution and attributes."""
    entry = rooms.jobs().models.get(name)
    made = _loaded(str(entry.path))
    return next(iter(made.generators.values())), made.config.resolution, entry.attributes


def _there(name=PIXEL_FACES):
    return (WEIGHTS / name / "model_index.json").is_file()


def _for_photos():
    return os.environ.get("MASKHUB_REIMAGE", "")


@functools.lru_cache(maxsize=1)
def _bundled():
    return ReimagingPipeline.bundled()


_loaded = Kept(ReimagingPipeline.from_pretrained)
