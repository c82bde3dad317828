"""The survey: answers kept whole and once, from several processes, the figures counted from them."""

import csv
import multiprocessing
import sqlite3
from types import SimpleNamespace

import pytest

from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.intervals import wilson_interval
from maskhub.evaluation.measures.survey import Options, measure
from maskhub.evaluation.page import report_page
from maskhub.evaluation.report import Figure, Report
from maskhub.evaluation.survey import COLUMNS, Scores, Survey, default_path

QUESTIONS = [
    SimpleNamespace(key=f"{number:02d}", real=not direction, masked=False, direction=direction)
    for number, direction in enumerate(["", "", "mask", "mask", "unmask", ""])
]


def play(survey, visit, said, model="a"):
    survey.record(visit, 7, QUESTIONS, said, model, "faces")


def test_the_shares_are_counted_with_their_intervals(tmp_path):
    survey = Survey(tmp_path / "s.sqlite")
    play(survey, "one", [True, False, True, False, False, True])
    play(survey, "two", [True, True, True, True, False, True])
    play(survey, "three", [False] * 6, model="b")
    figures = survey.figures()
    assert figures["taken for real: a, mask"] == Figure(0.75, wilson_interval(3, 4), 4, better="high")
    assert figures["taken for real: a, unmask"].value == 0 and figures["taken for real: b, mask"].n == 2
    assert figures["taken for real"].value == pytest.approx(3 / 9)
    assert figures["real doubted"].value == pytest.approx(4 / 9)
    assert figures["right"].value == pytest.approx((5 + 6) / 18)
    report = measure(Options(database=survey.path, groups="model"))
    assert report.rows[""]["rounds"].value == 3 and report.n == 18
    assert report.groups["model"]["a"][""]["taken for real: a, mask"] == figures["taken for real: a, mask"]


def test_the_distribution_of_the_scores(tmp_path):
    survey = Survey(tmp_path / "s.sqlite")
    assert survey.scores() == Scores(0, (0,), Figure(None, None, 0)) and survey.scores().curve().lines["rounds"] == [
        [0, 0]
    ]
    real = [question.real for question in QUESTIONS]
    play(survey, "all", real)
    play(survey, "also all", real)
    play(survey, "half", [True] * 6)
    scores = survey.scores()
    assert scores.counts == (0, 0, 0, 1, 0, 0, 2) and scores.questions == 6
    assert scores.mean.value == 5 and scores.mean.n == 3 and scores.mean.interval[0] < 5
    report = measure(Options(database=survey.path))
    assert report.rows[""]["score"] == scores.mean and report.curves == [scores.curve()]
    curve = scores.curve()
    assert curve.bars == ["rounds"] and curve.lines["mean 5.00"] == [[5, 0], [5, 2]]
    report.save(tmp_path / "s.json")
    shown = report_page([tmp_path / "s.json"], tmp_path / "s.html")
    assert shown.count("<rect") == 2 and shown.count("<polyline") == 1 and "<title>6: 2</title>" in shown


def test_a_round_counts_once_and_whole(tmp_path):
    survey = Survey(tmp_path / "s.sqlite")
    play(survey, "one", [True] * 6)
    play(survey, "one", [False] * 6)
    assert len(survey.rows()) == 6 and all(row["said_real"] for row in survey.rows())
    with pytest.raises(ConfigError, match="5 answers to 6 questions"):
        play(survey, "two", [True] * 5)
    assert len(survey.rows()) == 6


def test_nothing_is_known_of_a_visitor(tmp_path):
    survey = Survey(tmp_path / "s.sqlite")
    play(survey, "one", [True] * 6)
    row = survey.rows()[0]
    assert set(row) == set(COLUMNS) and row["answered"].endswith(":00Z")


def _rounds(path, process):
    for number in range(10):
        play(Survey(path), f"{process}-{number}", [True] * 6)


def test_several_processes_write_at_once(tmp_path):
    path = tmp_path / "s.sqlite"
    workers = [multiprocessing.get_context("fork").Process(target=_rounds, args=(path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert measure(Options(database=path)).rows[""]["rounds"].value == 30 and len(Survey(path).rows()) == 180
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_report_and_its_table(tmp_path):
    survey = Survey(tmp_path / "s.sqlite")
    with pytest.raises(SourceError, match="no answers"):
        measure(Options(database=survey.path))
    play(survey, "one", [True] * 6, model="=cmd, quoted")
    measure(Options(database=survey.path)).save(tmp_path / "new" / "s.json")
    rows = list(csv.DictReader((tmp_path / "new" / "s.csv").open()))
    assert len(rows) == 6 and {*rows[0]} == {*COLUMNS}
    assert rows[2]["model"] == "'=cmd, quoted" and rows[2]["direction"] == "mask" and rows[2]["seed"] == "7"
    report = Report.load(tmp_path / "new" / "s.json")
    assert report.rows[""]["taken for real"].value == 1 and any("only 1 rounds" in line for line in report.warnings)


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path / "home"))
    assert Survey().path == default_path() == tmp_path / "home" / "survey.sqlite"
    monkeypatch.delenv("MASKHUB_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == tmp_path / "maskhub" / "survey.sqlite"
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/none")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert default_path() == tmp_path / "me" / ".local" / "share" / "maskhub" / "survey.sqlite"


def test_a_place_that_cannot_be_written_or_read_is_one_line(tmp_path):
    (tmp_path / "file").write_text("this is no database, whatever its name may say" * 20)
    with pytest.raises(ConfigError, match="Set MASKHUB_HOME"):
        play(Survey(tmp_path / "file" / "s.sqlite"), "one", [True] * 6)
    with pytest.raises(SourceError, match="can't be read as a survey"):
        Survey(tmp_path / "file").figures()
