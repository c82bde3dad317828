"""Reports, the page and the card made of them."""

import base64
import json
import math
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import maskhub
from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.page import report_page
from maskhub.evaluation.report import BestAndWorst, card_with_results, figure, read_report, results_block, write_report


def picture(value=0):
    return np.full((32, 32, 3), value, np.uint8)


@pytest.fixture
def report(tmp_path):
    gallery = BestAndWorst("pictures by LPIPS", better="low", keep=3)
    for number in range(10):
        gallery.add(f"{number}.png", number / 10, [picture(), picture(20 * number)])
    write_report(
        tmp_path / "pairs.json",
        "pairs",
        {"photos": "/home/someone/faces", "split": "held-out", "baselines": ["copy"], "n": np.int64(10)},
        {
            "made": {"psnr": figure(21.5, (20, 23), 10), "psnr_inside": figure(18.0), "identity": math.nan},
            "copy": {"psnr": {"value": 12.0, "n": 10}, "psnr_inside": math.inf},
        },
        {"gender": {"female": {"psnr": figure(22.0, n=6)}, "male": {"psnr": figure(20.5, n=4)}}},
        ["only <10> pairs", "only <10> pairs"],
        curves=[
            {"title": "Share", "x": "PSNR", "y": "share", "lines": {"made": [[1, 0.5], [2, 1.0]], "copy": [[1, 1.0]]}}
        ],
        galleries=[gallery],
        failures=[("bad.png", "no face was found."), ("worse.png", "cut short")],
        pictures={"bad.png": Image.fromarray(picture(200))},
    )
    return tmp_path / "pairs.json"


def test_the_contract(report):
    found = read_report(report)
    assert list(found)[:6] == ["measure", "maskhub", "settings", "figures", "groups", "warnings"]
    assert found["figures"]["made"]["psnr"] == {"value": 21.5, "interval": [20, 23], "n": 10}
    assert found["figures"]["made"]["identity"] is None and found["figures"]["copy"]["psnr_inside"] is None
    assert found["warnings"] == ["only <10> pairs"]
    json.loads(report.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_best_and_worst_are_what_they_say(report):
    best, worst = read_report(report)["galleries"]
    assert [item["name"] for item in best["items"]] == ["0.png", "1.png", "2.png"]
    assert [item["name"] for item in worst["items"]] == ["9.png", "8.png", "7.png"]
    with Image.open(report.parent / worst["items"][0]["picture"]) as strip:
        assert strip.size == (256, 128) and strip.getpixel((200, 60))[0] > 150 > 50 > strip.getpixel((60, 60))[0]
    high = BestAndWorst("x", better="high", keep=2)
    for score in (1.0, 3.0, math.nan, 2.0):
        high.add(score, score, picture())
    assert [[item["score"] for item in part["items"]] for part in high.parts()] == [[3.0], [1.0]]


def test_written_anew_no_thumbnail_of_before_is_left(report):
    folder = report.with_name("pairs-pictures")
    assert len(list(folder.iterdir())) == 7
    write_report(report, "pairs", {}, {"psnr": 1.0})
    assert not folder.exists()


def test_the_page_is_one_readable_file(report, tmp_path):
    distance = {"value": 3.25, "interval": [3, 3.5], "n": 2500, "network": "inception", "called": "FID"}
    write_report(tmp_path / "q.json", "quality", {}, {"frechet": distance})
    text = report_page([report, tmp_path / "q.json"], tmp_path / "out" / "page.html")
    assert (tmp_path / "out" / "page.html").read_text() == text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text) and "http" not in text
    for part in (
        "21.50",
        "20.00 to 23.00",
        "female",
        "no face was found.",
        "FID",
        "n 2,500",
        "inside the region",
        "<polyline",
    ):
        assert part in text
    assert "&lt;10&gt;" in text and "<10>" not in text
    images = re.findall(r"data:image/jpeg;base64,([^\"]+)", text)
    assert len(images) == 7 and base64.b64decode(images[0]).startswith(b"\xff\xd8")
    assert "prefers-color-scheme" in text or "light-dark(" in text


def test_a_page_of_a_report_without_its_thumbnails(report, tmp_path):
    import shutil

    shutil.rmtree(report.with_name("pairs-pictures"))
    assert "no face was found." in report_page([report], tmp_path / "page.html")


def test_what_is_no_report_is_one_line(tmp_path):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"measure": "x"}')
    for name, message in (("none", "can't be read"), ("a", "can't be read"), ("b", "has no maskhub, settings")):
        with pytest.raises(SourceError, match=message):
            read_report(tmp_path / f"{name}.json")
    with pytest.raises(ConfigError, match="at least one report"):
        report_page([], tmp_path / "page.html")


CARD = """---
license: other
tags: [gan]
---
# A model

Text. No
figures have been measured for this checkpoint yet.

## Limits
None.
"""


def test_the_card_gets_the_models_own_figures(report, tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    reports = [read_report(report)]
    assert {r.metric_name for r in results_block(reports)} == {"pairs: made, psnr", "pairs: made, psnr_inside"}
    assert card_with_results(tmp_path, reports) == 2
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "other" and card.data.tags == ["gan"] and card.data.model_name == "A model"
    by_name = {r.metric_name: r for r in card.data.eval_results}
    result = by_name["pairs: made, psnr"]
    assert (result.metric_type, result.metric_value, result.metric_args) == (
        "psnr",
        21.5,
        {"maskhub": maskhub.__version__, "n": 10, "interval": [20.0, 23.0]},
    )
    assert (result.dataset_name, result.dataset_split) == ("faces", "held-out tenth")
    text = (tmp_path / "README.md").read_text()
    assert "someone" not in text and "No\nfigures" not in text and text.index("## Figures") < text.index("## Limits")
    assert "| pairs: made, psnr | 21.5 | 20 to 23 | 10 | faces, held-out tenth |" in text
    first = text
    card_with_results(tmp_path, reports)
    assert (tmp_path / "README.md").read_text() == first  # the same again, not twice


def test_both_ways_and_both_sources_can_be_told_apart_in_a_card(tmp_path):
    made = figure(0.9, (0.8, 1.0), 30)
    ways = [
        write_report(tmp_path / f"{way}.json", "masks", {"photos": "a/b", "direction": way}, {"success": made})
        for way in ("mask", "unmask")
    ]
    both = {"photos": "/home/someone/bare, /home/someone/worn"}
    figures = {"there and back": {"mean error": made, "σ": 3.0, "median": 4.0}}
    results = results_block([*ways, write_report(tmp_path / "cycle.json", "cycle", both, figures)])
    assert [r.metric_name for r in results] == [
        "masks mask: success",
        "masks unmask: success",
        "cycle: there and back, mean error",
    ]
    assert [(r.dataset_name, r.dataset_type) for r in results[1:]] == [("a/b", "a/b"), ("bare, worn", "imagefolder")]


def test_a_card_is_begun_or_refused(report, tmp_path):
    (tmp_path / "new").mkdir()
    card_with_results(tmp_path / "new", [read_report(report)])
    assert ModelCard.load(tmp_path / "new" / "README.md").data.eval_results
    with pytest.raises(ConfigError, match="there is no folder"):
        card_with_results(tmp_path / "none", [read_report(report)])
    (tmp_path / "new" / "README.md").write_text("---\na: [\n---\n# x\n")
    with pytest.raises(ConfigError, match=r"front matter of .* can't be read"):
        card_with_results(tmp_path / "new", [read_report(report)])
