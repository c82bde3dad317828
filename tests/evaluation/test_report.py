"""Reports and their views: JSON, page, terminal and model card."""

import dataclasses
import io
import json
import math
import re
import shutil
import sys

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import maskhub
from maskhub.errors import ConfigError, SourceError, WriteError
from maskhub.evaluation.card import card_results, write_card
from maskhub.evaluation.gallery import BestAndWorst, Failures
from maskhub.evaluation.page import report_page
from maskhub.evaluation.report import Curve, Figure, Report
from maskhub.evaluation.words import report_text

HOSTILE = '<img src=x onerror=alert(1)>"&'


def picture(value=0):
    return np.full((32, 32, 3), value, np.uint8)


@pytest.fixture
def report():
    gallery = BestAndWorst("pictures by LPIPS", better="low", keep=3)
    for number in range(10):
        gallery.add(f"{number}.png", number / 10, [picture(), picture(20 * number)])
    failures = Failures()
    failures.add("bad.png", "no face was found.", picture(200))
    failures.add("worse.png", "cut short")
    psnr = {"unit": "dB", "better": "high"}
    return Report(
        "pairs",
        {
            "made": {"psnr": Figure(21.5, (20, 23), 10, **psnr), "psnr_inside": Figure(18.0), "σ": Figure(math.nan)},
            "copy": {"psnr": Figure(12.0, n=10, **psnr), "psnr_inside": Figure(math.inf)},
        },
        10,
        "/home/someone/faces",
        "How near.",
        {"split": "held-out", "seed": np.int64(3), "none": math.nan},
        {"gender": {"female": {"": {"psnr": Figure(22.0, n=6)}}, "male": {"": {"psnr": Figure(20.5, n=4)}}}},
        ["copy"],
        ["only <10> pairs", "only <10> pairs"],
        [Curve("Share", "PSNR", "share", {"made": [[1, 0.5], [2, 1.0]], "copy": [[1, 1.0]]})],
        gallery.galleries(),
        failures,
        [{"photo": "a.png", "psnr": 21.5}, {"photo": "b.png"}],
    )


@pytest.fixture
def path(report, tmp_path):
    report.save(tmp_path / "pairs.json")
    return tmp_path / "pairs.json"


def test_a_report_is_what_it_was_saved_as(report, path):
    assert Report.load(path) == report
    data = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["figures"]["made"]["psnr"] == {
        "value": 21.5, "interval": [20, 23], "n": 10, "unit": "dB", "better": "high",
    }  # fmt: skip
    assert data["figures"]["made"]["σ"] == {"value": None} and data["settings"]["none"] is None
    assert data["warnings"] == ["only <10> pairs"] and (data["n"], data["maskhub"]) == (10, maskhub.__version__)
    assert path.with_suffix(".csv").read_text() == "photo,psnr\na.png,21.5\nb.png,\n"


def test_best_and_worst(report):
    best, worst = report.galleries
    assert [item.name for item in best.items] == ["0.png", "1.png", "2.png"]
    assert [item.name for item in worst.items] == ["9.png", "8.png", "7.png"]
    with Image.open(io.BytesIO(worst.items[0].picture)) as strip:
        assert strip.size == (256, 128) and strip.getpixel((200, 60))[0] > 150 > 50 > strip.getpixel((60, 60))[0]
    high = BestAndWorst("x", better="high", keep=2)
    for score in (1.0, 3.0, math.nan, 2.0):
        high.add(score, score, picture())
    assert [[item.score for item in part.items] for part in high.galleries()] == [[3.0], [1.0]]
    assert BestAndWorst("x").galleries() == []


def test_saved_again_no_thumbnail_of_before_is_left(path):
    folder = path.with_name("pairs-pictures")
    assert len(list(folder.iterdir())) == 7
    Report("pairs", {"": {"psnr": Figure(1.0)}}, 1).save(path)
    assert not folder.exists()


def test_where_a_report_cannot_be_saved(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="could not be written"):
        report.save(tmp_path / "file" / "r.json")


def test_the_page_is_one_readable_file(path, tmp_path):
    distance = Figure(3.25, (3, 3.5), 2500, network="inception", title="FID", better="low")
    Report("quality", {"": {"frechet": distance}}, 2500).save(tmp_path / "q.json")
    text = report_page([path, tmp_path / "q.json"], tmp_path / "out" / "page.html")
    assert (tmp_path / "out" / "page.html").read_text() == text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text) and "http" not in text
    for part in (
        "21.50", "20.00 to 23.00", "female", "no face was found.", "FID", "n 2,500", "inside the region", "<polyline",
        "PSNR <small>dB</small>", "higher is better", "lower is better", "How near.",
    ):  # fmt: skip
        assert part in text, part
    assert len(re.findall(r"data:image/jpeg;base64,/9j/", text)) == 7
    assert "light-dark(" in text


def test_hostile_names_are_text_on_the_page(tmp_path):
    failures = Failures()
    failures.add(HOSTILE, HOSTILE, picture())
    rows = {HOSTILE: {HOSTILE: Figure(1.0, title=HOSTILE, unit=HOSTILE)}, "": {HOSTILE: Figure(1.0, network=HOSTILE)}}
    gallery = BestAndWorst(HOSTILE)
    gallery.add(HOSTILE, 1.0, picture())
    curve = Curve(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: [[0, 1]], "b": [[1, 2]]})
    groups = {HOSTILE: {HOSTILE: rows}}
    Report(
        HOSTILE, rows, 1, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, groups, [], [HOSTILE], [curve], gallery.galleries(),
        failures, version=HOSTILE,
    ).save(tmp_path / "a<b>.json")  # fmt: skip
    text = report_page([tmp_path / "a<b>.json"], tmp_path / "page.html", HOSTILE)
    assert "<img src=x" not in text and "onerror=alert(1)>" not in text and "a<b>" not in text
    assert text.count("&lt;img src=x") > 20


def test_without_its_thumbnails_it_is_still_a_report(path, tmp_path):
    shutil.rmtree(path.with_name("pairs-pictures"))
    assert "no face was found." in report_page([path], tmp_path / "page.html")
    data = json.loads(path.read_text())
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "sub").mkdir()
    data["failures"][0]["picture"] = "../secret"
    (tmp_path / "sub" / "r.json").write_text(json.dumps(data))
    assert Report.load(tmp_path / "sub" / "r.json").failures[0].picture is None


def test_the_terminal_shows_every_figure(report):
    text = report_text(report)
    assert "made\n  psnr         21.5 dB (20 to 23), n 10\n" in text and "  σ            –" in text
    assert text.endswith("gender female\n  psnr  22, n 6\ngender male\n  psnr  20.5, n 4")


def test_what_is_not_a_report_is_one_line(path, tmp_path):
    damaged = json.loads(path.read_text()) | {"figures": {"a": 1}}
    for name, text, message in (
        ("none", None, "can't be read"),
        ("a", "{", "can't be read"),
        ("b", '{"measure": "x"}', "has no maskhub, settings"),
        ("c", "[]", "is not a report"),
        ("d", json.dumps(damaged), "is a damaged report"),
    ):
        if text is not None:
            (tmp_path / f"{name}.json").write_text(text)
        with pytest.raises(SourceError, match=message):
            Report.load(tmp_path / f"{name}.json")
    with pytest.raises(ConfigError, match="at least one report"):
        report_page([], tmp_path / "page.html")


def test_a_report_of_an_older_maskhub(tmp_path):
    share = {"value": 0.9, "interval": [0.8, 0.95], "n": 30}
    old = {
        "measure": "masks", "maskhub": "0.1.0", "settings": {"photos": "a/b", "direction": "mask", "n": 30},
        "figures": {"success": share, "masked": share, "presence": 0.7, "masked before": share},
        "groups": {"gender": {"f": {"masked": share}}}, "warnings": [],
        "failures": [{"name": "a.png", "reason": "no face"}],
    }  # fmt: skip
    (tmp_path / "old.json").write_text(json.dumps(old))
    report = Report.load(tmp_path / "old.json")
    assert list(report.rows[""]) == ["success", "mask_detected", "mask_presence", "mask_detected_before"]
    assert report.rows[""]["mask_presence"] == Figure(0.7, detail=True)
    assert report.groups["gender"]["f"][""]["mask_detected"] == Figure(0.9, (0.8, 0.95), 30)
    assert (report.n, report.photos, report.failures[0].reason) == (30, "a/b", "no face")
    assert [r.metric_name for r in card_results(report)] == ["masks mask: success", "masks mask: mask_detected"]
    report.save(tmp_path / "new.json")
    assert Report.load(tmp_path / "new.json") == report
    pairs = old | {
        "measure": "pairs", "groups": {}, "settings": {"photos": "x", "baselines": ["copy"]},
        "figures": {"made": {"fid": {"value": 1.0, "called": "FID"}}, "copy": {"fid": 2.0}},
    }  # fmt: skip
    (tmp_path / "old.json").write_text(json.dumps(pairs))
    assert [r.metric_value for r in card_results(Report.load(tmp_path / "old.json"))] == [1.0]
    assert "FID" in report_page([tmp_path / "old.json"], tmp_path / "page.html")


CARD = """---
license: other
tags: [gan]
---
# A model

Text.

## Limits
None.
"""


def test_the_card_gets_the_models_own_figures(report, tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    assert [r.metric_name for r in card_results(report)] == ["pairs: made, psnr", "pairs: made, psnr_inside"]
    assert write_card(tmp_path, [report]) == 2
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "other" and card.data.tags == ["gan"] and card.data.model_name == "A model"
    result = next(r for r in card.data.eval_results if r.metric_name == "pairs: made, psnr")
    assert (result.metric_type, result.metric_value, result.metric_args) == (
        "psnr",
        21.5,
        {"maskhub": maskhub.__version__, "n": 10, "interval": [20.0, 23.0]},
    )
    assert (result.dataset_name, result.dataset_split) == ("faces", "held-out tenth")
    text = (tmp_path / "README.md").read_text()
    assert "someone" not in text and text.index("## Measured") < text.index("## Limits")
    assert "| pairs: made, psnr | 21.5 | 20 to 23 | 10 | faces, held-out tenth |" in text
    write_card(tmp_path, [report])
    assert (tmp_path / "README.md").read_text() == text  # the same again, not twice


def test_a_report_replaces_only_what_belongs_to_a_report(report, tmp_path):
    path, folder = tmp_path / "pairs.json", tmp_path / "pairs-pictures"
    folder.mkdir()
    (folder / "mine.jpg").write_bytes(b"mine")
    report = dataclasses.replace(report, table=[{"photo": "a.png"}])
    with pytest.raises(
        ConfigError, match=r"pairs\.json would replace .*pairs-pictures, which does not belong to an earlier report"
    ):
        report.save(path)
    (folder / "mine.jpg").replace(tmp_path / "pairs.csv")
    folder.rmdir()
    with pytest.raises(ConfigError, match=r"would replace .*pairs\.csv"):
        report.save(path)
    with pytest.raises(ConfigError, match=r"give a name such as pairs\.json"):
        report.save(tmp_path / "pairs.csv")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"mine"]
    (tmp_path / "pairs.csv").unlink()
    report.save(path)
    report.save(path)
    assert Report.load(path) == report and folder.is_dir() and (tmp_path / "pairs.csv").is_file()


def test_directions_and_sources_can_be_told_apart_in_a_card(report, tmp_path):
    made = Figure(0.9, (0.8, 1.0), 30)
    reports = [
        Report("masks", {"": {"success": made}}, 30, "a/b", settings={"direction": way}) for way in ("mask", "unmask")
    ]
    details = {name: Figure(3.0, detail=True) for name in ("σ", "median")}
    both = "/home/someone/bare, /home/someone/worn"
    reports += [
        Report("cycle", {"there and back": {"mean error": made, **details}}, 30, both),
        dataclasses.replace(report, photos="/home/someone/other"),
        report,
        Report("masks", {"": {"success": made}}, 30, "a/b:test"),
    ]
    (tmp_path / "README.md").write_text(CARD)
    write_card(tmp_path, reports)
    results = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert [r.metric_name for r in results][:3] == [
        "masks mask: success",
        "masks unmask: success",
        "cycle: there and back, mean error",
    ]
    names = [(r.dataset_name, r.dataset_type) for r in results[1:]]
    folder = "imagefolder"
    folders = [("bare, worn", folder), *[("other", folder)] * 2, *[("faces", folder)] * 2]
    assert names == [("a/b", "a/b"), *folders, ("a/b:test", "a/b")]


def test_the_views_of_a_report_need_no_torch(path):
    import subprocess

    code = (
        "import sys; from maskhub.evaluation.page import report_page; report_page([sys.argv[1]], sys.argv[2]); "
        "from maskhub.evaluation.measures import MEASURES; print('torch' in sys.modules, len(MEASURES) > 5)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, path, path.with_suffix(".html")], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["False", "True"]
