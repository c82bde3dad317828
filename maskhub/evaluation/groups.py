"""Figures by group, to show gaps between groups of people.

grouped(rows, ["gender", "group"])             # {"gender": {"female": [0, 2], ...}, ...}
by_group(rows, ["gender"], lambda numbers: {"": {"mean": mean_figure(scores[numbers])}}, warnings)
Bins.of("yaw:15:30").value({"yaw": "-21.5"})   # "15 to 30"
"""

import bisect
import math
import re
from dataclasses import dataclass

from maskhub.errors import ConfigError
from maskhub.evaluation.intervals import difference_figure

__all__ = ["FEW", "GAP", "Bins", "by_group", "check_columns", "grouped"]

FEW = 30
"""Smaller groups are measured with a warning."""
GAP = "gap to the others"
"""Row of a group: its figures minus those of all other groups of its column together."""


@dataclass(frozen=True)
class Bins:
    """Ranges of a column of numbers, whose sign is ignored; ``spec`` is COLUMN:EDGE:EDGE..., as in ``yaw:15:30:45``."""

    spec: str
    column: str
    edges: tuple

    @classmethod
    def of(cls, spec):
        """Parse a spec; ConfigError if the edges are not positive ascending numbers."""
        column, *texts = spec.split(":")
        try:
            edges = tuple(map(float, texts))
        except ValueError:
            edges = ()
        if not edges or any(not low < high < math.inf for low, high in zip((0, *edges), edges, strict=False)):
            raise ConfigError(
                f"the groups {spec!r} are not COLUMN:EDGE:EDGE..., with ascending numbers above 0, as in yaw:15:30:45."
            )
        return cls(spec, column, edges)

    def value(self, columns):
        """The range of a row, such as ``15 to 30``; empty if the column has no number."""
        try:
            size = abs(float(columns.get(self.column)))
        except (TypeError, ValueError):
            size = math.nan
        if math.isnan(size):
            return ""
        place = bisect.bisect_right(self.edges, size)
        low, *above = [f"{edge:g}" for edge in (0, *self.edges)[place : place + 2]]
        return f"{low} to {above[0]}" if above else f"{low} and more"


def check_columns(rows, columns):
    """Raise :class:`ConfigError` for a column that no row has; the message lists those that exist."""
    known = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        if column not in known:
            there = f"there are {', '.join(known)}" if known else "there is no metadata at all"
            raise ConfigError(f"the photos have no metadata column {column!r} to group by: {there}.")


def grouped(rows, columns):
    """Column → value (as text, sorted, numbers by size) → numbers of the rows, dicts of metadata; rows without a value
    are in no group. ConfigError for a column that no row has."""
    check_columns(rows, columns)
    out = {}
    for column in columns:
        members = {}
        for number, row in enumerate(rows):
            value = row.get(column)
            if value is not None and value != "":
                members.setdefault(str(value), []).append(number)
        out[column] = {value: members[value] for value in sorted(members, key=_natural)}
    return out


def by_group(rows, columns, measure, warnings):
    """Figures of each group of :func:`grouped` rows: column → value → what ``measure`` returned for its row numbers,
    something empty if it can't be measured, and rows named :data:`GAP`. Warnings about small and empty groups are
    appended to ``warnings``."""
    out = {}
    for column, members in grouped(rows, columns).items():
        out[column] = {}
        if not members:
            warnings.append(f"no photo has a value in the column {column}, so there are no figures by it.")
        for value, numbers in members.items():
            found = measure(numbers)
            if not found:
                warnings.append(f"the group {column} = {value} is too small to be measured and is left out.")
                continue
            if len(numbers) < FEW:
                warnings.append(
                    f"the group {column} = {value} has only {len(numbers)} items: its figures are unreliable."
                )
            others = sorted(number for key, those in members.items() if key != value for number in those)
            out[column][value] = found | _gaps(found, measure(others) if others else {})
    return out


def _gaps(found, others):
    """The row :data:`GAP` of each row, with those figures of which high or low is better."""
    out = {}
    for row, figures in found.items():
        known = others.get(row, {})
        gaps = {name: difference_figure(f, known[name]) for name, f in figures.items() if f.better and name in known}
        if gaps := {name: gap for name, gap in gaps.items() if gap.value is not None}:
            out[f"{row}, {GAP}" if row else GAP] = gaps
    return out


def _natural(text):
    """A sort key that puts ``3-9`` before ``10-19``."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text)]
