"""What counts as a photo of a folder: links, hidden files, folders that look like files, names of any bytes."""

import os
import warnings

import pytest
from PIL import Image

from maskhub.data.batch import check_not_input, process_folder
from maskhub.data.folder import free_names, list_files
from maskhub.data.masked_files import mask_photo
from maskhub.data.photo_file import result_names
from maskhub.data.rows import FolderRows
from maskhub.data.sources import FolderSource
from maskhub.data.tables import read_table
from maskhub.errors import ConfigError
from maskhub.faces.photo import OTHER_PICTURES, PHOTO_SUFFIXES, open_photo
from maskhub.image_file import FORMATS


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), "red").save(path)


@pytest.fixture
def linked(tmp_path):
    """A folder with a link to another one, one up to itself, and two that lead to each other."""
    root = tmp_path / "in"
    for name in ("a/1.png", "b/2.png"):
        photo(root / name)
    photo(tmp_path / "elsewhere" / "3.png")
    (root / "away").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "to-b").symlink_to(root / "b")
    (root / "b" / "to-a").symlink_to(root / "a")
    return root


def test_links_are_followed_and_each_folder_is_read_once(linked):
    assert list(list_files(linked)) == ["a/1.png", "away/3.png", "b/2.png"]
    assert FolderSource(linked).size == len(FolderRows(linked)) == 3
    report = process_folder(linked, linked.parent / "out", open_photo, progress=False)
    assert report.made == 3


def test_a_folder_that_cannot_be_listed_is_said(tmp_path, monkeypatch):
    photo(tmp_path / "a" / "1.png")
    real = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match=r"left out: .*/a \(Permission denied\)"):
        assert list_files(tmp_path) == {}


def test_hidden_files_and_folders_with_photo_names_are_no_photos(tmp_path):
    photo(tmp_path / "in" / "1.png")
    photo(tmp_path / "in" / ".2.png")
    photo(tmp_path / "in" / ".thumbnails" / "3.png")
    (tmp_path / "in" / "album.jpg").mkdir()
    assert FolderRows(tmp_path / "in").names == FolderSource(tmp_path / "in").names == ["1.png"]
    assert process_folder(tmp_path / "in", tmp_path / "out", open_photo, progress=False).failures == []


def test_pictures_that_are_not_read_are_said_and_not_copied(astronaut, tmp_path):
    from maskhub.data.masked_files import mask_source

    head = astronaut.crop((120, 20, 330, 230)).resize((72, 72))
    (tmp_path / "in").mkdir()
    for suffix in ("jp2", "pgm", "jfif", "JPE"):
        head.save(tmp_path / "in" / f"x.{suffix}")
    (tmp_path / "in" / "notes.txt").write_text("kept")
    with pytest.warns(UserWarning, match=r"left out: x\.jp2, one of 2 pictures of .* not read \(\.jp2, \.pgm\)"):
        report = mask_source(tmp_path / "in", tmp_path / "out", progress=False)
    assert report.made == 2
    found = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    assert found == {"x.jfif", "x.JPE", "notes.txt", "metadata.csv", "summary.html"}


def test_every_suffix_of_the_formats_is_that_of_a_photo():
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in (*FORMATS, "MPO")}
    heif = {".heic", ".heif", ".hif"}
    assert PHOTO_SUFFIXES - heif - {".avif", ".avifs"} == known - heif - {".avif", ".avifs"}
    assert not PHOTO_SUFFIXES & OTHER_PICTURES


def test_an_output_folder_inside_the_input_by_any_name(tmp_path, monkeypatch):
    photo(tmp_path / "in" / "1.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other-name").symlink_to(tmp_path / "in")
    for source, out in (("in", "in/out"), ("./in", "other-name/out"), (tmp_path / "in", "in/../in/out")):
        report = process_folder(source, out, open_photo, progress=False)
        assert report.made + report.kept == 1
    assert [path.name for path in (tmp_path / "in" / "out").glob("[!.]*")] == ["1.png"]


def test_a_gif_next_to_a_png_keeps_both(tmp_path):
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "a.gif")
    photo(tmp_path / "in" / "a.gif.png")
    assert process_folder(tmp_path / "in", tmp_path / "out", open_photo, progress=False).made == 3
    assert process_folder(tmp_path / "in", tmp_path / "out", open_photo, progress=False).kept == 3
    names = sorted(path.name for path in (tmp_path / "out").glob("[!.]*"))
    assert names == ["a.gif.png", "a.gif_.png", "a.png", "metadata.csv"]  # with the GIF's own name


def test_results_never_share_a_name():
    names = ["x.gif", "x.png", "x.gif.png", "y.gif", "y/x.gif"]
    assert len(set(result_names(names).values())) == len(names)
    columns = ["file_name", "file_name_", "age", "file_name__"]
    renamed = free_names(columns, ["file_name"])
    assert len(set(renamed.values()) | {"file_name"}) == 5
    assert renamed["age"] == "age" and renamed["file_name_"] == "file_name_"


@pytest.mark.parametrize("other_name", ["x.jpg", "./x.jpg", "link.jpg", "hard.jpg"])
def test_the_input_is_never_the_output(astronaut, tmp_path, monkeypatch, other_name):
    from maskhub.data.masked import Wearing

    monkeypatch.chdir(tmp_path)
    astronaut.save("x.jpg")
    os.symlink("x.jpg", "link.jpg")
    os.link("x.jpg", "hard.jpg")
    before = (tmp_path / "x.jpg").read_bytes()
    with pytest.raises(ConfigError, match="the output file is the input file"):
        mask_photo("x.jpg", other_name, Wearing(), "x")
    with pytest.raises(ConfigError, match="the output file is the input file"):
        check_not_input("x.jpg", "new.jpg", other_name)
    assert (tmp_path / "x.jpg").read_bytes() == before


NAMES = {
    "not UTF-8": b"caf\xe9.png",
    "long": ("名" * 80 + ".png").encode(),
    "colon": b"12:30:05.png",
    "formula": b"=cmd|' C'!A0.png",
    "spaces": b" a\tb\n.png",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_any_bytes(astronaut, tmp_path, name):
    from maskhub.data.masked import Wearing
    from maskhub.data.masked_files import mask_source
    from maskhub.data.shards import build_dataset

    (tmp_path / "in").mkdir()
    head = astronaut.crop((120, 20, 330, 230)).resize((72, 72))
    head.save(tmp_path / "in" / "head.png")
    os.rename(os.fsencode(tmp_path / "in" / "head.png"), os.fsencode(tmp_path / "in") + b"/" + name)
    report = mask_source(tmp_path / "in", tmp_path / "out", Wearing(), boxes="voc", progress=False)
    assert (report.made, report.failures) == (1, [])
    (line,) = read_table(tmp_path / "out" / "metadata.csv")
    assert open_photo(tmp_path / "out" / line["file_name"]).size == (72, 72)
    assert mask_source(tmp_path / "in", tmp_path / "out", Wearing(), boxes="voc", progress=False).kept == 1
    assert build_dataset(tmp_path / "in", tmp_path / "pairs", Wearing(), progress=False).made == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(FolderSource(tmp_path / "in", holdout=False).walk(range(2), 0))) == 2


def test_one_picture_that_is_not_read_is_said(tmp_path):
    for name in ("x.png", "y.jp2"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out: y\.jp2, a picture of a format that is not read \(\.jp2\)"):
        assert FolderRows(tmp_path).names == ["x.png"]
