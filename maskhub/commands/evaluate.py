"""``maskhub evaluate report | card``: what is made of reports. The measures have files of their own."""

from pathlib import Path
from typing import Annotated

import tyro

from maskhub.commands.photos import Input

__all__ = ["card", "report"]

Reports = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="REPORT.json ...")]
Report = Annotated[Path, tyro.conf.arg(metavar="REPORT.json")]


def report(
    reports: Reports, /, output: Annotated[Path, tyro.conf.arg(metavar="PAGE.html")] = Path("report.html")
) -> int:
    """Make one readable page, pictures and all, of reports.

    Args:
        reports: JSON files that `maskhub evaluate` wrote.
        output: The page, one file that needs no other.
    """
    from maskhub.evaluation.page import report_page

    report_page(reports, output)
    print(f"wrote {output}")
    return 0


def card(folder: Input, reports: Reports, /) -> int:
    """Write the figures of reports into a pipeline folder's model card.

    Args:
        folder: The pipeline folder, such as RUN/pipeline; its README.md gets a model-index and a table.
        reports: JSON files that `maskhub evaluate` wrote.
    """
    from maskhub.evaluation.report import card_with_results, read_report

    count = card_with_results(folder, [read_report(path) for path in reports])
    print(f"wrote {count} figures into {folder / 'README.md'}")
    return 0
