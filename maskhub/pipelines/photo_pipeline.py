"""The steps on whole photos that the face pipelines share, whether torch or onnxruntime runs their networks."""

import warnings
from functools import partial
from typing import Literal

import numpy as np

from maskhub.arguments import check_crops, check_whole
from maskhub.direction import Direction
from maskhub.errors import ConfigError
from maskhub.masks.styles import STYLES
from maskhub.models.configured import Configuration, Whole
from maskhub.pipelines.fetch import WEIGHTS
from maskhub.pipelines.photo_batch import PhotoBatch
from maskhub.pipelines.translator import RuleMasker, Translator, Way, asked_direction
from maskhub.provenance import Provenance

__all__ = ["BUNDLED", "TWO_STEP", "PhotoPipeline", "Settings"]

BUNDLED = WEIGHTS / "light-256"
"""Takes masks off, and draws masks by rule."""
TWO_STEP = WEIGHTS / "two-step-256"
"""Makes masks that were drawn by rule look more real: the two-step method."""


class Settings(Configuration):
    """The settings in a pipeline's ``model_index.json``, besides its networks."""

    resolution: Whole(16, 2048) = 256
    wear: Literal["random", *STYLES] | None = None


class PhotoPipeline:
    """Base of :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`, which runs its networks in torch, and
    :class:`~maskhub.pipelines.onnx_face_mask.OnnxFaceMaskPipeline`, which runs them in onnxruntime.

    Subclasses have ``config`` (``resolution`` and ``wear``, see :class:`Settings`), the networks ``masker`` and
    ``unmasker`` (or None), and ``run``.
    """

    model_name = "unnamed"
    """Used in the provenance of its pictures: the Hub id or the name of the folder it was loaded from."""

    def mask(self, photos, **options):
        """Put a mask on every unmasked face; see :meth:`__call__`."""
        return self(photos, direction="mask", **options)

    def unmask(self, photos, **options):
        """Remove the mask from every face that wears one; see :meth:`__call__`."""
        return self(photos, direction="unmask", **options)

    def provenance(self, direction):
        """The :class:`~maskhub.provenance.Provenance` of this pipeline's pictures; ``"auto"`` is called translate."""
        return Provenance("translate" if direction == "auto" else direction, self.model_name)

    def translator(self, direction="mask", force=False):
        """The :class:`~maskhub.pipelines.translator.Translator` for a direction (``"mask"``, ``"unmask"``, ``"auto"``).

        Raises:
            ConfigError: an unknown direction, or one the pipeline has neither a network nor a rule for.
        """
        asked = asked_direction(direction)
        directions = list(Direction) if asked is None else [asked]
        return Translator({direction: self._way(direction) for direction in directions}, asked, force)

    def __call__(
        self, photos, direction="mask", *, force=False, batch_size=8, on_no_face="raise", details=False, seed=0,
        provenance=True,
    ):  # fmt: skip
        """Translate the faces of one photo or of a list.

        Faces that need no change are left as they are: unmasked ones in unmask, masked ones in mask, as determined by
        the bundled mask detector. ``details`` reports them; without it, a warning is issued for each photo that stays
        unchanged for this reason. To measure a network rather than use it, pass ``force=True``, or run aligned crops
        through :meth:`translate_crops`, which never uses the detector.

        Args:
            photos: a path, ``PIL.Image`` or uint8 array, or a list of them, of any size.
            direction: ``"mask"``, ``"unmask"``, or ``"auto"``: remove masks where worn, add them elsewhere.
            force: translate every face, masked or not.
            batch_size: crops per generator batch.
            on_no_face: ``"raise"``, or ``"keep"`` to return a photo without a face unchanged.
            details: return a :class:`FaceMaskOutput` instead of the pictures only. Its faces have an
                ``expected_error`` and whether they are ``likely_poor``, if a mask was taken off without ``force``.
            seed: for everything random: the rule-based mask of a two-step masker, and the noise of a network that takes
                noise. Otherwise it has no effect. Each photo in a list gets its own random numbers; with a list of
                seeds, one per photo, each photo gets the same result as alone.
            provenance: attach the tag of :meth:`provenance`, which ``picture.save`` writes to the file.

        Returns:
            ``PIL.Image`` for one photo, a list for a list; or :class:`FaceMaskOutput`.

        Raises:
            PhotoError: a photo that can't be read.
            ConfigError: a bad option.
            NoFaceError: a photo without a face, or, if masks are first drawn by rule, without one that is clear enough.
        """
        _check_numbers(batch_size, seed)
        translator = self.translator(direction, force)
        batch = PhotoBatch.read(photos, self.config.resolution, seed, on_no_face)
        translator(batch.faces, batch_size)
        output = batch.finish(self.provenance(direction) if provenance else None)
        if details:
            return output
        for why in batch.unchanged():
            warnings.warn(f"{why}; force=True translates it anyway.", stacklevel=3)
        return output.images[0] if batch.single else output.images

    def cycle(
        self, photos, start="mask", *, force=False, batch_size=8, on_no_face="raise", details=False, seed=0,
        provenance=True,
    ):  # fmt: skip
        """Translate there and back: ``start="mask"`` puts masks on and removes them again, ``"unmask"`` the reverse.

        As :meth:`__call__`; with ``details`` the output also has ``there`` and ``cycle_errors``. A photo of which no
        face was translated in the first step is an error too (NothingToDoError), unless ``on_no_face="keep"``.
        """
        _check_numbers(batch_size, seed)
        start = Direction(start)
        translator, back = self.translator(start, force), self._way(start.inverse)
        batch = PhotoBatch.read(photos, self.config.resolution, seed, on_no_face)
        translator(batch.faces, batch_size)
        there = batch.finish(self.provenance(start) if provenance else None)
        returning = batch.onward()
        back.translate_back(returning.faces, batch_size)
        output = returning.finish(self.provenance("cycle") if provenance else None)
        output.there = there.images
        output.cycle_errors = output.each(lambda face: float(np.abs(face.made.astype(np.int16) - face.crop).mean()))
        return output if details else output.images[0] if batch.single else output.images

    def translate_crops(self, crops, direction="mask", *, batch_size=8, seed=0):
        """Run aligned crops, uint8 R×R×3 each, through one network only; returns the same number of crops.

        Neither the face detector nor the mask detector is used.

        Raises:
            PhotoError: a crop that isn't uint8 R×R×3.
            ConfigError: a bad option, crops of several sizes or of one that the network does not take.
        """
        _check_numbers(batch_size, seed)
        crops = [np.asarray(crop) for crop in crops]
        check_crops(crops)
        if len({crop.shape for crop in crops}) > 1:
            raise ConfigError("the crops have several sizes: give those of each size on their own.")
        return self.run(Direction(direction), crops, [(0, seed)] * len(crops), batch_size)

    def run(self, direction, crops, owners, batch_size):
        """Run the network of a direction on a list of crops, uint8 R×R×3; returns as many.

        ``owners`` has the number of the photo and the seed for each crop: crops of one owner share a noise sequence.
        """
        raise NotImplementedError

    def network(self, direction):
        """The network for a direction.

        Raises:
            ConfigError: the pipeline has none.
        """
        network = getattr(self, direction.role)
        if network is None:
            raise ConfigError(
                f"this pipeline has no {direction.role}. Load one that does, or pass {direction.role}=... to it."
            )
        return network

    def can(self, direction):
        """Whether the pipeline can translate in a direction: by a network, or, for masks, by rule."""
        by_rule = Direction(direction) is Direction.MASK and self.config.wear
        return bool(by_rule) or getattr(self, Direction(direction).role) is not None

    def _way(self, direction):
        rule = RuleMasker(self.config.wear) if direction is Direction.MASK and self.config.wear else None
        if rule and self.masker is None:
            return Way(rule)
        self.network(direction)
        return Way(rule, partial(self.run, direction))


def _check_numbers(batch_size, seed):
    """Raise :class:`ConfigError` unless both are whole numbers in their ranges; ``seed`` may be a list of them."""
    check_whole("the batch size", batch_size, 1)
    for one in seed if isinstance(seed, (list, tuple)) else [seed]:
        check_whole("the seed", one, 0)
