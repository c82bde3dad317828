"""Reports as a self-contained HTML page with tables, curves and thumbnails."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from maskhub.errors import ConfigError
from maskhub.evaluation.plot import drawings
from maskhub.evaluation.report import Report
from maskhub.evaluation.words import number, words
from maskhub.files import write_file
from maskhub.source_spec import public_name

__all__ = ["report_page"]

HERE = Path(__file__).parent
MOST_FAILURES = 40
PARTS = {"_inside": "inside the region", "_outside": "outside the region"}


@dataclass(frozen=True)
class Table:
    """Rows of figures. ``columns`` maps names to figures with their units; the title replaces the names' ``suffix``."""

    title: str
    suffix: str
    columns: dict
    rows: dict


def report_page(paths, output, title="What maskhub measured"):
    """Write the page of JSON reports, whose thumbnails are next to them; returns its text. SourceError if a report
    can't be read, WriteError if the page can't be written."""
    if not paths:
        raise ConfigError("a page needs at least one report.")
    reports = [(path, Report.load(path)) for path in map(Path, paths)]
    text = _template().render(
        title=title,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        reports=[(_heading(report, path), report) for path, report in reports],
        most_failures=MOST_FAILURES,
    )
    write_file(output, text)
    return text


@cache
def _template():
    """The page's template, which takes a tenth of a second to compile."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": number, "words": words, "setting": _setting, "stem": lambda name: Path(name).stem,
        "photos": _photos, "tables": _tables, "group_tables": _group_tables, "drawings": drawings,
    }  # fmt: skip
    return environment.get_template("page.html.j2")


def _heading(report, path):
    measure = report.title.capitalize()
    return measure if path.stem == report.measure else f"{measure} · {path.stem}"


def _tables(rows):
    """Named rows as tables: one, or three if there are figures for the whole picture, inside and outside."""
    rows = {name: figures for name, figures in rows.items() if name}
    columns = {name: figure for figures in reversed(rows.values()) for name, figure in figures.items()}
    columns = {name: columns[name] for figures in rows.values() for name in figures}
    tables = []
    for suffix, title in {"": "whole picture", **PARTS}.items():
        part = {c: f for c, f in columns.items() if suffix == next((end for end in PARTS if c.endswith(end)), "")}
        if part:
            title = title if len(part) < len(columns) else ""
            cells = {name: {c: figures.get(c) for c in part} for name, figures in rows.items()}
            tables.append(Table(title, suffix if title else "", part, cells))
    return tables


def _group_tables(values):
    """The rows of all values of a column."""
    return _tables(
        {
            f"{value} · {row}" if row else value: figures
            for value, rows in values.items()
            for row, figures in rows.items()
        }
    )


def _photos(specs):
    return ", ".join(map(public_name, specs.split(", ")))


def _setting(value):
    if isinstance(value, list):
        return ", ".join(map(_setting, value)) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_setting(entry)}" for key, entry in value.items()) or "–"
    return "–" if value is None else str(value)
