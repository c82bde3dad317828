"""The contact sheet before a run, and the summary page after it."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from maskhub.cli import main
from maskhub.data.summary import counts_of, merged, sample, summary_page


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    head = astronaut.convert("RGB").crop((60, 0, 400, 300))
    for name in ("a.png", "b.png"):
        head.save(folder / name)
    Image.new("RGB", (64, 64), (9, 9, 9)).save(folder / "<i>blank.png")
    (folder / "metadata.jsonl").write_text("".join(
        json.dumps({"file_name": name, "who": "x"}) + "\n" for name in ("a.png", "b.png", "<i>blank.png")
    ))  # fmt: skip
    return folder


@pytest.mark.parametrize("command", [["mask"], ["dataset", "build", "--crops", 64]])
def test_a_preview_is_one_picture_and_nothing_else(folder, tmp_path, command, capsys):
    sheet, out = tmp_path / "sheet.png", tmp_path / "out"
    assert run(*command, folder, out, "--preview", sheet, "--style", "surgical", "--colour", "blue") == 0
    assert "2 of 3 photos masked" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    pixels = np.asarray(Image.open(sheet)).astype(int)
    blue = (pixels[..., 2] > pixels[..., 0] + 25) & (pixels[..., 2] > 90)
    assert blue[:200].mean() > 0.01
    first = sheet.read_bytes()
    assert run(*command, folder, out, "--preview", sheet, "--style", "surgical", "--colour", "blue") == 0
    assert sheet.read_bytes() == first
    assert run(*command, folder, out, "--preview", sheet, "--preview-photos", 1) == 0
    assert re.search(r"\d of 1 photos", capsys.readouterr().out)


def test_a_preview_and_own_boxes_are_not_for_one_photo(folder, tmp_path, capsys):
    assert run("mask", folder / "a.png", tmp_path / "a.png", "--preview", tmp_path / "s.png") == 2
    assert "--preview is for folders and datasets" in capsys.readouterr().err
    assert run("mask", folder / "a.png", tmp_path / "a.png", "--own-boxes", "no.json") == 2
    assert "--own-boxes is for folders and datasets" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["mask", "--workers", 0], ["dataset", "build", "--workers", 0]])
def test_the_summary_counts_and_shows(folder, tmp_path, command):
    run(*command, folder, tmp_path / "out", "--style", "cup")
    page = (tmp_path / "out" / "summary.html").read_text()
    assert re.search(r"<span>made</span><b>2</b>.*<span>photos failed</span><b>1</b>", page, re.DOTALL)
    assert re.search(r'<th scope="row">cup</th><td>2</td>', page)
    assert "below 15°" in page
    assert page.count("data:image/jpeg;base64,") == 3  # two results and the failed photo
    assert "&lt;i&gt;blank.png" in page
    assert "<i>blank" not in page
    assert re.search('(src|href)="(?!data:)', page) is None


def test_counts():
    face = {"worn": "correctly", "style": "cup", "pose": [-31.0, 0, 0], "light": 29.0, "quality": 0.95}
    bare = face | {"worn": "unmasked", "style": ""}
    counts = counts_of([face, bare, face | {"pose": None, "light": None, "quality": None}])
    assert counts["worn"] == {"correctly": 2, "unmasked": 1}
    assert counts["turned"] == {"30 to 45°": 1}
    assert counts["light"] == {"dark, below 30": 1}
    assert merged([counts, counts, {}])["quality"] == {"0.9 or more": 2}


def test_a_page_without_faces_and_with_many_reasons():
    failures = [(f"{n}.png", f"reason {chr(97 + n)} {n}") for n in range(20)] + [("x/y.png", "x/y.png is torn")]
    page = summary_page("nothing", 0, {}, failures, [], [sample("a.png", "gone", None)])
    assert "9 more reasons in failures.csv" in page
    assert "the photo is torn" not in page  # only the most common twelve
