"""Options shared by several measures."""

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
    """Split a comma-separated list of names; lists stay as they are. Repeated names count once."""
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
"""Several names, comma-separated on the command line."""
Source = Annotated[str, tyro.conf.arg(metavar="SOURCE")]
"""A folder, or ``user/dataset[/config][:split][@revision][#column]``."""
OptionalSource = Annotated[str | None, tyro.conf.arg(metavar="SOURCE")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
Model = Annotated[str | None, tyro.conf.arg(metavar="FOLDER|USER/NAME")]
"""A pipeline or weights: a folder, or a repository on the Hub."""
Way = Literal["mask", "unmask"]


class MeasureOptions(OptionSet):
    """Options of all measures."""

    groups: Names = ()
    """Metadata columns such as gender,group, for whose values figures are also given."""


class ModelOptions(MeasureOptions):
    """Options of measures that run a pipeline."""

    device: str = "auto"
    """cpu, cuda, mps, or auto for the best available."""


class PhotoOptions(ModelOptions):
    """Options of measures on sources of photos."""

    held_out: bool = False
    """Measure only the held-out tenth of each source, which --holdout excludes from training."""
    limit: Positive | None = None
    """Measure at most this many photos of each source."""

    @property
    def chosen(self):
        """Arguments of :class:`~maskhub.evaluation.sets.PictureSet`."""
        return {"held_out": self.held_out, "limit": self.limit}

    @property
    def split(self):
        """Name of the measured part of the photos, for the report."""
        return "held-out" if self.held_out else "all"
