"""Options shared by several measures."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from maskhub.errors import ConfigError
from maskhub.evaluation.sets import PictureSet
from maskhub.options import COMMAS, OptionSet, Positive, flag
from maskhub.pipelines.load import OnDevice

__all__ = [
    "Folder", "MeasureOptions", "Model", "Names", "OptionalSource", "PhotoOptions", "SideOptions", "Source", "Way",
]  # fmt: skip


Names = Annotated[tuple[str, ...], *COMMAS]
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
    """Metadata columns such as gender,group, for whose values figures are also given; COLUMN:EDGE:EDGE... for ranges of
    numbers, as in yaw:15:30:45. A missing yaw is measured."""


class ModelOptions(MeasureOptions, OnDevice):
    """Options of measures that run a pipeline."""


class PhotoOptions(ModelOptions):
    """Options of measures on sources of photos."""

    held_out: bool = False
    """Measure only the held-out tenth of each source, which --holdout excludes from training."""
    limit: Positive | None = None
    """Measure at most this many photos of each source."""

    def pictures(self, spec, title, translate=None):
        """The :class:`~maskhub.evaluation.sets.PictureSet` of a source, with a progress bar of this title."""
        return PictureSet(
            spec, held_out=self.held_out, limit=self.limit, translate=translate, title=title, groups=self.groups
        )

    @property
    def settings(self):
        """The measured part of the photos, for the report."""
        return {"split": "held-out" if self.held_out else "all", "limit": self.limit}


class SideOptions(PhotoOptions):
    """Options of measures that take unmasked and masked photos, at least one of them."""

    unmasked: OptionalSource = None
    """Folder or Hub dataset of unmasked faces."""
    masked: OptionalSource = None
    """Folder or Hub dataset of masked faces."""

    def sides(self, *others):
        """Name → :class:`~maskhub.evaluation.sets.PictureSet` of ``unmasked``, ``masked`` and ``others``, of those that
        are given; ConfigError if none is."""
        names = ("unmasked", "masked", *others)
        specs = {name: getattr(self, name) for name in names if getattr(self, name)}
        if not specs:
            raise ConfigError(f"nothing to measure: give {' or '.join(map(flag, names))}.")
        return {name: self.pictures(spec, name) for name, spec in specs.items()}
