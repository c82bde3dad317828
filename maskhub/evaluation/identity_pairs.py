"""Pairs of photos of the same or of different people, as verification benchmarks list them.

``pairs.csv`` is in the folder of the photos::

    fold,first,second,same
    1,Abel_Pacheco_0001.jpg,Abel_Pacheco_0004.jpg,1
    1,Robert_Downey_Jr_0001.jpg,Tommy_Shane_Steiner_0001.jpg,0

``first`` and ``second`` are paths within the folder, ``same`` is 1 or 0. ``fold`` is a whole number; without
this column, pairs are assigned to five folds in turn. No person should be in two folds, since thresholds and directions
come from the other folds. All other columns are the pair's metadata, as are columns of the folder's ``metadata.csv``
that have the same value for both photos.
"""

import csv
import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskhub.data.rows import open_rows
from maskhub.errors import ConfigError, SourceError

__all__ = ["IdentityPair", "read_pairs", "some_pairs"]

FOLDS = 5


@dataclass(frozen=True)
class IdentityPair:
    """Two photos as paths within the folder, whether they show the same person, the fold and the metadata."""

    first: str
    second: str
    same: bool
    fold: int
    columns: dict = field(default_factory=dict)


def read_pairs(folder, file=None):
    """The :class:`IdentityPair` s of a folder, listed in ``file`` or its ``pairs.csv``. SourceError if the list is
    missing, lacks a column, or has a line with a wrong value or a photo that isn't there."""
    folder = Path(folder).expanduser()
    path = Path(file).expanduser() if file is not None else folder / "pairs.csv"
    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            f"the pairs {path} can't be read ({getattr(error, 'strerror', None) or error}): "
            "give a CSV file with the columns first, second, same."
        ) from error
    missing = [column for column in ("first", "second", "same") if not rows or column not in rows[0]]
    if missing:
        raise SourceError(f"the pairs {path} have no {'row' if not rows else 'column ' + missing[0]}.")
    of_photo = _photo_columns(folder)
    pairs, there = [], {}
    for number, row in enumerate(rows):
        where = f"{path}, line {number + 2}"
        if row["same"] not in ("0", "1"):
            raise SourceError(f"{where}: same is {row['same']!r}; it must be 1 or 0.")
        fold = row.get("fold") or str(number % FOLDS + 1)
        if not fold.isdigit():
            raise SourceError(f"{where}: fold is {fold!r}; it must be a whole number.")
        for name in (row["first"], row["second"]):
            if name not in there:
                there[name] = bool(name) and (folder / name).is_file()
            if not there[name]:
                raise SourceError(f"{where}: there is no photo {name!r} in {folder}.")
        one, other = of_photo.get(row["first"], {}), of_photo.get(row["second"], {})
        columns = {key: value for key, value in one.items() if value == other.get(key)}
        columns |= {key: value for key, value in row.items() if key not in ("fold", "first", "second", "same", None)}
        pairs.append(IdentityPair(row["first"], row["second"], row["same"] == "1", int(fold), columns))
    return pairs


def some_pairs(pairs, count, seed=0):
    """Draw at most ``count`` pairs (None: all) by the seed, balanced over folds and kinds; ConfigError below 4."""
    if count is None or count >= len(pairs):
        return list(pairs)
    if count < 4:
        raise ConfigError(f"the number of pairs is {count}; it must be at least 4.")
    rng, strata = np.random.default_rng(seed), {}
    for number, pair in enumerate(pairs):
        strata.setdefault((pair.fold, pair.same), []).append(number)
    shuffled = [[strata[key][i] for i in rng.permutation(len(strata[key]))] for key in sorted(strata)]
    turns = (number for row in itertools.zip_longest(*shuffled) for number in row if number is not None)
    return [pairs[number] for number in sorted(itertools.islice(turns, count))]


def _photo_columns(folder):
    """The folder's metadata by photo; empty if it only has the names of sub-folders."""
    rows = open_rows(folder)
    return {} if rows.labelled else {row.name: row.columns for row in rows}
