"""Put face masks on photos and take them off: detection, aligned crop, generator, and back into the photo.

    pipe = FaceMaskPipeline.bundled()
    masked = pipe.mask(photo)
    result = pipe.unmask([photo, other], details=True)     # .images, .regions, .crops, .translated, .boxes

Every pixel outside the returned region is the input's own, bit for bit.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from PIL import Image

from maskhub.errors import CheckpointError, ConfigError, NoFaceError, first_line
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.faces.photo import open_photo, rgb_profile, split_alpha
from maskhub.hub_errors import SafeSaving
from maskhub.masks.wear import wear
from maskhub.models.export import FILE, GRAPH, export_onnx
from maskhub.models.network import Network
from maskhub.pipelines.backends import Backends
from maskhub.pipelines.changed import changed_region, wider_for
from maskhub.pipelines.fetch import fetch_options, fetch_pipeline, model_name, with_variant
from maskhub.provenance import Provenance, mark

__all__ = ["FaceMaskOutput", "FaceMaskPipeline"]

BUNDLED = Path(__file__).parent.parent / "weights" / "light-256"


@dataclass
class FaceMaskOutput(BaseOutput):
    """What became of each photo; all are lists with one entry a photo.

    Attributes:
        images: ``PIL.Image``, of the photo's size; RGBA where the photo was.
        regions: float32 H×W in [0, 1]: the share of each pixel that was replaced; 0 is bit-identical.
        boxes: for each face, left, top, width, height in pixels of the (upright) photo.
        crops: for each face, the aligned crop that the generator saw, ``PIL.Image``.
        translated: for each face, what the generator made of it.
        matrices: for each face, the float64 2×3 similarity from the photo's pixels to the crop's.
        cycle_errors: for each face, mean |there and back - crop| in 8-bit units; ``None`` unless made by ``cycle``.
        there: the photos half-way, as ``images``; ``None`` unless made by ``cycle``.
    """

    images: list
    regions: list
    boxes: list
    crops: list
    translated: list
    matrices: list
    cycle_errors: list | None = None
    there: list | None = None


class FaceMaskPipeline(SafeSaving, DiffusionPipeline):
    """Translates the faces of whole photos between *unmasked* and *masked*.

    Args:
        masker: generator unmasked → masked (None: ``mask`` and ``cycle`` are not to be had).
        unmasker: generator masked → unmasked (None: likewise).
        resolution: side in pixels of the aligned crops that the generators are run on; their training resolution.
        wear: None, or the two-step method: a rule-based mask of this style (a name of :data:`maskhub.masks.STYLES`, or
            ``"random"``) is put on each face before the masker makes it look real.

    ``from_pretrained`` takes a folder or a Hub id, ``to`` a device and a dtype, as in every diffusers pipeline.
    """

    model_name = "unnamed"
    """In the provenance of its pictures: the Hub id or the folder's name that it was loaded from."""
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
        self.register_modules(masker=masker, unmasker=unmasker)
        self.register_to_config(resolution=resolution, wear=wear)
        self._backends = Backends()
        for network in (masker, unmasker):
            if network is not None:
                network.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *, backend="torch", **kwargs):
        """Load from a folder or a Hub id; arguments as in ``diffusers.DiffusionPipeline``, safetensors only.

        Where there are weights of the fp16 variant alone, these are taken, and computed with in float32.

        Args:
            backend: as in :meth:`use`.

        Raises:
            CheckpointError: nothing there, no right to it, or not a pipeline of maskhub. ConfigError: the backend.
        """
        import maskhub  # noqa: F401  diffusers resolves the components' classes only in a package already imported

        options = {"onnx": backend in ("auto", "onnxruntime"), **fetch_options(kwargs)}
        folder = fetch_pipeline(pretrained_model_name_or_path, kwargs.get("variant"), **options)
        kwargs = with_variant(folder, kwargs)
        try:
            pipeline = super().from_pretrained(folder, **{**kwargs, "use_safetensors": True})
        except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
            what = f"no pipeline could be loaded from {pretrained_model_name_or_path}"
            raise CheckpointError(f"{what}: {first_line(error)}.") from error
        pipeline.model_name, pipeline._folder = model_name(pretrained_model_name_or_path), folder
        return pipeline.use(backend)

    @classmethod
    def bundled(cls, dtype=torch.float32, backend="torch"):
        """The checkpoint that comes with the package, on the CPU; its ``README.md`` says what it can do."""
        return cls.from_pretrained(BUNDLED, variant="fp16", dtype=dtype, backend=backend)

    def use(self, backend="auto"):
        """Choose how the networks are run: a name of :data:`maskhub.pipelines.backends.BACKENDS`, or ``"auto"``.

        ``"auto"`` measures, with the first faces that come and for a second or two, what is at hand, and takes the
        fastest whose result is within 1/255 of ``"torch"`` in the mean; ``pipe.backends`` tells which. ``"torch"``, as
        after loading, gives the same bits in every run. The others hold copies of the weights: choose again where
        these have changed.

        Returns:
            the pipeline itself.

        Raises:
            ConfigError: no such backend.
        """
        self._backends = Backends(backend, self._folder)
        return self

    def export_onnx(self, folder, any_size=False, weights=True):
        """Write the pipeline to a folder with a ``model.onnx`` beside each network's weights, for ``"onnxruntime"``.

        The graphs are for crops of the pipeline's resolution, in batches of any length; with ``any_size`` for any H and
        W too, where the network allows it. Without ``weights`` it is a ``graph.onnx`` of some ten kilobytes, which
        takes those of the safetensors beside it.

        Returns:
            dict: ``"masker"`` and ``"unmasker"`` → the largest difference from torch, in [-1, 1].

        Raises:
            ConfigError: onnx and onnxscript are missing. CheckpointError: a network that can't be exported.
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
        """``"masker"`` and ``"unmasker"`` → the backend that each has been run by so far."""
        return dict(self._backends.chosen)

    def mask(self, photos, **options):
        """Put a mask on every face; see :meth:`__call__`."""
        return self(photos, direction="mask", **options)

    def unmask(self, photos, **options):
        """Take the mask off every face; see :meth:`__call__`."""
        return self(photos, direction="unmask", **options)

    def provenance(self, direction):
        """What is said of this pipeline's pictures: :class:`~maskhub.provenance.Provenance`."""
        return Provenance(direction, self.model_name)

    def __call__(
        self, photos, direction="mask", *, batch_size=8, on_no_face="raise", details=False, seed=0, provenance=True
    ):
        """Translate every face of one photo or of a list.

        Args:
            photos: a path, ``PIL.Image`` or uint8 array, or a list of them, of any size.
            direction: ``"mask"`` or ``"unmask"``.
            batch_size: crops that go through the generator together.
            on_no_face: ``"raise"``, or ``"keep"`` to hand a photo without a face back as it is.
            details: return a :class:`FaceMaskOutput` instead of the pictures alone.
            seed: of what is drawn at random: the rule-based mask that a two-step masker begins with, and the noise of
                a network that takes some. Without either it changes nothing. Each photo of a list draws its own of it;
                a list of seeds, one a photo, gives each what it would get alone.
            provenance: the pictures carry the tag of :meth:`provenance`, which ``picture.save`` writes into the file.

        Returns:
            ``PIL.Image`` for one photo, a list for a list; or :class:`FaceMaskOutput`.

        Raises:
            PhotoError: a photo that can't be read. ConfigError: an option. NoFaceError: a photo without a face, or,
                where masks are put on by rule first, without one that is seen clearly enough.
        """
        network = self._network(direction)
        single = not isinstance(photos, (list, tuple))
        scenes = self._scenes([photos] if single else photos, on_no_face, self._wears(direction), seed)
        translated = self._translated(network, scenes, batch_size)
        output = _finish(scenes, translated, self.provenance(direction) if provenance else None)
        return output if details else output.images[0] if single else output.images

    def cycle(self, photos, start="mask", *, batch_size=8, on_no_face="raise", details=False, seed=0, provenance=True):
        """Translate there and back again: ``start="mask"`` puts masks on and takes them off, ``"unmask"`` the reverse.

        Returns:
            as :meth:`__call__`; with ``details`` the output also has ``there`` and ``cycle_errors``.
        """
        there_network = self._network(start)
        back_network = self._network("unmask" if start == "mask" else "mask")
        single = not isinstance(photos, (list, tuple))
        scenes = self._scenes([photos] if single else photos, on_no_face, self._wears(start), seed)
        there_of = self._translated(there_network, scenes, batch_size)
        there = [crop for made in there_of for crop in made]
        back_of = _by_scene(scenes, self._translate(back_network, there, _given(scenes)[1], batch_size))
        tags = [self.provenance(direction) if provenance else None for direction in ("cycle", start)]
        output = _finish(scenes, back_of, tags[0])
        output.there = _finish(scenes, there_of, tags[1]).images
        output.cycle_errors = [
            [float(np.abs(b.astype(np.int16) - c).mean()) for b, c in zip(backs, scene.crops, strict=True)]
            for backs, scene in zip(back_of, scenes, strict=True)
        ]
        return output if details else output.images[0] if single else output.images

    def translate_crops(self, crops, direction="mask", *, batch_size=8, seed=0):
        """Run aligned crops, uint8 R×R×3 each, through one network and nothing else; as many come back.

        What follows faces from frame to frame (:mod:`maskhub.pipelines.live`) cuts out and pastes by itself.
        """
        return self._translate(self._network(direction), crops, [(0, seed)] * len(crops), batch_size)

    def _network(self, direction):
        if direction not in ("mask", "unmask"):
            raise ConfigError(f"the direction is {direction!r}; it must be 'mask' or 'unmask'.")
        network = self.masker if direction == "mask" else self.unmasker
        if network is None:
            raise ConfigError(
                f"this pipeline has no {direction}er: load one that has, or pass {direction}er=... to it."
            )
        return network

    def _wears(self, direction):
        return self.config.wear if direction == "mask" else None

    def _scenes(self, photos, on_no_face, wears, seed):
        if on_no_face not in ("raise", "keep"):
            raise ConfigError(f"on_no_face is {on_no_face!r}; it must be 'raise' or 'keep'.")
        scenes = []
        for number, (photo, own_seed) in enumerate(zip(photos, _seeds(seed, len(photos)), strict=True)):
            name = photo if isinstance(photo, (str, Path)) else f"photo {number}" if len(photos) > 1 else "the photo"
            opened = open_photo(photo)
            rgb, alpha = split_alpha(opened)
            pixels = np.asarray(rgb)
            faces = detect(pixels)
            if not faces and on_no_face == "raise":
                raise NoFaceError(
                    f"no face was found in {name}. Use a photo in which a face is at least 30 pixels wide."
                )
            matrices = [align.alignment(face, self.config.resolution) for face in faces]
            crops = [align.crop(pixels, matrix, self.config.resolution) for matrix in matrices]
            given = crops
            if wears:
                faces, matrices, crops, given = self._worn(pixels, faces, matrices, crops, wears, own_seed)
                if not faces and on_no_face == "raise":
                    raise NoFaceError(
                        f"no face of {name} is seen clearly enough to put a mask on it: they are covered, turned too "
                        "far or too small. Take another photo."
                    )
            scenes.append(_Scene(pixels, alpha, faces, matrices, crops, given, own_seed, rgb_profile(opened)))
        return scenes

    def _worn(self, pixels, faces, matrices, crops, style, seed):
        """The faces that could be given a mask by rule, each from the bare photo; another one is left as it is."""
        worn, side = [], self.config.resolution
        for number, (face, matrix, crop) in enumerate(zip(faces, matrices, crops, strict=True)):
            with suppress(NoFaceError):
                made = wear(pixels, face, style, seed + number).image
                given = align.crop(made, matrix, side)
                wider = wider_for(crop, given, matrix, pixels)
                if wider > 1:
                    matrix = align.alignment(face, side, wider)
                    crop, given = (align.crop(picture, matrix, side) for picture in (pixels, made))
                worn.append((face, matrix, crop, given))
        return [list(column) for column in zip(*worn, strict=True)] or [[], [], [], []]

    def _translated(self, network, scenes, batch_size):
        """The translations of each scene's faces; where one reaches out of its crop, that of a wider one."""
        made = _by_scene(scenes, self._translate(network, *_given(scenes), batch_size))
        again, side = [], self.config.resolution
        for number, scene in enumerate(scenes):
            # a mask put on by rule has its crop made to measure already
            for face, crop in enumerate(scene.crops if scene.given is scene.crops else []):
                wider = wider_for(crop, made[number][face], scene.matrices[face], scene.pixels)
                if wider > 1:
                    scene.matrices[face] = align.alignment(scene.faces[face], side, wider)
                    scene.crops[face] = align.crop(scene.pixels, scene.matrices[face], side)
                    again.append((number, face))
        crops = [scenes[number].crops[face] for number, face in again]
        owners = [(number, scenes[number].seed) for number, _ in again]
        for (number, face), crop in zip(again, self._translate(network, crops, owners, batch_size), strict=True):
            made[number][face] = crop
        return made

    @torch.inference_mode()
    def _translate(self, network, crops, owners, batch_size):
        """uint8 R×R×3 crops, each with its photo's number and seed, to uint8 R×R×3 translations."""
        out, draws = [], {}
        if network.takes_noise:  # on the CPU, so that a seed gives the same fabric everywhere
            draws = {owner: torch.Generator().manual_seed(owner[1]) for owner in owners}
        role = "masker" if network is self.masker else "unmasker"
        for start in range(0, len(crops), batch_size):
            batch = torch.from_numpy(np.stack(crops[start : start + batch_size])).permute(0, 3, 1, 2)
            batch = batch.contiguous() / 127.5 - 1
            noise = []
            if draws:
                own = [draws[owner] for owner in owners[start : start + batch_size]]
                drawn = [network.draw_noise(1, *batch.shape[2:], draw) for draw in own]
                noise = [torch.cat(level) for level in zip(*drawn, strict=True)]
            made = self._backends.runner(role, network, batch, noise)(batch, noise)
            made = (made.clamp(-1, 1) + 1) * 127.5
            out.extend(made.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
        return out


@dataclass
class _Scene:
    pixels: np.ndarray
    alpha: Image.Image | None
    faces: list
    matrices: list
    crops: list
    given: list
    """What the generator is given: the crops, or the crops with a mask put on by rule."""
    seed: int
    profile: bytes | None = None


def _seeds(seed, count):
    """One seed a photo; the first one's is ``seed`` itself, so that a list of one is what the photo is alone."""
    if not isinstance(seed, (list, tuple)):
        drawn = [np.random.SeedSequence([seed, number]).generate_state(1)[0] for number in range(1, count)]
        return [seed, *map(int, drawn)][:count]
    if len(seed) != count:
        raise ConfigError(f"there are {len(seed)} seeds for {count} photos: give one a photo, or one for all.")
    return seed


def _given(scenes):
    """What the generator is given of all scenes, and for each the number of its scene and its seed."""
    owners = [(number, scene.seed) for number, scene in enumerate(scenes) for _ in scene.given]
    return [crop for scene in scenes for crop in scene.given], owners


def _by_scene(scenes, crops):
    """What comes in one row, a list for each scene."""
    crops = iter(crops)
    return [[next(crops) for _ in scene.crops] for scene in scenes]


def _finish(scenes, translations, tag=None):
    """Paste the translated crops of each scene, largest face last so that it lies over its neighbours."""
    images, regions = [], []
    for scene, translated in zip(scenes, translations, strict=True):
        pixels = scene.pixels
        region = np.zeros(pixels.shape[:2], np.float32)
        for crop, made, matrix in reversed(list(zip(scene.crops, translated, scene.matrices, strict=True))):
            pixels, pasted = align.paste(pixels, made, changed_region(crop, made, matrix, pixels), matrix)
            region = np.maximum(region, pasted)
        image = Image.fromarray(pixels)
        if scene.alpha is not None:
            image.putalpha(scene.alpha)
        if scene.profile:
            image.info["icc_profile"] = scene.profile
        images.append(mark(image, tag if scene.faces else None))
        regions.append(region)
    return FaceMaskOutput(
        images=images,
        regions=regions,
        boxes=[[face.box for face in scene.faces] for scene in scenes],
        crops=[[Image.fromarray(crop) for crop in scene.crops] for scene in scenes],
        translated=[[Image.fromarray(made) for made in translated] for translated in translations],
        matrices=[scene.matrices for scene in scenes],
    )
