"""What is done is known by name, content and size: nothing is mixed, nothing cut short is kept."""

import json
import os

import pytest
from PIL import Image

from maskhub.data import journal as journals
from maskhub.data.batch import process_folder
from maskhub.data.journal import Journal
from maskhub.errors import ConfigError, WriteError
from maskhub.faces.photo import open_photo
from maskhub.hold import hold


def photos(folder, colours):
    folder.mkdir(parents=True, exist_ok=True)
    for name, colour in colours.items():
        Image.new("RGB", (24, 24), colour).save(folder / name)
    return folder


def run(source, out, **options):
    return process_folder(source, out, open_photo, progress=False, **options)


def test_another_folder_with_the_same_names_is_refused(tmp_path):
    a = photos(tmp_path / "a", {"1.bmp": "red", "2.bmp": "red"})
    b = photos(tmp_path / "b", {"0.bmp": "blue", "1.bmp": "blue", "2.bmp": "blue"})
    for path in [*a.iterdir(), *b.iterdir()]:
        os.utime(path, (1, 1))  # neither size nor time tells them apart
    run(a, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.bmp")}
    with pytest.raises(ConfigError, match=r"holds the result of a different 1\.bmp"):
        run(b, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.bmp")} == before
    assert run(a, tmp_path / "out").kept == 2
    assert run(b, tmp_path / "out", overwrite=True).made == 3


def test_results_of_photos_that_are_gone_are_refused(tmp_path):
    a = photos(tmp_path / "a", {"1.png": "red", "2.png": "green"})
    run(a, tmp_path / "out")
    (a / "2.png").unlink()
    with pytest.raises(ConfigError, match=r"a different 2\.png"):
        run(a, tmp_path / "out")
    (tmp_path / "out" / "2.png").unlink()  # whoever wants to go on takes the result away too
    assert run(a, tmp_path / "out").kept == 1


def test_a_photo_that_is_added_is_done_and_nothing_else(tmp_path):
    a = photos(tmp_path / "a", {"2.png": "red"})
    run(a, tmp_path / "out")
    photos(a, {"1.png": "green", "3.png": "blue"})
    report = run(a, tmp_path / "out")
    assert (report.made, report.kept) == (2, 1)


@pytest.mark.parametrize("options", [{"model": "b"}, {"model": "a", "seed": 1}, {}])
def test_other_options_are_refused(tmp_path, options):
    a = photos(tmp_path / "a", {"1.png": "red"})
    run(a, tmp_path / "out", options={"model": "a"})
    with pytest.raises(ConfigError, match="holds results with a different"):
        run(a, tmp_path / "out", options=options)


def test_a_maskhub_with_other_results_does_not_continue(tmp_path, monkeypatch):
    a = photos(tmp_path / "a", {"1.png": "red"})
    run(a, tmp_path / "out")
    monkeypatch.setattr(journals, "RESULTS_OF", "2031-01-01")
    with pytest.raises(ConfigError, match=r"results made by another version of maskhub .* this one \(2031-01-01\)"):
        run(a, tmp_path / "out")
    assert run(a, tmp_path / "out", overwrite=True).made == 1
    path = tmp_path / "out" / ".maskhub" / "journal.jsonl"
    path.write_text(path.read_text().replace('{"results_of": "2031-01-01"}', "{}"))
    with pytest.raises(ConfigError, match=r"another version of maskhub \(an earlier day\)"):
        run(a, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"\x89PNG", None])
def test_results_that_lost_bytes_are_made_again(tmp_path, content):
    a = photos(tmp_path / "a", {"1.png": "red", "2.png": "blue"})
    run(a, tmp_path / "out")
    whole = (tmp_path / "out" / "1.png").read_bytes()
    if content is None:
        (tmp_path / "out" / "1.png").unlink()
    else:
        (tmp_path / "out" / "1.png").write_bytes(content)
    report = run(a, tmp_path / "out")
    assert (report.made, report.kept) == (1, 1)
    assert (tmp_path / "out" / "1.png").read_bytes() == whole


def test_overwriting_leaves_no_older_results(tmp_path):
    run(photos(tmp_path / "a", {"1.png": "red", "2.png": "red"}), tmp_path / "out")
    run(photos(tmp_path / "b", {"2.png": "blue", "3.png": "blue"}), tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["2.png", "3.png"]


OPTIONS = json.dumps({"results_of": journals.RESULTS_OF, "model": "a"}).encode()


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"{", OPTIONS + b'\n["1.png", "x'])
def test_a_journal_that_a_power_cut_spoilt_is_begun_again(tmp_path, content):
    a = photos(tmp_path / "a", {"1.png": "red"})
    run(a, tmp_path / "out", options={"model": "a"})
    (tmp_path / "out" / journals.NAME).write_bytes(content)
    assert run(a, tmp_path / "out", options={"model": "a"}).made == 1


@pytest.mark.parametrize("line", [b"nonsense", b"[1]", b"17", b"null"])
def test_a_damaged_journal_is_one_line(tmp_path, line):
    a = photos(tmp_path / "a", {"1.png": "red"})
    run(a, tmp_path / "out")
    path = tmp_path / "out" / journals.NAME
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(ConfigError, match="is damaged: delete"):
        run(a, tmp_path / "out")
    assert run(a, tmp_path / "out", overwrite=True).made == 1


def test_entries_of_another_shape_are_made_again(tmp_path):
    a = photos(tmp_path / "a", {"1.png": "red", "2.png": "red"})
    run(a, tmp_path / "out")
    path = tmp_path / "out" / journals.NAME
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], json.dumps(["1.png", {}]).encode(), *lines[2:]]) + b"\n")
    assert run(a, tmp_path / "out").made == 2


def test_a_second_run_names_the_first(tmp_path):
    a = photos(tmp_path / "a", {"1.png": "red"})
    with (
        hold(tmp_path / "out", "maskhub mask"),
        pytest.raises(WriteError, match=r"out is in use by `maskhub mask`, process \d+"),
    ):
        run(a, tmp_path / "out")


def test_a_stream_of_other_photos_commits_nothing(tmp_path):
    with Journal(tmp_path, {}) as first:
        first.add("0", "digest a", {}, [])
        first.add("1", "digest b", {}, [])
        first.finish(["0", "1"])
    size = (tmp_path / journals.NAME).stat().st_size
    with pytest.raises(ConfigError, match="a different 1"), Journal(tmp_path, {}) as second:
        second.add("2", "digest c", {}, [])  # one that failed before, read ahead of the others
        second.is_done("1", lambda: "digest x", [])
    assert (tmp_path / journals.NAME).stat().st_size == size


def test_whatever_a_photo_raises_the_others_are_done(tmp_path):
    a = photos(tmp_path / "a", {f"{n}.png": "red" for n in range(6)})
    errors = iter([ValueError("a"), MemoryError(), RecursionError("deep"), KeyError("k"), None, None])

    def work(path):
        error = next(errors)
        if error is not None:
            raise error
        return open_photo(path)

    report = process_folder(a, tmp_path / "out", work, progress=False)
    assert report.made == 2
    assert [name for name, _ in report.failures] == ["0.png", "1.png", "2.png", "3.png"]
    assert "unexpected ValueError: a" in report.failures[0][1]
