"""``maskhub evaluate``: a command for each measure, ``report`` and ``card``."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from maskhub.commands.photos import Input
from maskhub.errors import ConfigError
from maskhub.evaluation.measures import MEASURES, load

__all__ = ["card", "commands", "report"]

Reports = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="REPORT.json ...")]


def commands(name=None):
    """All commands by name. Only the measure ``name`` can be run: the options of the others are not imported."""
    measures = {key: _command(key) if key == name else _listed(question) for key, question in MEASURES.items()}
    return measures | {"report": report, "card": card}


def _command(name):
    module = load(name)

    def run(
        options: Annotated[module.Options, tyro.conf.arg(name="")],
        output: Annotated[Path, tyro.conf.arg(metavar="REPORT.json")] = Path(f"{name}.json"),
    ) -> int:
        from maskhub.evaluation.report import check_place
        from maskhub.evaluation.words import report_text

        check_place(output)
        found = module.measure(options)
        found.save(output)
        print(report_text(found))
        for warning in found.warnings:
            print(f"note: {warning}", file=sys.stderr)
        print(f"wrote {output}" + (f" and {output.with_suffix('.csv')}" if found.table else ""))
        return 0

    run.__doc__ = (
        f"{module.Options.__doc__.strip()}\n\nArgs:\n    output: The report; thumbnails and tables go next to it."
    )
    return run


def _listed(question):
    def run() -> int:
        raise NotImplementedError

    run.__doc__ = question
    return run


def report(
    reports: Reports, /, output: Annotated[Path, tyro.conf.arg(metavar="PAGE.html")] = Path("report.html")
) -> int:
    """Make an HTML page with tables, curves and pictures from reports.

    Args:
        reports: JSON files written by `maskhub evaluate`.
        output: The page, a single self-contained file.
    """
    from maskhub.evaluation.page import report_page

    _check_reports(reports)
    report_page(reports, output)
    print(f"wrote {output}")
    return 0


def card(folder: Input, reports: Reports, /) -> int:
    """Write the figures of reports into a pipeline folder's model card.

    Args:
        folder: The pipeline folder, such as RUN/pipeline; its README.md gets a model-index and a table.
        reports: JSON files written by `maskhub evaluate`.
    """
    from maskhub.evaluation.card import write_card
    from maskhub.evaluation.report import Report

    _check_reports(reports)
    count = write_card(folder, [Report.load(path) for path in reports])
    print(f"wrote {count} figures into {folder / 'README.md'}")
    return 0


def _check_reports(reports):
    if not reports:
        raise ConfigError("give at least one report, a JSON file written by `maskhub evaluate`.")
