"""Metadata tables as CSV and JSON lines, written so that spreadsheets do not run formulas in them.

A text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a new line is a formula to a spreadsheet, and a
formula can start programs. In CSV such a cell gets an apostrophe in front, and such a file name ``./`` (loaders find
the same file); numbers are unchanged. JSON lines are not changed, since they are not opened as spreadsheets.
"""

import csv
import io
import json
import math
import re
from itertools import chain
from pathlib import Path, PurePosixPath

from maskhub.data.folder import FILE_NAME, ORIGINAL_NAME, free_names
from maskhub.errors import ConfigError, SourceError, first_line
from maskhub.files import commit, prepare_file

__all__ = [
    "CASTS", "FAILURES", "METADATA", "csv_text", "failures_text", "is_number", "metadata_names", "metadata_tables",
    "named_otherwise", "narrowest", "plain_text", "read_table", "table_text", "write_imagefolder",
]  # fmt: skip

METADATA = ("metadata.csv", "metadata.jsonl")
"""The names of an imagefolder's tables."""
FAILURES = "failures.csv"
"""The name of the table of failed photos, beside the results."""
_WHOLE = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
_NO_TEXT = {
    "true", "false", "null", "none", "nil", "na", "n/a", "<na>", "#na", "#n/a", "#n/a n/a", "nan", "-nan", "nat",
    "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
}  # fmt: skip
"""What loaders may take for a truth value or a missing one, in lower case; ``float`` reads infinities."""

csv.field_size_limit(2**31 - 1)  # Python's limit of 131,072 characters is too low for the boxes of a crowd


def read_table(path):
    """The rows of a metadata file as dicts; cells of CSV are text. SourceError if it can't be read or is no table."""
    try:
        if path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8-sig") as file:
                rows = [{key: value for key, value in row.items() if key is not None} for row in csv.DictReader(file)]
        else:
            with open(path, encoding="utf-8") as file:
                rows = [json.loads(line) for line in file if line.strip()]
    except (ValueError, csv.Error, OSError, RecursionError) as error:
        raise SourceError(f"{path} can't be read as metadata ({first_line(error)}).") from error
    if not all(isinstance(row, dict) for row in rows):
        raise SourceError(f"{path} can't be read as metadata (a line is not a JSON object).")
    return rows


def table_text(rows, suffix):
    """Rows (dicts) as the text of a metadata file: CSV, with lists and dicts as JSON, or JSON lines."""
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in map(_plain, rows))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return csv_text(columns, ([row.get(column) for column in columns] for row in rows))


def write_imagefolder(folder, rows, files):
    """Write :class:`~maskhub.files.Prepared` files, and ``metadata.csv`` with ``rows``. ConfigError if the folder holds
    the table of another data set, WriteError if it can't be written to."""
    home, table = Path(folder) / METADATA[0], table_text(rows, ".csv")
    if home.exists() and home.read_bytes() != table.encode():
        raise ConfigError(f"{home} belongs to another data set: choose an empty folder.")

    def prepared():
        yield from files
        yield prepare_file(home, table)

    commit(prepared())


def metadata_names(columns, from_folder):
    """Names for a source's columns in an imagefolder's table: dict of old → new. ``file_name`` is the table's own,
    ``image`` the loader's, and ``*_file_name`` names a further picture, which only a folder that was loaded as an
    imagefolder before has."""
    names = free_names(columns, [FILE_NAME, "image"])
    if from_folder:
        return names
    linked = {name: f"{new}_" for name, new in names.items() if new.endswith(("file_name", "file_names"))}
    return names | linked


def metadata_tables(added, rows, columns, from_folder):
    """The metadata files of a folder of results, path → text: one of the same kind for each one of the source, or
    ``metadata.csv`` at the top; JSON lines if loaders would guess different types for several CSV. ``added`` is path of
    each result → dict of its new columns, the same for all; ``rows`` is path → its
    :class:`~maskhub.data.rows.Row`, whose columns are kept; the rest as for :func:`metadata_names`."""
    names, homes = metadata_names(columns, from_folder), {}
    for target, more in added.items():
        row = rows[target]
        new = free_names(more, names.values())
        line = {FILE_NAME: str(PurePosixPath(target).relative_to(PurePosixPath(row.home).parent))}
        line |= {names[key]: value for key, value in row.columns.items()} | named_otherwise(row, target)
        homes.setdefault(row.home, []).append(line | {new[key]: value for key, value in more.items()})
    return {home: table_text(lines, PurePosixPath(home).suffix) for home, lines in _alike(homes).items()}


def _alike(homes):
    """Tables, path → rows, that loaders take together: they guess the types of each CSV, and refuse splits whose types
    differ. Tables whose types may differ become JSON lines, in which each column has one type and no row lacks one.
    There, loaders take dates for times, and refuse a column of dates in one split and of other text in another."""
    columns = list(dict.fromkeys(key for lines in homes.values() for line in lines for key in line))
    parts = {key: [[line.get(key) for line in lines] for lines in homes.values()] for key in columns}
    guessed = {key: {_guessed(part) for part in parts[key]} for key in columns}
    alike = all(len(kinds) == 1 and None not in kinds for kinds in guessed.values())
    if len(homes) == 1 or alike or not all(home.endswith(".csv") for home in homes):
        return homes
    casts = {key: _cast(key, parts[key]) for key in columns}
    tables = {}
    for home, lines in homes.items():
        typed = [{key: casts[key](line.get(key)) for key in columns} for line in lines]
        tables[PurePosixPath(home).with_suffix(".jsonl").as_posix()] = typed
    return tables


def _cast(key, parts):
    """A function that gives the values of a column, of which each table has a part, the narrowest type of all."""
    filled = [[value for value in part if value not in (None, "")] for part in parts]
    named = key in (FILE_NAME, ORIGINAL_NAME)
    # a table without any value would have no type: there, the empty text has one
    kind = narrowest(list(chain.from_iterable(filled))) if all(filled) and not named else "string"
    empty = "" if kind == "string" else None
    return lambda value: empty if value in (None, "") else CASTS[kind](value)


def _guessed(values):
    """The type that loaders guess for a column of CSV; None if it is not plain, since they take ``NA`` for a missing
    value, ``true`` for no text and large whole numbers for text."""
    texts = ["" if value is None else str(value) for value in values]
    filled = list(filter(None, texts))
    if not filled:
        return "nothing"
    if any(map(_is_plain_text, filled)):
        return "text"
    if not all(_NUMBER.fullmatch(text) and _survives(text) for text in filled):
        return None
    return "integer" if all(_INTEGER.fullmatch(text) for text in texts) else "number"


def _is_plain_text(text):
    """Whether no loader takes a text for a number, a truth value or a missing one."""
    try:
        float(text)
    except ValueError:
        return text.strip().lower() not in _NO_TEXT
    return False


def narrowest(values):
    """The narrowest of int64, float64 and string that holds these values, since CSV only has text. Values that don't
    survive the conversion, such as 007, are text."""
    if not values or any(isinstance(value, (dict, list, bool)) for value in values):
        return "string"
    texts = [str(value) for value in values]
    if all(_WHOLE.fullmatch(text) and _survives(text) for text in texts):
        return "int64"
    return "float64" if all(_DECIMAL.fullmatch(text) and _is_float(text) for text in texts) else "string"


def _survives(text):
    """Whether a number remains what it is: one that is not whole must be finite, a whole one an int64."""
    if not _INTEGER.fullmatch(text):
        return math.isfinite(float(text))
    return len(text) <= 20 and abs(int(text)) < 2**63  # Python refuses to convert thousands of digits


def _is_float(text):
    """Whether a number is a finite float64, a whole one without rounding."""
    return abs(float(text)) <= 2**53 if _WHOLE.fullmatch(text) else math.isfinite(float(text))


def named_otherwise(row, target):
    """The column ``original_name`` for a :class:`~maskhub.data.folder_rows.Row` whose result has another file name
    than its photo; else an empty dict."""
    same = row.original is None or row.original == PurePosixPath(target).name
    return {} if same else {ORIGINAL_NAME: row.original}


def csv_text(columns, rows):
    """A header and rows (sequences) as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_harmless(column) for column in columns])
    writer.writerows([_cell(column, value) for column, value in zip(columns, row, strict=True)] for row in rows)
    return text.getvalue()


def failures_text(failures):
    """Pairs of file and reason as the text of :data:`FAILURES`; None without failures: then there is no such table."""
    return csv_text(["file_name", "reason"], failures) if failures else None


def plain_text(value):
    """A text without lone surrogates, which are allowed in JSON but not in UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _text(value):
    return plain_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


CASTS = {"int64": int, "float64": float, "string": _text}
"""From the name of a type to the function that converts a value."""


def is_number(text):
    """Whether a text is a decimal number."""
    return bool(_NUMBER.fullmatch(text))


def _plain(row):
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
        return row
    except UnicodeEncodeError:
        return json.loads(json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "replace"))


def _cell(column, value):
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False, default=str)
    harmless = _harmless(value)
    if column in (FILE_NAME, ORIGINAL_NAME) and isinstance(value, str) and harmless[:1] == "'" != value[:1]:
        return f"./{harmless[1:]}"
    return harmless


def _harmless(value):
    if not isinstance(value, str):
        return value
    # a lone carriage return would be written without quotes, and end the line
    value = plain_text(value).replace("\r\n", "\n").replace("\r", "\n")
    if value[:1] in ("=", "@", "\t", "\n") or (value[:1] in ("+", "-") and len(value) > 1 and not is_number(value)):
        return f"'{value}"
    return value
