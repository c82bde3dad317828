"""The survey: what people took for real, in one SQLite file, and how often each model fooled them.

    survey = Survey()                                      # MASKHUB_HOME, by default ~/.local/share/maskhub
    survey.record(visit, seed, quiz, said, model, photos)
    survey.figures()                                       # share fooled with its interval, by model and direction

As in the two-step method's study of real and made faces. The intervals treat answers as independent, and those of one
person are not: with few visitors the truth is less sure than they say.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.intervals import share_figure
from maskhub.evaluation.report import Figure
from maskhub.home import home_folder

__all__ = ["COLUMNS", "Survey", "default_path"]

COLUMNS = (
    "visit", "number", "picture", "real", "masked", "direction", "model", "photos", "seed", "said_real", "answered",
)  # fmt: skip
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    visit TEXT NOT NULL, number INTEGER NOT NULL, picture TEXT NOT NULL, real INTEGER NOT NULL,
    masked INTEGER NOT NULL, direction TEXT NOT NULL, model TEXT NOT NULL, photos TEXT NOT NULL, seed INTEGER NOT NULL,
    said_real INTEGER NOT NULL, answered TEXT NOT NULL, PRIMARY KEY (visit, number)) WITHOUT ROWID"""


def default_path():
    """``survey.sqlite`` in :func:`~maskhub.home.home_folder`.

    A Space keeps it over restarts where MASKHUB_HOME names a folder of its storage bucket, such as ``/data``.
    """
    return home_folder() / "survey.sqlite"


class Survey:
    """The answers of all visitors; several processes may use one file at once.

    Nothing is kept of a visitor but answers, their time to the hour, and a random number that holds a round together.

    Args:
        path: the file, made at the first answer; :func:`default_path` by default.
    """

    def __init__(self, path=None):
        self.path = Path(path) if path else default_path()

    def record(self, visit, seed, questions, said_real, model, photos):
        """Keep the answers of one whole round; a round that is kept already changes nothing.

        Args:
            visit: random text that nobody else's round has.
            seed: of the round.
            questions: :class:`~maskhub.evaluation.quiz.Question`, or anything with its ``key``, ``real``, ``masked``
                and ``direction``.
            said_real: for each, whether it was taken for real.
            model, photos: names of the pipeline and of the source of photos.

        Raises:
            ConfigError: an answer is missing, or the file can't be written to.
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
            raise ConfigError(f"the answers could not be kept in {self.path}: {error}. Set MASKHUB_HOME.") from error

    def rows(self):
        """All answers, dicts of :data:`COLUMNS`, a round after the other; none where nobody has answered.

        Raises:
            SourceError: the file is no survey.
        """
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
        """What people took for what.

        Args:
            rows: of :meth:`rows`; all if not given.

        Returns:
            name → :class:`~maskhub.evaluation.report.Figure`: ``fooled`` (share of generated pictures taken for real)
            over all and for each ``model, direction``; ``real doubted`` (share of real ones taken for generated);
            ``right`` (share of answers); ``rounds``, their number.
        """
        rows = self.rows() if rows is None else rows
        made, real = [row for row in rows if not row["real"]], [row for row in rows if row["real"]]
        out = {"fooled": _share(made, lambda row: row["said_real"], better="high")}
        for model, direction in sorted({(row["model"], row["direction"]) for row in made}):
            own = [row for row in made if (row["model"], row["direction"]) == (model, direction)]
            out[f"fooled by {model}, {direction}"] = _share(own, lambda row: row["said_real"], better="high")
        out["real doubted"] = _share(real, lambda row: not row["said_real"])
        out["right"] = _share(rows, lambda row: row["said_real"] == row["real"])
        return out | {"rounds": Figure(len({row["visit"] for row in rows}), detail=True)}


def _share(rows, hit, **details):
    return share_figure(sum(bool(hit(row)) for row in rows), len(rows), **details)
