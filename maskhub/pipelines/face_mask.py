"""Put face masks on photos and remove them: detection, aligned crop, generator, and back into the photo.

    pipe = FaceMaskPipeline.bundled()
    masked = pipe.mask(photo)
    result = pipe.unmask([photo, other], details=True)     # .images, .regions, .faces, .crops, .translated, .boxes
    mixed = pipe(photo, direction="auto")                  # removes masks where worn, adds them elsewhere

Every pixel outside the returned region is bit-identical to the input.
"""

import warnings
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline

from maskhub.direction import Direction
from maskhub.errors import ConfigError
from maskhub.hub_errors import SafeSaving
from maskhub.masks.styles import STYLES
from maskhub.models.configured import Configuration, Whole
from maskhub.models.export import FILE, GRAPH, export_onnx
from maskhub.models.network import Network
from maskhub.pipelines.backends import Backends
from maskhub.pipelines.fetch import (
    check_index,
    fetch_options,
    fetch_pipeline,
    load_errors,
    model_name,
    with_variant,
)
from maskhub.pipelines.photo_batch import FaceMaskOutput, PhotoBatch
from maskhub.pipelines.translator import RuleMasker, Translator, Way, asked_direction
from maskhub.provenance import Provenance
from maskhub.tensors import to_pixels, to_tensor

__all__ = ["FaceMaskOutput", "FaceMaskPipeline"]

BUNDLED = Path(__file__).parent.parent / "weights" / "light-256"


class Settings(Configuration):
    """The settings in a pipeline's ``model_index.json``, besides its networks."""

    resolution: Whole(16, 2048) = 256
    wear: Literal["random", *STYLES] | None = None


class FaceMaskPipeline(SafeSaving, DiffusionPipeline):
    """Translates the faces of whole photos between *unmasked* and *masked*.

    Args:
        masker, unmasker: generators unmasked → masked and the reverse; without one, the methods that need it raise an
            error.
        resolution: side in pixels of the generators' aligned crops; their training resolution.
        wear: None, or the two-step method: a rule-based mask of this style (a name in :data:`maskhub.masks.STYLES`, or
            ``"random"``) is put on each face before the masker makes it look real.

    ``from_pretrained`` takes a folder or a Hub id, ``to`` a device and a dtype, as in every diffusers pipeline.
    """

    model_name = "unnamed"
    """Used in the provenance of its pictures: the Hub id or the name of the folder it was loaded from."""
    _folder = None
    model_cpu_offload_seq = "masker->unmasker"
    _optional_components = ["masker", "unmasker"]  # noqa: RUF012 (diffusers reads the class attribute)

    def __init__(
        self,
        masker: Network | None = None,
        unmasker: Network | None = None,
        resolution: int = 256,
        wear: str | None = None,
    ):
        super().__init__()
        Settings(resolution=resolution, wear=wear)
        for name, network in (("masker", masker), ("unmasker", unmasker)):
            _check_channels(name, network)
        self.register_modules(masker=masker, unmasker=unmasker)
        self.register_to_config(resolution=resolution, wear=wear)
        self._backends = Backends()
        for network in (masker, unmasker):
            if network is not None:
                network.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *, backend="torch", **kwargs):
        """Load from a folder or a Hub id; arguments as in ``diffusers.DiffusionPipeline``, safetensors only, and of
        :meth:`use`.

        If only the fp16 variant exists, it is loaded and converted to float32.

        Raises:
            CheckpointError: nothing there, no access, or not a maskhub pipeline. ConfigError: an unknown backend.
        """
        import maskhub  # noqa: F401  diffusers resolves the components' classes only in a package already imported

        options = {"onnx": backend in ("auto", "onnxruntime"), **fetch_options(kwargs)}
        folder = fetch_pipeline(pretrained_model_name_or_path, kwargs.get("variant"), **options)
        kwargs = with_variant(folder, kwargs)
        with load_errors(pretrained_model_name_or_path):
            parts = dict.fromkeys(("masker", "unmasker"), lambda network: network.translates)
            check_index(folder, cls.__name__, Settings, parts)
            pipeline = super().from_pretrained(folder, **{**kwargs, "use_safetensors": True})
        pipeline.model_name, pipeline._folder = model_name(pretrained_model_name_or_path), folder
        return pipeline.use(backend)

    @classmethod
    def bundled(cls, dtype=torch.float32, backend="torch"):
        """The bundled checkpoint, on the CPU; its ``README.md`` describes what it can do."""
        return cls.from_pretrained(BUNDLED, variant="fp16", dtype=dtype, backend=backend)

    def use(self, backend="auto"):
        """Choose how the networks are run: a name in :data:`maskhub.pipelines.backends.BACKENDS`, or ``"auto"``.
        Returns itself.

        ``"auto"`` times the available backends on the first faces, for a second or two, and uses the fastest whose mean
        difference from ``"torch"`` is at most 1/255; ``pipe.backends`` shows which. ``"torch"``, the default, gives
        identical results in every run. The others hold copies of the weights: call this again after changing the
        weights.

        Raises:
            ConfigError: no such backend.
        """
        self._backends = Backends(backend, self._folder)
        return self

    def export_onnx(self, folder, any_size=False, weights=True):
        """Write the pipeline to a folder with a ``model.onnx`` next to each network's weights, for ``"onnxruntime"``.

        The graphs are made for crops of the pipeline's resolution and batches of any size; with ``any_size`` for any H
        and W too, if the network allows it. Without ``weights`` a ``graph.onnx`` of about ten kilobytes is written,
        which uses the weights in the safetensors next to it.

        Returns:
            dict: ``"masker"`` and ``"unmasker"`` → largest difference from torch, in [-1, 1].

        Raises:
            ConfigError: onnx or onnxscript is missing. CheckpointError: a network that can't be exported.
        """
        networks = {"masker": self.masker, "unmasker": self.unmasker}
        options = {"any_size": any_size, "weights": weights}
        file = FILE if weights else GRAPH
        made = {
            name: export_onnx(network, Path(folder) / name / file, self.config.resolution, **options)
            for name, network in networks.items()
            if network is not None
        }
        self.save_pretrained(folder)
        return made

    @property
    def backends(self):
        """``"masker"`` and ``"unmasker"`` → the backend that each has used so far."""
        return dict(self._backends.chosen)

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
            ConfigError: an unknown direction, or one the pipeline has no network for.
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
            details: return a :class:`FaceMaskOutput` instead of the pictures only.
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
        face was translated in the first step is an error too, unless ``on_no_face="keep"``.
        """
        start = Direction(start)
        translator, back = self.translator(start, force), self._way(start.inverse)
        batch = PhotoBatch.read(photos, self.config.resolution, seed, on_no_face)
        translator(batch.faces, batch_size)
        there = batch.finish(self.provenance(start) if provenance else None)
        returning = batch.onward()
        back.run(returning.faces, batch_size)
        output = returning.finish(self.provenance("cycle") if provenance else None)
        output.there = there.images
        output.cycle_errors = output.each(lambda face: float(np.abs(face.made.astype(np.int16) - face.crop).mean()))
        return output if details else output.images[0] if batch.single else output.images

    def translate_crops(self, crops, direction="mask", *, batch_size=8, seed=0):
        """Run aligned crops, uint8 R×R×3 each, through one network only; returns the same number of crops.

        Neither the face detector nor the mask detector is used.
        """
        return self._run(Direction(direction), crops, [(0, seed)] * len(crops), batch_size)

    def _network(self, direction):
        network = getattr(self, direction.role)
        if network is None:
            raise ConfigError(
                f"this pipeline has no {direction.role}. Load one that does, or pass {direction.role}=... to it."
            )
        return network

    def _way(self, direction):
        self._network(direction)
        style = self.config.wear if direction is Direction.MASK else None
        return Way(RuleMasker(style) if style else None, partial(self._run, direction))

    @torch.inference_mode()
    def _run(self, direction, crops, owners, batch_size):
        """uint8 R×R×3 crops, each with its photo's number and seed, to uint8 R×R×3 translations."""
        network, out, draws = self._network(direction), [], {}
        if network.takes_noise:  # on the CPU, so that a seed gives the same fabric everywhere
            draws = {owner: torch.Generator().manual_seed(owner[1]) for owner in owners}
        for start in range(0, len(crops), batch_size):
            batch, noise = to_tensor(crops[start : start + batch_size]), []
            if draws:
                own = [draws[owner] for owner in owners[start : start + batch_size]]
                drawn = [network.draw_noise(1, *batch.shape[2:], draw) for draw in own]
                noise = [torch.cat(level) for level in zip(*drawn, strict=True)]
            made = self._backends.runner(direction.role, network, batch, noise)(batch, noise)
            out.extend(to_pixels(made))
        return out


def _check_channels(name, network):
    channels = [network.config.get(key, 3) for key in ("in_channels", "out_channels")] if network is not None else []
    if any(count != 3 for count in channels):
        raise ConfigError(f"the {name} maps {channels[0]} channels to {channels[1]}: it must map three to three.")
