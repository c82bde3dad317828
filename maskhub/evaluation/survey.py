"""The survey: which pictures people took for real, in an SQLite file, and how often each model deceived them.

    survey = Survey()                                      # MASKHUB_HOME, by default ~/.local/share/maskhub
    survey.record(visit, seed, quiz, said, model, photos)
    survey.figures()                                       # shares with their intervals, by model and direction
    survey.scores().curve()                                # how many rounds had each score, and the mean

It follows the survey of the CycleGAN study: 22 pictures a round, and the distribution of scores as in its figure 12.
The intervals of shares treat answers as independent, although those of one person are not, so they are too narrow with
few visitors.
"""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.intervals import mean_figure, share_figure
from maskhub.evaluation.report import Curve, Figure
from maskhub.home import home_folder

__all__ = ["COLUMNS", "Scores", "Survey", "default_path"]

COLUMNS = (
    "visit", "number", "picture", "real", "masked", "direction", "model", "photos", "seed", "said_real", "answered",
)  # fmt: skip
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    visit TEXT NOT NULL, number INTEGER NOT NULL, picture TEXT NOT NULL, real INTEGER NOT NULL,
    masked INTEGER NOT NULL, direction TEXT NOT NULL, model TEXT NOT NULL, photos TEXT NOT NULL, seed INTEGER NOT NULL,
    said_real INTEGER NOT NULL, answered TEXT NOT NULL, PRIMARY KEY (visit, number)) WITHOUT ROWID"""


def default_path():
    """``survey.sqlite`` in :func:`~maskhub.home.home_folder`. On a Space it survives restarts if MASKHUB_HOME is a
    folder of the storage bucket, such as ``/data``."""
    return home_folder() / "survey.sqlite"


@dataclass(frozen=True)
class Scores:
    """How many answers of each round of ``questions`` were right: ``counts`` of rounds with 0, 1, … right answers, and
    the ``mean`` score as a :class:`~maskhub.evaluation.report.Figure`, whose n is the number of rounds."""

    questions: int
    counts: tuple
    mean: Figure

    def curve(self):
        """The distribution as bars, with the mean as an upright line."""
        top = max(self.counts, default=0)
        lines = {"rounds": [[score, count] for score, count in enumerate(self.counts)]}
        if self.mean.value is not None:
            lines[f"mean {self.mean.value:.2f}"] = [[self.mean.value, 0], [self.mean.value, top]]
        return Curve("Scores of all rounds", f"right answers of {self.questions}", "rounds", lines, ["rounds"])


class Survey:
    """The answers of all visitors in the file at ``path``, created at the first one; :func:`default_path` by default.
    Several processes may use it at once. It stores only answers, their time to the hour, and a random id per round;
    nothing about the visitor."""

    def __init__(self, path=None):
        self.path = Path(path) if path else default_path()

    def record(self, visit, seed, questions, said_real, model, photos):
        """Store the answers of a complete round; storing a round again changes nothing. ConfigError if an answer is
        missing, or the file can't be written to.

        Args:
            visit, seed: random id and seed of the round.
            questions: :class:`~maskhub.evaluation.quiz.Question`, or anything with its key, real, masked and direction.
            said_real: for each question, whether the visitor took it for real.
            model, photos: names of the pipeline and of the source of photos.
        """
        if len(said_real) != len(questions):
            raise ConfigError(f"{len(said_real)} answers to {len(questions)} questions.")
        hour = datetime.now(UTC).strftime("%Y-%m-%dT%H:00Z")
        rows = [
            (visit, number, q.key, int(q.real), int(q.masked), q.direction, model, photos, seed, int(said), hour)
            for number, (q, said) in enumerate(zip(questions, said_real, strict=True))
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=20)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                with connection:
                    connection.execute(_TABLE)
                    marks = ", ".join("?" * len(COLUMNS))
                    connection.executemany(f"INSERT OR IGNORE INTO answers VALUES ({marks})", rows)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"the answers could not be stored in {self.path}: {error}. Set MASKHUB_HOME.") from error

    def rows(self):
        """All answers as dicts of :data:`COLUMNS`, sorted by round; SourceError if the file is not a survey."""
        if not self.path.exists():
            return []
        try:
            with closing(sqlite3.connect(self.path, timeout=20)) as connection:
                found = connection.execute(
                    f"SELECT {', '.join(COLUMNS)} FROM answers ORDER BY visit, number"
                ).fetchall()
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return []
            raise SourceError(f"{self.path} can't be read as a survey: {error}.") from error
        return [dict(zip(COLUMNS, row, strict=True)) for row in found]

    def figures(self, rows=None):
        """The figures of rows from :meth:`rows`, by default all, as name → :class:`~maskhub.evaluation.report.Figure`.

        ``taken for real`` is the share of generated pictures that visitors took for real, over all and for each
        ``model, direction``; ``real doubted`` the share of real ones taken for generated; ``right`` the share of right
        answers; ``rounds`` their number.
        """
        rows = self.rows() if rows is None else rows
        made, real = [row for row in rows if not row["real"]], [row for row in rows if row["real"]]
        out = {"taken for real": _share(made, lambda row: row["said_real"], better="high")}
        for model, direction in sorted({(row["model"], row["direction"]) for row in made}):
            own = [row for row in made if (row["model"], row["direction"]) == (model, direction)]
            out[f"taken for real: {model}, {direction}"] = _share(own, lambda row: row["said_real"], better="high")
        out["real doubted"] = _share(real, lambda row: not row["said_real"])
        out["right"] = _share(rows, lambda row: row["said_real"] == row["real"])
        return out | {"rounds": Figure(len({row["visit"] for row in rows}), detail=True)}

    def scores(self, rows=None):
        """The :class:`Scores` of all rounds, or of ``rows``; shorter rounds than the longest are left out."""
        rows = self.rows() if rows is None else rows
        asked = Counter(row["visit"] for row in rows)
        right = Counter(row["visit"] for row in rows if row["said_real"] == row["real"])
        questions = max(asked.values(), default=0)
        scores = [right[visit] for visit, count in asked.items() if count == questions]
        counts = Counter(scores)
        return Scores(questions, tuple(counts[score] for score in range(questions + 1)), mean_figure(scores))


def _share(rows, hit, **details):
    return share_figure(sum(bool(hit(row)) for row in rows), len(rows), **details)
