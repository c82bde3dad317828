"""The base class of all maskhub networks: safetensors only, a stable name on disk, the papers' initialisation."""

from pathlib import Path

from maskhub.errors import CheckpointError, ConfigError, first_line
from maskhub.extras import large_import
from maskhub.hub_errors import SafeSaving
from maskhub.hub_files import HUB_OPTIONS, hub_folder
from maskhub.models.stored import check_finite, check_stored, utf8_path

with large_import():
    import torch
    from diffusers import ConfigMixin, ModelMixin
    from torch import nn

__all__ = ["PADDING_MODES", "Network", "check_multiple", "check_range", "choose", "norm_layer", "upsampler"]

PADDING_MODES = {"reflect": "reflect", "zero": "zeros"}
"""A configuration's padding → torch's name of it."""


class Network(SafeSaving, ModelMixin, ConfigMixin):
    """``ModelMixin`` and ``ConfigMixin`` of diffusers, without the fallback to pickled weights.

    Subclasses are exported from the package root, and diffusers records that module name in a pipeline's
    ``model_index.json``: a class can move to another file without breaking saved pipelines.
    """

    config_name = "config.json"
    translates = False
    """Whether ``forward`` maps images to images of the same size, as a masker or unmasker does."""
    outputs = ("translated",)
    """Names of what ``forward`` returns, in its ONNX graph."""
    takes_noise = False
    """Whether ``forward`` accepts a ``generator`` for the noise it draws."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__module__ = "maskhub"

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """Load from a folder or a Hub id; arguments as in ``diffusers.ModelMixin``, safetensors only.

        Raises:
            CheckpointError: ``config.json`` or safetensors are missing, the configuration is out of bounds, or the
                weights don't match it or aren't finite.
        """
        what = f"no {cls.__name__} could be loaded from {pretrained_model_name_or_path}"
        hub = {name: kwargs.pop(name) for name in HUB_OPTIONS if name in kwargs}
        folder, subfolder = Path(pretrained_model_name_or_path).expanduser(), kwargs.pop("subfolder", None) or ""
        if not folder.is_dir():
            if folder.is_absolute() or len(folder.parts) != 2:
                raise CheckpointError(f"{what}: there is no such folder, and a Hub id has the form user/name.")
            files = [(Path(subfolder) / name).as_posix() for name in ("config.json", "*.safetensors")]
            folder = hub_folder(str(pretrained_model_name_or_path), what, files, **hub)
        try:
            check_stored(cls, folder / subfolder, kwargs.get("variant"))
            with utf8_path(folder / subfolder) as readable:
                network = super().from_pretrained(readable, **{**kwargs, "use_safetensors": True})
                network.register_to_config(_name_or_path=str(folder / subfolder))
        except CheckpointError as error:
            raise CheckpointError(f"{what}: {error}") from error
        except Exception as error:  # diffusers and safetensors raise errors of many types
            raise CheckpointError(f"{what}: {first_line(error)}.") from error
        check_finite(network.state_dict(), pretrained_model_name_or_path)
        return network

    def fitted(self, config):
        """This network adapted to another configuration of its class by additional layers, if the class can do that."""
        return self

    def init_weights(self, std=0.02):
        """Initialise convolution weights from N(0, ``std``), norm gains from N(1, ``std``) and every bias with 0."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                nn.init.normal_(module.weight, 0.0, std)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, std)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def choose(kind, value, options):
    """Return ``options[value]``; raise :class:`ConfigError` naming the options otherwise."""
    if value not in options:
        raise ConfigError(f"{kind} is {value!r}; it must be one of {', '.join(map(repr, options))}.")
    return options[value]


def check_range(kind, value, low, high):
    """Raise :class:`ConfigError` unless ``value`` is between ``low`` and ``high``."""
    if not low <= value <= high:
        raise ConfigError(f"{kind} is {value!r}; it must be from {low} to {high}.")


def norm_layer(norm):
    """The norm called ``"instance"`` (no gain, no statistics, as in CycleGAN), ``"batch"`` or ``"none"``: a function
    that makes the layer for a channel count, and whether a convolution before it needs its own bias."""
    return choose(
        "norm",
        norm,
        {
            "instance": (lambda channels: nn.InstanceNorm2d(channels, affine=False, track_running_stats=False), True),
            "batch": (nn.BatchNorm2d, False),
            "none": (lambda channels: nn.Identity(), True),
        },
    )


def upsampler(upsampling, kernel):
    """A function of the channels before and after, and of the bias, that makes the layers that double the resolution:
    a ``"transposed"`` convolution of this kernel, or ``"resize"``: nearest neighbour, then a 3×3 convolution."""

    def layers(before, after, bias):
        if upsampling == "resize":
            return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1, bias=bias)]
        return [nn.ConvTranspose2d(before, after, kernel, 2, padding=1, output_padding=kernel % 2, bias=bias)]

    return layers


def check_multiple(images: torch.Tensor, multiple: int, channels: int, at_least: int | None = None):
    """Raise :class:`ConfigError` unless ``images`` is N×channels×H×W with H and W multiples of ``multiple``.

    ``at_least`` is the smallest side, by default twice ``multiple``.
    """
    at_least = at_least or 2 * multiple
    if images.ndim != 4 or images.shape[1] != channels:
        raise ConfigError(f"expected images of shape N×{channels}×H×W, got {'×'.join(map(str, images.shape))}.")
    height, width = images.shape[2:]
    if height % multiple or width % multiple or min(height, width) < at_least:
        raise ConfigError(
            f"images are {height}×{width}: height and width must be multiples of {multiple}, at least {at_least}. "
            "Resize or pad them first."
        )
