"""What strangers bring: good pictures arrive with what is known of them, every attack is named and stops nothing."""

import errno
import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from maskhub.data.pixel_faces import pixel_faces, write_folder
from maskhub.data.rows import open_rows
from maskhub.errors import ConfigError, MaskHubError
from maskhub.faces.detect import detect
from maskhub.service.datasets import Datasets
from maskhub.service.home import OwnerError, process_folder
from maskhub.service.limits import Limits
from maskhub.service.uploads import receive


def png(colour="tan", size=(32, 32)):
    """A small picture as PNG bytes."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def make_zip(tmp_path):
    """Writes a zip of ``[(name or ZipInfo, bytes)]``."""

    def write(entries, name="faces.zip"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, data in entries:
                archive.writestr(entry, data)
        return tmp_path / name

    return write


def reasons(report):
    return dict(report.refused)


def files_of(home):
    found = [path.relative_to(home.root) for path in home.root.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in found if path.name != ".lock")


def test_a_folder_of_faces_arrives_with_its_splits_and_attributes(home, make_zip, tmp_path):
    for split in ("train", "test"):
        write_folder(f"builtin:pixel-faces/light/mask:{split}", tmp_path / "light" / split)
    paths = [path for path in (tmp_path / "light").rglob("*") if path.is_file()]
    packed = make_zip([(path.relative_to(tmp_path).as_posix(), path.read_bytes()) for path in paths])
    report = receive(home, [packed], "light-faces", key="mine")
    assert report.added == {"train": 100, "test": 25} and report.refused == []
    faces = Datasets(home).faces("light-faces", "test", {"mouth": "smile"})
    expected = [f for f in pixel_faces("builtin:pixel-faces/light/mask:test") if f.attributes.mouth == "smile"]
    assert sorted(face.name for face in faces) == sorted(face.name for face in expected)
    known = {face.name: face for face in expected}
    for face in faces:
        assert np.array_equal(np.asarray(face.image), known[face.name].pixels)
        assert face.columns["hair_colour"] == known[face.name].attributes.hair_colour and "split" not in face.columns


def test_what_is_stored_is_an_ordinary_imagefolder(home, tmp_path):
    from datasets import load_dataset

    (tmp_path / "a.png").write_bytes(png("tan"))
    (tmp_path / "b.png").write_bytes(png("red"))
    (tmp_path / "metadata.csv").write_text("file_name,hair\na.png,fair\n")
    names = ["a.png", "b.png", "metadata.csv"]
    report = receive(home, [tmp_path / name for name in names], "two", "test", {"hair": "black", "tone": "light"}, "k")
    assert report.added == {"train": 0, "test": 2}
    rows = load_dataset("imagefolder", data_dir=str(home.datasets / "two"), split="test")
    assert [(row["hair"], row["tone"]) for row in rows] == [("fair", "light"), ("black", "light")]
    assert rows[1]["image"].getpixel((0, 0)) == (255, 0, 0)
    assert len(open_rows(home.datasets / "two" / "test")) == 2


def test_more_of_the_same_name_is_kept_too(home, tmp_path):
    for folder, colour in (("x", "tan"), ("y", "red")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "face.png").write_bytes(png(colour))
        receive(home, [tmp_path / folder / "face.png"], "same", attributes={"skin": colour}, key="k")
    faces = Datasets(home).faces("same", "train")
    assert [(face.name, face.columns) for face in faces] == [
        ("face-2.png", {"skin": "red"}),
        ("face.png", {"skin": "tan"}),
    ]


def test_pictures_are_turned_shrunk_and_stripped(home, tmp_path):
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a camera"
    exif.get_ifd(0x8825)[1] = "N"
    Image.new("RGB", (1600, 800), "tan").save(tmp_path / "big.jpg", exif=exif)
    receive(home, [tmp_path / "big.jpg"], "big", key="k")
    with Image.open(home.datasets / "big" / "train" / "big.png") as image:
        assert image.size == (256, 512) and not image.getexif() and not image.info
    assert b"a camera" not in (home.datasets / "big" / "train" / "big.png").read_bytes()


@pytest.mark.parametrize(
    "name", ["../../escape.png", "/etc/escape.png", "a/../../escape.png", "C:/escape.png", "..\\..\\escape.png"]
)
def test_names_that_point_outside_are_refused(home, make_zip, tmp_path, name):
    report = receive(home, [make_zip([(name, png()), ("good.png", png())])], "d", key="k")
    assert report.count == 1 and "points outside the zip" in reasons(report)[name]
    assert not list(tmp_path.parent.rglob("escape*"))
    assert [file for file in files_of(home) if "escape" in file] == []


def test_links_are_refused(home, make_zip):
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    pipe = zipfile.ZipInfo("pipe.png")
    pipe.create_system, pipe.external_attr = 3, (stat.S_IFIFO | 0o666) << 16
    report = receive(home, [make_zip([(link, b"/etc/passwd"), (pipe, b""), ("good.png", png())])], "d", key="k")
    assert report.count == 1
    assert "a link" in reasons(report)["link.png"] and "not a regular file" in reasons(report)["pipe.png"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(home, make_zip):
    bomb = make_zip([("zeros.png", bytes(15 * 2**20)), ("good.png", png())])
    assert bomb.stat().st_size < 20_000
    report = receive(home, [bomb], "d", key="k")
    assert report.count == 1 and "a zip bomb" in reasons(report)["zeros.png"]
    wide = make_zip([(f"{n}.png", bytes(2**20)) for n in range(6)], "wide.zip")
    report = receive(home, [wide], "d", key="k", limits=Limits(unpacked=5 * 2**20))
    assert report.count == 0 and "would unpack to 6 MB" in reasons(report)["wide.zip"]


def test_a_header_that_lies_about_the_size_is_found_out(home, make_zip):
    path = make_zip([("liar.bmp", bytes(3 * 2**20)), ("good.png", png())])
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")  # the central directory's first entry: says 100 bytes
    data[place + 24 : place + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    report = receive(home, [path], "d", key="k")
    assert report.count == 1 and list(reasons(report)) == ["liar.bmp"]


def test_archives_in_archives_and_locked_ones_are_refused(home, make_zip, tmp_path):
    inner = make_zip([("face.png", png())], "inner.zip").read_bytes()
    path = make_zip([("inner.zip", inner), ("more.tar.gz", b"x"), ("good.png", png()), ("locked.png", png())])
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 8] |= 1
    path.write_bytes(data)
    report = receive(home, [path], "d", key="k")
    assert report.count == 1
    assert "not opened" in reasons(report)["inner.zip"] and "not opened" in reasons(report)["more.tar.gz"]
    assert "encrypted" in reasons(report)["locked.png"]


def test_what_only_calls_itself_a_picture_is_refused(home, make_zip, tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n"
    page, cut = b"<html><script>alert(1)</script></html>", png(size=(300, 300))[:150]
    entries = [("page.png", page), ("ps.jpg", eps), ("cut.png", cut), ("run.exe", b"MZ"), ("notes.txt", b"hello")]
    report = receive(home, [make_zip([*entries, ("good.png", png())])], "d", key="k")
    found = reasons(report)
    assert report.count == 1 and set(found) == {name for name, _ in entries}
    assert "not a picture" in found["page.png"] and "not a picture" in found["ps.jpg"]
    assert "not that of a picture" in found["run.exe"]
    (tmp_path / "faces.zip").write_bytes(b"PK no zip at all")
    report = receive(home, [tmp_path / "faces.zip"], "d", key="k")
    assert "can't be read as a zip" in reasons(report)["faces.zip"]


def test_pixel_bombs_are_refused_undecoded(home, tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (tmp_path / "huge.png").write_bytes(bomb)
    Image.new("1", (8000, 6000)).save(tmp_path / "large.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "dot.png")
    report = receive(home, [tmp_path / name for name in ("huge.png", "large.png", "dot.png")], "d", key="k")
    found = reasons(report)
    assert report.count == 0 and "megapixels" in found["huge.png"] and "megapixels" in found["large.png"]
    assert "too small" in found["dot.png"]
    assert files_of(home) == []  # nothing good, no dataset


def test_limits_of_size_and_count(home, make_zip, tmp_path):
    small = Limits(file=1000, files=3, dataset=4)
    (tmp_path / "big.png").write_bytes(bytes(2000))
    report = receive(home, [tmp_path / "big.png"], "d", key="k", limits=small)
    assert "MB large" in reasons(report)["big.png"]
    many = make_zip([(f"{n}.png", png()) for n in range(4)], "many.zip")
    assert "holds 4 files" in reasons(receive(home, [many], "d", key="k", limits=small))["many.zip"]
    roomy = replace(small, files=10, file=10_000)
    assert receive(home, [many], "d", key="k", limits=roomy).count == 4
    report = receive(home, [many], "d", key="k", limits=roomy)
    assert report.count == 0 and all("is full" in why for why in reasons(report).values())
    with pytest.raises(ConfigError, match="at most 10"):
        receive(home, [many] * 11, "d", key="k", limits=roomy)
    with pytest.raises(ConfigError, match="no more room"):
        receive(home, [many], "d", key="k", limits=replace(roomy, total=1))


def test_odd_names_become_harmless(home, make_zip):
    names = ["a b<script>.png", "....png", "ü/ñandú.png", "x" * 150 + ".png", "-rf.png", "CON.PNG"]
    report = receive(home, [make_zip([(name, png()) for name in names])], "d", key="k")
    stored = [face.name for face in Datasets(home).faces("d", "train")]
    assert len(stored) == report.count == len(names) - ("....png" in reasons(report))
    assert all(len(name) < 70 and name[0] not in "._" and not set(name) & set("<>/\\ ") for name in stored)
    assert "ñandú.png" in stored


def test_metadata_is_checked(home, make_zip, tmp_path):
    long = f"file_name,tone\ngood.png,{'x' * 200}\n".encode()
    for name, data in (("metadata.csv", long), ("metadata.csv", b"tone\nlight\n"), ("metadata.jsonl", b"[1]\nnope\n")):
        report = receive(home, [make_zip([(name, data), ("good.png", png())])], "d", key="k")
        assert report.count == 1 and name in reasons(report)
    jsonl = b'{"file_name": "deep/good.png", "tone": "dark", "age": 7}\n'
    receive(home, [make_zip([("metadata.jsonl", jsonl), ("deep/good.png", png())])], "e", key="k")
    assert Datasets(home).faces("e")[0].columns == {"tone": "dark", "age": "7"}
    with pytest.raises(ConfigError, match="can't be called"):
        receive(home, [tmp_path / "faces.zip"], "d", attributes={"=cmd": "x"}, key="k")


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "@SUM(A1)", "+1+1", "-2+3"])
def test_no_cell_of_a_dataset_is_a_formula(home, make_zip, cell):
    for grown in range(2):  # a table that is read and written again keeps its one apostrophe
        table = f'file_name,tone\n-{grown}.png,"{cell}"\n'.encode()
        receive(home, [make_zip([("metadata.csv", table), (f"-{grown}.png", png())])], "d", key="k")
    lines = (home.datasets / "d" / "train" / "metadata.csv").read_text().splitlines()
    assert lines == ["file_name,tone,original_name", f"0.png,'{cell},./-0.png", f"1.png,'{cell},./-1.png"]


def test_folders_are_labels_where_nothing_else_says_what_they_are(home, make_zip):
    receive(home, [make_zip([("faces/red/1.png", png()), ("faces/fair/2.png", png())])], "d", key="k")
    assert {face.name: face.columns for face in Datasets(home).faces("d")} == {
        "1.png": {"label": "red"},
        "2.png": {"label": "fair"},
    }


def test_a_dataset_belongs_to_who_brought_it(home, make_zip):
    packed = make_zip([("good.png", png())])
    receive(home, [packed], "mine", key="me")
    for key in ("you", ""):
        with pytest.raises(OwnerError, match="somebody else"):
            receive(home, [packed], "mine", key=key)
        with pytest.raises(OwnerError, match="somebody else"):
            Datasets(home).remove("mine", key)
    with pytest.raises(ConfigError, match="a name first"):
        receive(home, [packed], "", key="me")
    for name in ("../up", ".hidden", "a/b", "x" * 65, "builtin:pixel-faces"):
        with pytest.raises(ConfigError, match="can't be called"):
            receive(home, [packed], name, key="me")
    assert receive(home, [packed], "mine", key="me").count == 1
    Datasets(home).remove("mine", "me")
    assert files_of(home) == []


def test_a_picture_that_is_all_formats_at_once_is_only_its_pixels(home, tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "tan").save(file, "JPEG", comment=b"<script>alert(1)</script>")
    (tmp_path / "poly.jpg").write_bytes(file.getvalue() + b"PK\x03\x04<?php evil() ?>")
    receive(home, [tmp_path / "poly.jpg"], "d", key="k")
    stored = (home.datasets / "d" / "train" / "poly.png").read_bytes()
    assert b"script" not in stored and b"php" not in stored


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_STORED])
def test_a_corrupt_entry_is_listed_and_the_rest_is_taken(home, tmp_path, method):
    noise = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(noise, "BMP")
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("bad.bmp", noise.getvalue())
        archive.writestr("good.png", png())
    data = bytearray(path.read_bytes())
    data[100:400] = bytes(range(255, 105, -1)) * 2
    path.write_bytes(data)
    report = receive(home, [path], "d", key="k")
    assert report.count == 1 and list(reasons(report)) == ["bad.bmp"], report


def test_metadata_is_bounded_before_it_is_read(home, make_zip):
    rows = "".join(f"{n}.png,{'x' * 90}\n" for n in range(300_000))
    entries = [(f"{n}/metadata.csv", f"file_name,tone\n{rows[: 19 * 2**20]}".encode()) for n in range(2)]
    path = make_zip([*entries, ("good.png", png())])
    tracemalloc.start()
    report = receive(home, [path], "d", key="k", limits=Limits(ratio=10**6))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.count == 1 and all("at most 4 MB" in reasons(report)[name] for name, _ in entries)
    assert peak < 100 * 2**20, peak
    for name, data in [("metadata.csv", b"file_name," + b"a," * 10**6), ("metadata.jsonl", b"[" * 10**5),
                       ("metadata.jsonl", b"[" * 60_000), ("metadata.csv", b'file_name,a\n"x,"' + b"y\n" * 10**6),
                       ("metadata.csv", b"\xff\xfe"), ("metadata.csv", b""),
                       ("metadata.csv", b"file_name,a\ngood.png,x\x07\n")]:  # fmt: skip
        report = receive(home, [make_zip([(name, data), ("good.png", png())])], "d", key="k")
        assert report.count == 1 and list(reasons(report)) == [name], report


def test_a_table_of_contents_is_bounded_before_it_is_read(home, tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(25_000):
            archive.writestr(f"{number:05}.png", b"")
    tracemalloc.start()
    report = receive(home, [path], "d", key="k")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.count == 0 and "too many files" in reasons(report)["faces.zip"]
    assert peak < 4 * 2**20, peak


def test_a_full_disk_ends_an_import_with_one_error(home, make_zip, monkeypatch):
    receive(home, [make_zip([("good.png", png())])], "d", key="k")
    real = os.link

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("link", "mkdir"):
        monkeypatch.setattr(os, name, full)
        if name == "link":
            monkeypatch.setattr(shutil, "copy2", full)
        with pytest.raises(MaskHubError, match="No space left"):
            receive(home, [make_zip([("more.png", png())])], "d", key="k")
        monkeypatch.undo()
    assert os.link is real and [face.name for face in Datasets(home).faces("d")] == ["good.png"]


def test_a_folder_of_a_process_goes_with_it(tmp_path):
    code = (
        "import sys, time; from maskhub.service.home import process_folder\n"
        "with process_folder(sys.argv[1], 'app-') as folder:\n"
        "    (folder / 'photo').touch(); print(flush=True); time.sleep(99)"
    )
    (tmp_path / "app-older").mkdir()  # of a version without lock files
    (tmp_path / "app-link").symlink_to(tmp_path)
    (tmp_path / "application").mkdir()
    with process_folder(tmp_path, "app-") as first:
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        child.stdout.readline()
        (other,) = (path.parent for path in tmp_path.glob("app-*/photo"))
        with process_folder(tmp_path, "app-"):
            assert other.is_dir() and first.is_dir()
        child.kill()
        child.wait()
        with process_folder(tmp_path, "app-"):
            assert not other.exists() and first.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app-link", "application"]


def test_what_a_kill_left_is_settled_whatever_lies_there(home, make_zip):
    receive(home, [make_zip([("good.png", png())])], "d", key="k")
    (home.datasets / "my own data").mkdir()
    (home.datasets / ".hidden").mkdir()
    (home.datasets / ".evil").mkdir()
    (home.datasets / ".evil" / ".maskhub.json").write_text('{"name": "../../x"}')
    Datasets(home).settle()
    assert Datasets(home).get("d").counts == {"train": 1, "test": 0}


def test_faces_are_cut_out_of_photos_and_photos_without_one_are_named(home, tmp_path, astronaut):
    astronaut.save(tmp_path / "me.png")
    Image.new("RGB", (200, 100), "teal").save(tmp_path / "wall.png")
    (tmp_path / "small.png").write_bytes(png())  # too small to be a photo
    files = sorted(tmp_path.glob("*.png"))
    report = receive(home, files, "cut", key="me", cut=True)
    assert (report.count, report.refused, report.faceless) == (3, [], ["wall.png"])
    faces = {face.name: face.image for face in Datasets(home).faces("cut", "train")}
    assert {name: image.size for name, image in faces.items()} == {
        "me.png": (256, 256), "small.png": (32, 32), "wall.png": (200, 100),
    }  # fmt: skip
    (found,) = detect(np.asarray(faces["me.png"]))
    assert found.box[2] > 150  # it fills the picture
    assert receive(home, files, "whole", key="me").faceless == ["wall.png"]
    assert {face.image.size for face in Datasets(home).faces("whole", "train")} >= {astronaut.size}


@pytest.mark.parametrize("name", [None, ""])
def test_no_dataset_is_one_line(home, name):
    """A visitor can empty a dropdown."""
    for ask in (Datasets(home).faces, Datasets(home).sources, Datasets(home).get):
        with pytest.raises(ConfigError, match="a name first"):
            ask(name)
