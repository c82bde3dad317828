"""Partial re-imaging: generate what is under a mask or scarf, and leave everything else unchanged.

    pipe = ReimagingPipeline.from_pretrained("user/model")          # or "reimaging-32", "-64", "-128"
    output = pipe("covered.png")
    output.raw[0], output.smoothed[0], output.clipping[0], output.result[0]      # the paper's four pictures

The method of the re-imaging paper: find the covering; let a classifier choose the small generator that guarantees the
face's attributes; generate faces, and pick the one that agrees best with the visible pixels; smooth it, clip it to the
covered pixels, and paste it. A pipeline's folder contains ``classifier/`` and ``generators/<name>/``; a training run
leaves one with a single generator and no classifier.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from PIL import Image
from pydantic import Field

from maskhub.arguments import check_whole
from maskhub.errors import CheckpointError, ConfigError, PhotoError
from maskhub.extras import large_import
from maskhub.hub_errors import SafeSaving
from maskhub.models.classifier import AttributeClassifier
from maskhub.models.configured import Configuration, Label, Whole
from maskhub.models.dcgan import DcganGenerator
from maskhub.models.dense import DenseGenerator
from maskhub.models.stored import read_json
from maskhub.pipelines.candidates import agreement_weights, best_candidates
from maskhub.pipelines.covered_face import CoveredFace
from maskhub.pipelines.fetch import (
    WEIGHTS,
    check_index,
    check_name,
    fetch_options,
    fetch_pipeline,
    load_errors,
    with_variant,
)
from maskhub.pipelines.latent_search import LatentSearch
from maskhub.pipelines.tone import blend, kmeans_colours
from maskhub.provenance import Provenance, mark
from maskhub.tensors import to_tensor

with large_import():
    from diffusers import DiffusionPipeline
    from diffusers.utils import BaseOutput

__all__ = [
    "GENERATORS", "PHOTOS", "PIXEL_FACES", "THESIS", "ReimagingOutput", "ReimagingPipeline",
    "load_classifier",
]  # fmt: skip

PIXEL_FACES, PHOTOS = "reimaging-32", {64: "reimaging-64", 128: "reimaging-128"}
"""Names of the bundled pipelines: the one for pixel faces, and those for photos by their resolution."""
THESIS = "thesis"
"""Name of the bundled classifier that was trained as in the thesis, on sets that share hair and eyes."""
GENERATORS = {"DenseGenerator": DenseGenerator, "DcganGenerator": DcganGenerator}
"""The allowed classes of a folder under ``generators``."""


class Settings(Configuration):
    """The settings in a pipeline's ``model_index.json``, besides its networks."""

    resolution: Whole(4, 256) = 32
    models: Annotated[dict[Label, dict[Label, Label]], Field(max_length=1000)] = Field(default_factory=dict)


@dataclass
class ReimagingOutput(BaseOutput):
    """The result for each face; every attribute is a list with one entry per face.

    Attributes:
        raw: RGB ``PIL.Image``, the generated face that is used: candidate number ``sample``.
        smoothed: the same in a few colours.
        clipping: RGBA, the covered pixels of the input face, R×R; everything else is transparent.
        result: the face with its covered pixels replaced, at its original size; all other pixels bit-identical.
        faces: the networks' input, R×R.
        regions: bool R×R, the covered pixels.
        models: name of the generator that was used.
        distributions: the classifier's probabilities by label; empty without a classifier.
        scores: generator → how well its attributes fit; they sum to 1.
        errors: difference of the raw face from the visible pixels, 0 to 255 (weighted root mean square).
        candidates: the generated faces that agree best with the visible pixels, best first, ``PIL.Image``.
        candidate_errors: the same difference for each candidate.
    """

    raw: list
    smoothed: list
    clipping: list
    result: list
    faces: list
    regions: list
    models: list
    distributions: list
    scores: list
    errors: list
    candidates: list
    candidate_errors: list


class ReimagingPipeline(SafeSaving, DiffusionPipeline):
    """Replaces the covered pixels in small pictures of one face.

    Args:
        classifier: predicts the attribute that selects a generator; without one, all generators are tried.
        resolution: side in pixels of all networks.
        models: generator → the attributes that it guarantees, as in ``model_index.json``; use :meth:`add`.
    """

    _optional_components = ["classifier"]  # noqa: RUF012 (diffusers reads the class attribute)

    def __init__(self, classifier: AttributeClassifier | None = None, resolution: int = 32, models: dict | None = None):
        super().__init__()
        Settings(resolution=resolution, models=models or {})
        self.register_modules(classifier=classifier)
        self.register_to_config(resolution=resolution, models=dict(models or {}))
        self.generators, self._searches = {}, {}
        if classifier is not None:
            classifier.eval()

    # ---- components -----------------------------------------------------------------------------------------------

    def add(self, name, generator, attributes=None):
        """Add a generator, replacing any of the same name.

        Args:
            name: letters, digits, ``-``, ``_`` and ``.``; also the folder's name.
            generator: :class:`~maskhub.models.dense.DenseGenerator` or ``DcganGenerator`` of the pipeline's resolution.
            attributes: what all its faces have in common, such as ``{"tone": "light"}``.

        Raises:
            ConfigError: another resolution, or an invalid name.
        """
        check_name(name)
        if generator.config.resolution != self.config.resolution:
            raise ConfigError(
                f"the generator {name} makes faces of {generator.config.resolution} pixels, this pipeline "
                f"of {self.config.resolution}."
            )
        self.generators[name] = generator.eval().requires_grad_(False)
        self._searches.clear()
        self.register_to_config(models={**self.config.models, name: dict(attributes or {})})

    @property
    def models(self):
        """Generator → the attributes that it guarantees."""
        return {name: dict(attributes) for name, attributes in self.config.models.items()}

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """Load from a folder, a Hub id or the name of a bundled pipeline; arguments as in
        ``diffusers.DiffusionPipeline``, safetensors only.

        Raises:
            CheckpointError: nothing there, no access, or not a maskhub pipeline.
        """
        import maskhub  # noqa: F401  diffusers resolves the components' classes only in a package already imported

        folder = fetch_pipeline(pretrained_model_name_or_path, kwargs.get("variant"), **fetch_options(kwargs))
        kwargs = with_variant(folder, kwargs)
        with load_errors(pretrained_model_name_or_path):
            parts = {"classifier": lambda network: network is AttributeClassifier}
            _, there = check_index(folder, cls.__name__, Settings, parts)
            # diffusers looks for the variant among its own components only, and there may be none
            own = {key: value for key, value in kwargs.items() if there or key != "variant"}
            pipeline = super().from_pretrained(folder, **{**own, "use_safetensors": True})
            options = {"variant": kwargs.get("variant"), "dtype": kwargs.get("dtype") or kwargs.get("torch_dtype")}
            options = {key: value for key, value in options.items() if value is not None}
            for name, attributes in pipeline.models.items():
                home = folder / "generators" / check_name(name)
                if not home.is_dir():
                    raise CheckpointError(f"it has no generators/{name}.")
                found = read_json(home / "config.json").get("_class_name")
                if found not in GENERATORS:
                    raise CheckpointError(f"generators/{name} is not one of {', '.join(GENERATORS)}.")
                pipeline.add(name, GENERATORS[found].from_pretrained(home, **options), attributes)
        return pipeline

    @classmethod
    def bundled(cls, name=PIXEL_FACES, dtype=torch.float32):
        """A bundled pipeline by its name: for pixel faces, or one of :data:`PHOTOS`. Its ``README.md`` describes what
        it can do."""
        return cls.from_pretrained(name, variant="fp16", dtype=dtype)

    def save_pretrained(self, save_directory, *, variant=None, **kwargs):
        """Write to a folder; arguments as in diffusers, safetensors only."""
        super().save_pretrained(save_directory, variant=variant, **kwargs)
        for name, generator in self.generators.items():
            generator.save_pretrained(Path(save_directory) / "generators" / name, variant=variant)

    def to(self, *args, **kwargs):
        """Move classifier and generators to a device or dtype."""
        super().to(*args, **kwargs)
        for generator in self.generators.values():
            generator.to(*args, **kwargs)
        self._searches.clear()
        return self

    # ---- re-imaging -----------------------------------------------------------------------------------------------

    def __call__(
        self, faces, regions=None, *, covering="auto", colours=None, model=None, candidates=512, keep=8, sample=0,
        refine_steps=0, smooth_colours=16, tone="palette", seed=0, on_none="raise",
    ):  # fmt: skip
        """Replace the covered pixels in one face or a list of faces.

        Args:
            faces: a path, ``PIL.Image`` or uint8 array, or a list of them: square pictures that one face fills.
            regions: bool R×R or H×W per face, the pixels to replace; detected if not given.
            covering: how they are detected: ``"auto"``: by the known colours, or else by contrast; ``"colour"``,
                ``"contrast"`` (see :mod:`maskhub.masks.find_covering`); ``"learned"``: by the mask detector, for
                photos.
            colours: colours of the covering for ``"colour"``, N×3 in 0 to 255.
            model: name of the generator, instead of the one whose attributes fit.
            candidates: number of faces generated: to choose from, or to begin the search with.
            keep: number of the best faces returned.
            sample: which of these to use; 0 is the one that agrees best with the visible pixels.
            refine_steps: steps of latent optimisation (:class:`~maskhub.pipelines.latent_search.LatentSearch`); 0 only
                chooses among samples.
            smooth_colours: clusters of the k-means smoothing; 0 leaves the face as generated.
            tone: how the skin's tone is matched; see :func:`maskhub.pipelines.tone.blend`.
            seed: of the noise, a whole number from 0; the same seed gives the same result.
            on_none: ``"raise"``, or ``"keep"`` to return a face without a covering unchanged, and without provenance.

        Returns:
            :class:`ReimagingOutput`.

        Raises:
            PhotoError: a picture that can't be read, is not square, or has no covering.
            ConfigError: a bad option.
        """
        self._check(model, on_none)
        numbers = {"candidates": (candidates, 1), "keep": (keep, 1), "refine_steps": (refine_steps, 0)}
        numbers |= {"smooth_colours": (smooth_colours, 0), "the seed": (seed, 0)}
        for what, (value, least) in numbers.items():
            check_whole(what, value, least)
        check_whole("sample", sample, 0, min(keep, candidates) - 1)
        single = not isinstance(faces, (list, tuple))
        faces = [faces] if single else faces
        regions = [None] * len(faces) if regions is None else [regions] if single else regions
        if len(regions) != len(faces):
            raise ConfigError(f"there are {len(regions)} regions for {len(faces)} faces. Give one per face.")
        output = ReimagingOutput(*([] for _ in range(12)))
        for number, (photo, region) in enumerate(zip(faces, regions, strict=True)):
            what = photo if isinstance(photo, (str, Path)) else f"face {number}" if len(faces) > 1 else "the face"
            covered = CoveredFace.read(photo, what, self.config.resolution, region, covering, colours)
            if not covered.region.any() and on_none == "raise":
                raise PhotoError(f"no covering was found on {what}. Give its region, or its colours.")
            distribution, scores = self.classify(covered.face)
            made = self._offered(covered, model, scores, candidates, keep, refine_steps, seed)
            _finish(output, covered, made, sample, smooth_colours, tone, seed)
            output.distributions.append(distribution)
            output.scores.append(scores)
        return output

    def _check(self, model, on_none):
        if not self.generators:
            raise ConfigError("this pipeline has no generator. Load one that has, or add one.")
        if on_none not in ("raise", "keep"):
            raise ConfigError(f"on_none is {on_none!r}; it must be 'raise' or 'keep'.")
        if model is not None and model not in self.generators:
            raise ConfigError(f"there is no generator {model!r}. Choose one of {', '.join(self.generators)}.")

    def classify(self, face):
        """Score the generators for a face, uint8 RGB R×R×3.

        Returns the classifier's distribution, label → probability (empty without one), and generator → score: the
        probability of the attributes it guarantees. One that guarantees nothing about the classifier's attribute scores
        as if it fitted every label.
        """
        if self.classifier is None:
            return {}, dict.fromkeys(self.generators, 1 / len(self.generators))
        distribution = self.classifier.distribution(to_tensor(face)[None])[0]
        attribute = self.classifier.config.attribute
        any_label = 1 / len(distribution)
        scores = {
            name: distribution.get(self.models[name][attribute], 0.0) if attribute in self.models[name] else any_label
            for name in self.generators
        }
        total = sum(scores.values())
        return distribution, {n: s / total if total else 1 / len(scores) for n, s in scores.items()}

    def _offered(self, covered, model, scores, count, keep, refine_steps, seed):
        """The best candidates of the generator that fits best, or of all that fit equally."""
        best = max(scores.values())
        names = [model] if model else [name for name, score in scores.items() if score >= best - 1e-6]
        weights, found = agreement_weights(covered.region), []
        for name in names:
            generator = self.generators[name]
            if refine_steps:
                made = self._search(name, count, seed)(covered.face, weights, refine_steps, keep)
            else:
                made = best_candidates(generator, covered.face, weights, count, keep, seed)
            found += [replace(candidate, model=name) for candidate in made]
        return sorted(found, key=lambda candidate: candidate.error)[:keep]

    def _search(self, name, count, seed):
        """The :class:`LatentSearch` of a generator, kept for the next face."""
        key = name, count, seed
        if key not in self._searches:
            self._searches = {key: LatentSearch(self.generators[name], count, seed)}
        return self._searches[key]


def load_classifier(name=None):
    """Load a classifier, in eval mode.

    Args:
        name: a folder or Hub id of a re-imaging pipeline, the folder of a classifier, :data:`THESIS`, or None for the
            bundled pipeline's.

    Raises:
        CheckpointError: nothing there, or a pipeline without a classifier.
    """
    if name == THESIS:
        folder = WEIGHTS / PIXEL_FACES / "thesis-classifier"
        return AttributeClassifier.from_pretrained(folder, variant="fp16").float().eval()
    if name and (Path(name) / "config.json").is_file():
        return AttributeClassifier.from_pretrained(name).eval()
    pipeline = ReimagingPipeline.from_pretrained(name) if name else ReimagingPipeline.bundled()
    if pipeline.classifier is None:
        raise CheckpointError(f"{name} has no classifier.")
    return pipeline.classifier


def _finish(output, covered, made, sample, smooth_colours, tone, seed):
    """Add the result for one face to a :class:`ReimagingOutput`; ``made`` are its candidates."""
    chosen, raw = made[sample], made[sample].image
    smoothed = kmeans_colours(raw, smooth_colours, seed) if smooth_colours else raw
    picture = covered.put_back(blend(covered.face, smoothed, covered.region, tone))
    tag = Provenance("unmask", chosen.model or "maskhub") if covered.region.any() else None
    output.raw.append(Image.fromarray(raw))
    output.smoothed.append(Image.fromarray(smoothed))
    output.clipping.append(covered.clipping())
    output.result.append(mark(picture, tag))
    output.faces.append(Image.fromarray(covered.face))
    output.regions.append(covered.region)
    output.models.append(chosen.model)
    output.errors.append(chosen.error)
    output.candidates.append([Image.fromarray(candidate.image) for candidate in made])
    output.candidate_errors.append([candidate.error for candidate in made])
