"""How often visitors of the Quiz tab took generated pictures for real."""

from pathlib import Path
from typing import Annotated

import tyro

from maskhub.errors import SourceError
from maskhub.evaluation.groups import by_group
from maskhub.evaluation.options import MeasureOptions
from maskhub.evaluation.report import Report
from maskhub.evaluation.survey import Survey

__all__ = ["Options", "measure"]

FEW = 20
ABOUT = (
    "How often visitors could tell generated pictures from photos: the share of generated pictures that they took for "
    "real, and of real ones that they doubted; the score is the number of right answers in a round."
)


class Options(MeasureOptions):
    """Measure how often visitors of the Quiz tab took generated pictures for real; all answers go to a CSV file.

    Figures are by model and direction; --groups takes photos, model, direction or masked.
    """

    database: Annotated[Path | None, tyro.conf.arg(metavar="FILE.sqlite")] = None
    """File of the answers; default: survey.sqlite in MASKHUB_HOME (~/.local/share/maskhub)."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`."""
    survey = Survey(options.database)
    rows = survey.rows()
    if not rows:
        raise SourceError(f"there are no answers in {survey.path} yet.")
    figures, scores = survey.figures(rows), survey.scores(rows)
    figures["score"] = scores.mean
    rounds = int(figures["rounds"].value)
    warnings = ["The intervals treat answers as independent, although those of one visitor are not."]
    if rounds < FEW:
        warnings.append(f"only {rounds} rounds were played: the figures are unreliable.")
    photos = sorted({row["photos"] for row in rows})
    return Report(
        "survey",
        {"": figures},
        len(rows),
        ", ".join(photos),
        ABOUT,
        {"photos": photos, "interval": "Wilson 95 %"},
        by_group(rows, options.groups, lambda numbers: {"": survey.figures([rows[n] for n in numbers])}, warnings),
        warnings=warnings,
        curves=[scores.curve()],
        table=rows,
    )
