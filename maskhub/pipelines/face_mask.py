"""Put face masks on photos and remove them: detection, aligned crop, generator, and back into the photo.

    pipe = FaceMaskPipeline.bundled()
    masked = pipe.mask(photo)
    result = pipe.unmask([photo, other], details=True)     # .images, .regions, .faces, .crops, .translated, .boxes
    mixed = pipe(photo, direction="auto")                  # removes masks where worn, adds them elsewhere

Every pixel outside the returned region is bit-identical to the input.
"""

import json
from pathlib import Path

import torch

import maskhub
from maskhub.direction import ROLES
from maskhub.errors import ConfigError
from maskhub.extras import large_import
from maskhub.files import write_file
from maskhub.hub_errors import SafeSaving
from maskhub.models.export import export_onnx
from maskhub.models.int8 import export_int8
from maskhub.models.network import Network
from maskhub.models.onnx_file import FILE, GRAPH, INT8
from maskhub.pipelines.backends import Backends
from maskhub.pipelines.crop_graph import FOLDER as ONNX
from maskhub.pipelines.crop_graph import export_crop_graph
from maskhub.pipelines.fetch import (
    check_index,
    fetch_options,
    fetch_pipeline,
    load_errors,
    model_name,
    with_variant,
)
from maskhub.pipelines.photo_batch import FaceMaskOutput
from maskhub.pipelines.photo_pipeline import BUNDLED, PhotoPipeline, Settings
from maskhub.pipelines.remote_code import code_files, with_code
from maskhub.tensors import to_array, to_pixels, to_tensor

with large_import():
    from diffusers import DiffusionPipeline

__all__ = ["FaceMaskOutput", "FaceMaskPipeline"]


class FaceMaskPipeline(SafeSaving, PhotoPipeline, DiffusionPipeline):
    """Translates the faces of whole photos between *unmasked* and *masked*.

    Args:
        masker, unmasker: generators unmasked → masked and the reverse; without one, the methods that need it raise an
            error. Without a masker, ``wear`` draws the masks.
        resolution: side in pixels of the generators' aligned crops; their training resolution.
        wear: None, or the style of the masks that are drawn by rule (a name in :data:`maskhub.masks.STYLES`, or
            ``"random"``). With a masker that is the two-step method: it then makes the drawn mask look real.

    ``from_pretrained`` takes a folder or a Hub id, ``to`` a device and a dtype, as in every diffusers pipeline.
    """

    _folder = None
    model_cpu_offload_seq = "masker->unmasker"
    _optional_components = [*ROLES]  # noqa: RUF012 (diffusers reads the class attribute)

    def __init__(
        self,
        masker: Network | None = None,
        unmasker: Network | None = None,
        resolution: int = 256,
        wear: str | None = None,
    ):
        super().__init__()
        Settings(resolution=resolution, wear=wear)
        self.register_modules(masker=masker, unmasker=unmasker)
        self.register_to_config(resolution=resolution, wear=wear)
        self._backends = Backends()
        for role, network in self._networks().items():
            _check_channels(role, network)
            network.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *, backend="torch", **kwargs):
        """Load from a folder or a Hub id; arguments as in ``diffusers.ModelMixin`` for each network, of the
        constructor, and of :meth:`use`. Safetensors only; no code from the folder is run.

        If only the fp16 variant exists, it is loaded and converted to float32.

        Raises:
            CheckpointError: nothing there, no access, or not a maskhub pipeline. ConfigError: an unknown backend, or a
                revision of a pipeline that isn't on the Hub.
        """
        options = {"onnx": backend in ("auto", "onnxruntime"), **fetch_options(kwargs)}
        folder = fetch_pipeline(pretrained_model_name_or_path, kwargs.get("variant"), **options)
        kwargs = with_variant(folder, kwargs)
        own = {name: kwargs.pop(name) for name in (*ROLES, "resolution", "wear") if name in kwargs}
        with load_errors(pretrained_model_name_or_path):
            parts = dict.fromkeys(ROLES, lambda network: network.translates)
            settings, there = check_index(folder, cls.__name__, Settings, parts)
            # not diffusers' loader, which would run code from the folder
            networks = {
                role: getattr(maskhub, kind).from_pretrained(folder / role, **kwargs)
                for role, kind in there.items()
                if role not in own
            }
            pipeline = cls(**{**networks, **settings.model_dump(), **own})
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

    def save_config(self, save_directory, **options):
        """Write ``model_index.json``, and the lines of code of :mod:`maskhub.pipelines.remote_code`."""
        super().save_config(save_directory, **options)
        for name, text in code_files(self.config).items():
            write_file(Path(save_directory) / name, text)

    def to_json_string(self):
        """The text of ``model_index.json``."""
        return json.dumps(with_code(json.loads(super().to_json_string())), indent=2, sort_keys=True) + "\n"

    def export_onnx(self, folder, any_size=False, weights=True):
        """Write the pipeline to a folder with a ``model.onnx`` next to each network's weights, for ``"onnxruntime"``.

        The graphs are made for crops of the pipeline's resolution and batches of any size; with ``any_size`` for any H
        and W too, if the network allows it. Without ``weights`` a ``graph.onnx`` of about ten kilobytes is written,
        which uses the safetensors next to it. Returns ``"masker"`` and ``"unmasker"`` → largest difference from torch,
        in [-1, 1].

        Raises:
            ConfigError: onnx or onnxscript is missing. CheckpointError: a network that can't be exported.
        """
        file, options = FILE if weights else GRAPH, {"any_size": any_size, "weights": weights}
        made = {
            role: export_onnx(network, Path(folder) / role / file, self.config.resolution, **options)
            for role, network in self._networks().items()
        }
        self.save_pretrained(folder)
        return made

    def export_int8(self, folder, bare, masked):
        """Write the pipeline to a folder with a ``graph-int8.onnx`` next to each network's weights, for
        ``"onnxruntime-int8"``.

        Args:
            bare, masked: aligned crops, uint8 R×R×3 each, of faces without and with masks, for calibration.

        Returns:
            dict: ``"masker"`` and ``"unmasker"`` → what :func:`~maskhub.models.int8.export_int8` returns.

        Raises:
            MissingExtraError: onnx or onnxscript is missing. CheckpointError: a network that can't be exported.
        """
        made, side, draws = {}, self.config.resolution, torch.Generator().manual_seed(0)
        for role, network in self._networks().items():
            crops = bare if role == "masker" and not self.config.wear else masked
            noise = network.draw_noise(1, side, side, draws) if network.takes_noise else []
            levels = [level.numpy() for level in noise]
            made[role] = export_int8(network, Path(folder) / role / INT8, to_array(crops), levels)
        self.save_pretrained(folder)
        return made

    def export_crop_graphs(self, folder):
        """Write ``onnx/masker.onnx`` and ``onnx/unmasker.onnx`` into a folder, for programs in other languages: see
        :mod:`maskhub.pipelines.crop_graph`.

        Returns:
            dict: path → largest difference from torch, of 255.

        Raises:
            MissingExtraError: onnx or onnxscript is missing. CheckpointError: a network that can't be exported.
        """
        paths = {Path(folder) / ONNX / f"{role}.onnx": network for role, network in self._networks().items()}
        return {path: export_crop_graph(network, path, self.config.resolution) for path, network in paths.items()}

    def add_onnx(self, folder):
        """Write all ONNX files that make a saved pipeline run anywhere: a ``graph.onnx`` next to each network's
        weights, for :class:`~maskhub.pipelines.onnx_face_mask.OnnxFaceMaskPipeline`, and :meth:`export_crop_graphs`."""
        for role, network in self._networks().items():
            export_onnx(network, Path(folder) / role / GRAPH, self.config.resolution, weights=False)
        self.export_crop_graphs(folder)

    def _networks(self):
        """Role → network, for those that the pipeline has."""
        return {role: network for role in ROLES if (network := getattr(self, role)) is not None}

    @property
    def backends(self):
        """``"masker"`` and ``"unmasker"`` → the backend that each has used so far."""
        return dict(self._backends.chosen)

    @torch.inference_mode()
    def run(self, direction, crops, owners, batch_size):  # described in PhotoPipeline
        network, out, draws = self.network(direction), [], {}
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


def _check_channels(role, network):
    channels = [network.config.get(key, 3) for key in ("in_channels", "out_channels")]
    if channels != [3, 3]:
        raise ConfigError(f"the {role} maps {channels[0]} channels to {channels[1]}: it must map three to three.")
