"""Folders of photos: everything that can be done is done, the rest is listed."""

import csv

import pytest
from PIL import Image

from maskhub import ConfigError, NoFaceError, PhotoError, SourceError, open_photo
from maskhub.data.batch import process_folder, save_photo
from maskhub.errors import WriteError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    (root / "a" / "b").mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(root / "one.jpg")
    Image.new("RGBA", (40, 30), (0, 255, 0, 90)).save(root / "a" / "two.png")
    Image.new("RGB", (40, 30), "blue").save(root / "a" / "b" / "three.gif")
    (root / "broken.jpg").write_text("no photo")
    (root / "labels.txt").write_text("not touched")
    return root


def test_names_places_and_failures(folder, tmp_path):
    report = process_folder(folder, tmp_path / "out", open_photo, progress=False)
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("[!.]*.*"))
    made = [name for name in made if not name.startswith(".")]
    assert made == ["a/b/three.png", "a/two.png", "failures.csv", "one.jpg"]
    assert (report.made, report.kept) == (3, 0)
    rows = list(csv.DictReader((tmp_path / "out" / "failures.csv").open()))
    assert [row["file_name"] for row in rows] == ["broken.jpg"]
    assert "not a picture" in rows[0]["reason"]
    assert Image.open(tmp_path / "out" / "a" / "two.png").mode == "RGBA"


def test_a_broken_off_run_goes_on(folder, tmp_path):
    seen = []

    def once(path):
        seen.append(path.name)
        if path.name == "two.png" and seen.count("two.png") == 1:
            raise NoFaceError("no face")
        return open_photo(path)

    assert len(process_folder(folder, tmp_path / "out", once, progress=False).failures) == 2
    report = process_folder(folder, tmp_path / "out", once, progress=False)
    assert (report.made, report.kept, len(report.failures)) == (1, 2, 1)
    assert process_folder(folder, tmp_path / "out", once, overwrite=True, progress=False).made == 3


def test_the_failure_list_goes_when_nothing_fails(folder, tmp_path):
    process_folder(folder, tmp_path / "out", open_photo, progress=False)
    (folder / "broken.jpg").unlink()
    process_folder(folder, tmp_path / "out", open_photo, progress=False)
    assert not (tmp_path / "out" / "failures.csv").exists()


def test_bad_folders(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no photo"):
        process_folder(tmp_path / "empty", tmp_path / "out", open_photo)
    with pytest.raises(SourceError, match="no folder"):
        process_folder(tmp_path / "none", tmp_path / "out", open_photo)
    with pytest.raises(ConfigError, match="overwritten"):
        process_folder(folder, folder, open_photo)


def test_output_inside_input_is_not_worked_through_again(folder):
    process_folder(folder, folder / "out", open_photo, progress=False)
    assert process_folder(folder, folder / "out", open_photo, progress=False).kept == 3


def test_a_photo_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(PhotoError, match="suffix"):
        save_photo(Image.new("RGB", (8, 8)), tmp_path / "x.xyz")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="could not be written"):
        save_photo(Image.new("RGB", (8, 8)), tmp_path / "file" / "x.png")
    save_photo(Image.new("RGBA", (8, 8)), tmp_path / "x.jpg")
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
