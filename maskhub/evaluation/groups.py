"""Figures by group, to show gaps between groups of people.

grouped(rows, ["gender", "group"])             # {"gender": {"female": [0, 2], ...}, ...}
by_group(rows, ["gender"], lambda numbers: {"": {"mean": mean_figure(scores[numbers])}}, warnings)
"""

from maskhub.errors import ConfigError

__all__ = ["FEW", "by_group", "check_columns", "grouped"]

FEW = 30
"""Smaller groups are measured with a warning."""


def check_columns(rows, columns):
    """Raise :class:`ConfigError` for a column that no row has; the message lists those that exist."""
    known = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        if column not in known:
            there = f"there are {', '.join(known)}" if known else "there is no metadata at all"
            raise ConfigError(f"the photos have no metadata column {column!r} to group by: {there}.")


def grouped(rows, columns):
    """Column → value (as text, sorted) → numbers of the rows, dicts of metadata; rows without a value are in no group.
    ConfigError for a column that no row has."""
    check_columns(rows, columns)
    out = {}
    for column in columns:
        members = {}
        for number, row in enumerate(rows):
            value = row.get(column)
            if value is not None and value != "":
                members.setdefault(str(value), []).append(number)
        out[column] = dict(sorted(members.items()))
    return out


def by_group(rows, columns, measure, warnings):
    """Figures of each group of :func:`grouped` rows: column → value → what ``measure`` returned for its row numbers,
    something empty if it can't be measured. Warnings about small and empty groups are appended to ``warnings``."""
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
            out[column][value] = found
    return out
