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
    """The commands by name. Only the measure ``name`` can be run; the others are listed without their options, which
    would have to be imported.
    """
    measures = {key: _command(key) if key == name else _listed(question) for key, question in MEASURES.items()}
    return measures | {"report": report, "card": card}


def _command(name):
    module = load(name)

    def run(
        options: Annotated[module.Options, tyro.conf.arg(name="")],
        output: Annotated[Path, tyro.conf.arg(metavar="REPORT.json")] = Path(f"{name}.json"),
    ) -> int:
        from maskhub.evaluation.words import report_text

        found = module.measure(options)
        found.save(output)
        print(report_text(found))
        for warning in found.warnings:
            print(f"note: {warning}", file=sys.stderr)
        print(f"wrote {output}" + (f" and {output.with_suffix('.csv')}" if found.table else ""))
        return 0

    run.__doc__ = (
        f"{module.Options.__doc__.strip()}\n\nArgs:\n    output: The report; thumbnails and tables go beside it."
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
    """Make one readable page, pictures and all, of reports.

    Args:
        reports: JSON files that `maskhub evaluate` wrote.
        output: The page, one file that needs no other.
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
        reports: JSON files that `maskhub evaluate` wrote.
    """
    from maskhub.evaluation.card import write_card
    from maskhub.evaluation.report import Report

    _check_reports(reports)
    count = write_card(folder, [Report.load(path) for path in reports])
    print(f"wrote {count} figures into {folder / 'README.md'}")
    return 0


def _check_reports(reports):
    if not reports:
        raise ConfigError("give at least one report, a JSON file that `maskhub evaluate` wrote.")
