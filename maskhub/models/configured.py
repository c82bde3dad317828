"""Bounds of network configurations, declared once as types in the constructors' signatures.

    class ResnetGenerator(Network):
        @configured
        def __init__(self, width: Width = 64, blocks: Blocks = 9, norm: Norm = "instance"): ...

Configurations may come from strangers; a network of a billion blocks must be rejected before it is built.
"""

import functools
import inspect
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, create_model

from maskhub.options import OptionSet, Rate

__all__ = [
    "Blocks", "Channels", "Configuration", "Deviation", "Flag", "Label", "Latent", "Norm", "Padding", "Rate",
    "Upsampling", "Whole", "Width", "Widths", "configured",
]  # fmt: skip


def Whole(low, high, multiple=None):  # noqa: N802 (it stands for a type)
    """A whole number between two bounds, inclusive."""
    return Annotated[int, Field(strict=True, ge=low, le=high, multiple_of=multiple)]


Width = Whole(1, 1024)
"""Base channel count of a network."""
Widths = Annotated[tuple[Whole(1, 16384), ...], Field(max_length=16)]
"""Channel counts of several layers."""
Blocks = Whole(0, 64)
Channels = Whole(1, 64)
"""Of images."""
Latent = Whole(1, 4096)
"""Size of the noise vector of one image."""
Deviation = Annotated[float, Field(strict=True, ge=0, le=100)]
"""Of noise."""
Flag = Annotated[bool, Field(strict=True)]
Label = Annotated[str, Field(strict=True, min_length=1, max_length=100)]
Norm = Literal["instance", "batch", "none"]
Padding = Literal["reflect", "zero"]
Upsampling = Literal["transposed", "resize"]


class Configuration(OptionSet):
    """Base of options that have the same names in Python and in ``config.json``."""

    model_config = ConfigDict(use_attribute_docstrings=False)

    @classmethod
    def shown(cls, name):
        return name


def configured(init):
    """Like diffusers' ``register_to_config``, but only for values within the bounds of the signature's types.

    Raises (when the network is constructed):
        ConfigError: a value of the wrong type or out of bounds.
    """
    from diffusers.configuration_utils import register_to_config  # the types above are used without torch

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
