"""What the options of several measures have in common."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import BeforeValidator

from maskhub.options import OptionSet, Positive

__all__ = [
    "Folder",
    "MeasureOptions",
    "Model",
    "Names",
    "OptionalSource",
    "PhotoOptions",
    "Source",
    "Way",
    "_split",
]


def _split(names):
    """The names of a list with commas; a list of names as it is. Repeated names count once."""
    names = names.split(",") if isinstance(names, str) else names
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_split),
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME,...",
        instance_from_str=lambda texts: _split(texts[0]),
        is_instance=lambda names: isinstance(names, tuple),
        str_from_instance=lambda names: [",".join(names)],
    ),
]
"""Several names, with commas on the command line."""
Source = Annotated[str, tyro.conf.arg(metavar="SOURCE")]
"""A folder, or ``user/dataset[/config][:split][@revision][#column]``."""
OptionalSource = Annotated[str | None, tyro.conf.arg(metavar="SOURCE")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
Model = Annotated[str | None, tyro.conf.arg(metavar="FOLDER|USER/NAME")]
"""A pipeline or a place of weights: a folder, or a repository on the Hub."""
Way = Literal["mask", "unmask"]


class MeasureOptions(OptionSet):
    """What every measure takes."""

    groups: Names = ()
    """Metadata columns such as gender,group: figures are also given for each of their values."""


class ModelOptions(MeasureOptions):
    """What measures that run a pipeline take."""

    device: str = "auto"
    """cpu, cuda, mps, or auto for the best available."""


class PhotoOptions(ModelOptions):
    """What measures on sources of photos take."""

    held_out: bool = False
    """Only the tenth of each source that is never trained on."""
    limit: Positive | None = None
    """At most so many photos of each source."""

    @property
    def chosen(self):
        """Arguments of :class:`~maskhub.evaluation.sets.PictureSet`."""
        return {"held_out": self.held_out, "limit": self.limit}

    @property
    def split(self):
        """What a report calls the part of the photos that was measured."""
        return "held-out" if self.held_out else "all"
