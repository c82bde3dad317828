"""Bounds of networks' configurations, declared once: as types in the signatures of their constructors.

    class ResnetGenerator(Network):
        @configured
        def __init__(self, width: Width = 64, blocks: Blocks = 9, norm: Norm = "instance"): ...

Configurations come from strangers too, and a network of a billion blocks must not be begun.
"""

import functools
import inspect
from typing import Annotated, Literal

from diffusers.configuration_utils import register_to_config
from pydantic import ConfigDict, Field, create_model

from maskhub.options import OptionSet, Rate

__all__ = [
    "Blocks", "Channels", "Configuration", "Deviation", "Flag", "Label", "Latent", "Norm", "Padding", "Rate",
    "Upsampling", "Whole", "Width", "Widths", "configured",
]  # fmt: skip


def Whole(low, high, multiple=None):  # noqa: N802 (it stands for a type)
    """A whole number between two bounds, both of them allowed."""
    return Annotated[int, Field(strict=True, ge=low, le=high, multiple_of=multiple)]


Width = Whole(1, 1024)
"""Channels of a layer from which those of others follow."""
Widths = Annotated[tuple[Whole(1, 16384), ...], Field(max_length=16)]
"""Of several layers."""
Blocks = Whole(0, 64)
Channels = Whole(1, 64)
"""Of images."""
Latent = Whole(1, 4096)
"""Random numbers a picture."""
Deviation = Annotated[float, Field(strict=True, ge=0, le=100)]
"""Of noise."""
Flag = Annotated[bool, Field(strict=True)]
Label = Annotated[str, Field(strict=True, min_length=1, max_length=100)]
Norm = Literal["instance", "batch", "none"]
Padding = Literal["reflect", "zero"]
Upsampling = Literal["transposed", "resize"]


class Configuration(OptionSet):
    """Base of options that are named as in Python and in ``config.json``."""

    model_config = ConfigDict(use_attribute_docstrings=False)

    @classmethod
    def shown(cls, name):
        return name


def configured(init):
    """As diffusers' ``register_to_config``, for values within the bounds of the signature's types alone.

    Raises (when the network is made):
        ConfigError: a value of another type, or out of bounds.
    """
    parameters = list(inspect.signature(init).parameters.values())[1:]
    bounds = create_model(
        "Configuration", __base__=Configuration, **{p.name: (p.annotation, p.default) for p in parameters}
    )
    registered = register_to_config(init)

    @functools.wraps(init)
    def checked(self, *args, **values):
        values = dict(zip((p.name for p in parameters), args, strict=False)) | values
        bounds(**{name: value for name, value in values.items() if not name.startswith("_")})
        registered(self, **values)

    return checked
