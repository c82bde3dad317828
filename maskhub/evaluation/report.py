"""Reports of measures. JSON file, page, terminal and model card are made from the same structure.

    report = Report("pairs", {"made": {"psnr": Figure(21.5, (20, 23), 40, unit="dB", better="high")}}, n=40)
    report.save("pairs.json")
    Report.load("pairs.json") == report

The JSON file has the same fields. Thumbnails are next to it in ``<name>-pictures/``, values of single items in
``<name>.csv``. Figures without a row are at the top level of ``figures``.
"""

import json
import math
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import maskhub
from maskhub.data.tables import table_text
from maskhub.errors import ConfigError, SourceError
from maskhub.files import remove_folder, write_file, written_folder
from maskhub.image_file import data_url
from maskhub.json_file import read_json

__all__ = ["Curve", "Figure", "Gallery", "Item", "Report", "check_place"]

FORMAT = 2
_OLD_DETAILS = re.compile(r"σ$|median$|percentile$|(same|different) mean$|FAR met|presence$|masked before$|^rounds$")
_OLD_NAMES = {
    "masks": {
        "masked": "mask_detected",
        "unmasked": "no_mask_detected",
        "presence": "mask_presence",
        "masked before": "mask_detected_before",
    }
}
"""Names of figures in reports without a ``format``, by measure, and their names now."""


@dataclass(frozen=True)
class Figure:
    """One number, or None if it could not be measured.

    Attributes:
        interval: bounds of its 95 % interval; None without a value.
        n: number of items it was measured on.
        better: whether high or low values are better; empty if neither.
        title: title shown instead of its name, such as ``"FID"``.
        network: network it was measured with.
        detail: shown on pages and in files, but not in model cards.
    """

    value: float | None
    interval: tuple | None = None
    n: int | None = None
    unit: str = ""
    better: Literal["", "high", "low"] = ""
    title: str = ""
    network: str = ""
    detail: bool = False

    def __post_init__(self):
        set_ = object.__setattr__
        set_(self, "value", None if self.value is None or not math.isfinite(self.value) else float(self.value))
        known = self.value is not None and self.interval is not None
        known = known and all(end is not None and math.isfinite(end) for end in self.interval)
        set_(self, "interval", tuple(map(float, self.interval)) if known else None)
        set_(self, "n", None if self.n is None else int(self.n))


@dataclass(frozen=True)
class Item:
    """A photo in a gallery with its score, or one that could not be measured with the reason; and a JPEG thumbnail."""

    name: str
    score: float | None = None
    reason: str = ""
    picture: bytes | None = field(default=None, repr=False)

    @property
    def data_url(self):
        """The thumbnail as source of an ``<img>``; empty without one."""
        return data_url(self.picture) if self.picture else ""


@dataclass(frozen=True)
class Gallery:
    """Thumbnails under a title."""

    title: str
    items: list


@dataclass(frozen=True)
class Curve:
    """A plot: titles of the plot and its axes, and name → list of ``[x, y]``. The lines named in ``bars`` are drawn
    as bars; x and y are then whole numbers."""

    title: str
    x: str
    y: str
    lines: dict
    bars: list = field(default_factory=list)


@dataclass
class Report:
    """The results of one run of a measure.

    Attributes:
        measure: its name in :data:`maskhub.evaluation.measures.MEASURES`.
        rows: row → name → :class:`Figure`; the row ``""`` has the figures without a row.
        n: number of measured items; None in some reports of earlier versions.
        photos: source of the photos.
        about: what the figures mean, in one or two sentences.
        settings: the settings needed to repeat the measurement.
        groups: column → value → rows, as ``rows``.
        baselines: rows that are not of the model.
        warnings: reasons why figures may be unreliable.
        curves, galleries: lists of :class:`Curve` and :class:`Gallery`.
        failures: an :class:`Item` for each item that could not be measured.
        table: a dict for each item, saved as CSV; not read back.
        version: version of maskhub.
    """

    measure: str
    rows: dict
    n: int | None
    photos: str = ""
    about: str = ""
    settings: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)
    baselines: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    curves: list = field(default_factory=list)
    galleries: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    table: list = field(default_factory=list, compare=False, repr=False)
    version: str = maskhub.__version__

    def __post_init__(self):
        self.settings = _plain(self.settings)
        self.warnings = list(dict.fromkeys(self.warnings))
        self.curves = [replace(c, lines=_plain(c.lines)) for c in self.curves]

    @property
    def title(self):
        """Measure and direction, as in ``masks unmask``."""
        return " ".join(filter(None, (self.measure, self.settings.get("direction"))))

    def figures(self):
        """``(row, name, Figure)`` of all rows."""
        return [(row, name, figure) for row, figures in self.rows.items() for name, figure in figures.items()]

    def save(self, path):
        """Write the JSON file, thumbnails and table, replacing those of an earlier report.

        Raises:
            ConfigError: there is such a table or folder, but not of a report.
            WriteError: it could not be written.
        """
        check_place(path)
        path, thumbnails = Path(path), {}
        table, folder = _beside(path)

        def entry(item):
            out = {key: value for key, value in vars(item).items() if key != "picture" and value not in (None, "")}
            if item.picture:
                out["picture"] = f"{folder.name}/{len(thumbnails):04d}.jpg"
                thumbnails[Path(out["picture"]).name] = item.picture
            return out

        data = {
            "measure": self.measure, "maskhub": self.version, "format": FORMAT, "n": self.n, "photos": self.photos,
            "about": self.about, "settings": self.settings, "figures": _rows_to_json(self.rows),
            "groups": {
                column: {value: _rows_to_json(rows) for value, rows in values.items()}
                for column, values in self.groups.items()
            },
            "baselines": self.baselines, "warnings": self.warnings, "curves": [vars(curve) for curve in self.curves],
            "galleries": [{"title": g.title, "items": [entry(item) for item in g.items]} for g in self.galleries],
            "failures": [entry(item) for item in self.failures],
        }  # fmt: skip
        # first, since it says that the table and the folder are a report's
        write_file(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        if self.table:
            write_file(table, table_text(self.table, ".csv"))
        if thumbnails:
            with written_folder(folder) as temporary:
                for name, picture in thumbnails.items():
                    (temporary / name).write_bytes(picture)
        elif folder.exists():
            remove_folder(folder)

    @classmethod
    def load(cls, path):
        """Read a report of this version or of an earlier one, which has no ``format``.

        Raises:
            SourceError: no such file, or not a report.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"{path} can't be read as a report ({reason}).") from error
        needed = ("measure", "maskhub", "settings", "figures", "groups", "warnings")
        missing = [key for key in needed if key not in data] if isinstance(data, dict) else needed
        if missing:
            raise SourceError(f"{path} is not a report of maskhub: it has no {', '.join(missing)}.")
        try:
            return cls._from_json(data if "format" in data else _upgraded(data), path.parent)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{path} is a damaged report of maskhub ({type(error).__name__}: {error}).") from error

    @classmethod
    def _from_json(cls, data, folder):
        groups = {
            column: {value: _rows_from_json(rows) for value, rows in values.items()}
            for column, values in data["groups"].items()
        }
        return cls(
            data["measure"], _rows_from_json(data["figures"]), data["n"], data["photos"], data.get("about", ""),
            data["settings"], groups, data["baselines"], data["warnings"],
            [Curve(**curve) for curve in data.get("curves", ())],
            [Gallery(g["title"], [_item(item, folder) for item in g["items"]]) for g in data.get("galleries", ())],
            [_item(item, folder) for item in data.get("failures", ())],
            version=data["maskhub"],
        )  # fmt: skip


def check_place(path):
    """ConfigError if a report can't be saved at this path, because its table or the folder of its thumbnails would
    replace others than those of an earlier report."""
    path = Path(path)
    if path.suffix == ".csv":
        raise ConfigError(f"{path} can't be a report, which is a JSON file: give a name such as {path.stem}.json.")
    if "figures" in (read_json(path) or {}):
        return
    for other in _beside(path):
        if other.exists():
            raise ConfigError(
                f"the report {path} would replace {other}, which does not belong to an earlier report: give another "
                "--output."
            )


def _beside(path):
    """Where a report's table and thumbnails are."""
    return path.with_suffix(".csv"), path.with_name(f"{path.stem}-pictures")


def _rows_to_json(rows):
    defaults = {entry.name: entry.default for entry in fields(Figure)}
    out = {}
    for row, figures in rows.items():
        plain = {
            name: {k: v for k, v in vars(figure).items() if k == "value" or v != defaults[k]}
            for name, figure in figures.items()
        }
        out |= {row: plain} if row else plain
    return out


def _rows_from_json(data):
    rows = {}
    for name, entry in data.items():
        if "value" in entry:
            rows.setdefault("", {})[name] = Figure(**entry)
        else:
            rows[name] = {key: Figure(**figure) for key, figure in entry.items()}
    return rows


def _item(data, folder):
    picture, path = None, folder / data.get("picture", "")
    if path.resolve().is_relative_to(folder.resolve()) and path.is_file():  # may be copied without pictures
        picture = path.read_bytes()
    return Item(data["name"], data.get("score"), data.get("reason", ""), picture)


def _upgraded(data):
    """Convert a report without a ``format`` to this version."""
    renamed, settings = _OLD_NAMES.get(data["measure"], {}), data["settings"]

    def figures(old):
        out = {}
        for name, entry in old.items():
            if isinstance(entry, dict) and "value" not in entry:
                out[name] = figures(entry)
                continue
            entry = dict(entry) if isinstance(entry, dict) else {"value": entry}
            entry["title"] = entry.pop("called", "")
            out[renamed.get(name, name)] = entry | {"detail": bool(_OLD_DETAILS.search(name))}
        return out

    photos = settings.get("dataset") or settings.get("real") or settings.get("photos") or "photos"
    counts = (settings.get(key) for key in ("n", "pairs_measured", "n_generated"))
    return data | {
        "figures": figures(data["figures"]),
        "groups": {c: {v: figures(old) for v, old in values.items()} for c, values in data["groups"].items()},
        "baselines": settings.get("baselines", []),
        "photos": ", ".join(photos) if isinstance(photos, list) else photos,
        "n": next((count for count in counts if count is not None), None),
    }


def _plain(value):
    """Convert values for JSON, which has no infinity, NaN or numpy numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
