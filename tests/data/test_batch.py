"""Folders of photos: everything that can be done is done, the rest is listed."""

import csv

import pytest
from PIL import Image, JpegImagePlugin

from maskhub import ConfigError, NoFaceError, PhotoError, SourceError, open_photo
from maskhub.data.batch import process_folder, save_photo
from maskhub.errors import WriteError
from maskhub.files import PARTIAL


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
    assert made == ["a/b/three.png", "a/two.png", "failures.csv", "metadata.csv", "one.jpg"]
    assert (report.made, report.kept) == (3, 0)
    rows = list(csv.DictReader((tmp_path / "out" / "failures.csv").open()))
    assert [row["file_name"] for row in rows] == ["broken.jpg"]
    assert "not a picture" in rows[0]["reason"]
    assert Image.open(tmp_path / "out" / "a" / "two.png").mode == "RGBA"


def test_threads_write_the_same_files(folder, tmp_path):
    reports = [
        process_folder(folder, tmp_path / f"out{threads}", open_photo, threads=threads, progress=False)
        for threads in (1, 3)
    ]
    assert reports[0] == reports[1] and len(reports[0].failures) == 1
    one, three = (
        {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
        for root in (tmp_path / "out1", tmp_path / "out3")
    )
    assert one == three and len(one) > 4


def test_an_interrupted_run_in_threads_leaves_no_temporary_file(folder, tmp_path, monkeypatch):
    def interrupted(bar):
        raise KeyboardInterrupt

    monkeypatch.setattr("maskhub.data.batch.tqdm.update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process_folder(folder, tmp_path / "out", open_photo, threads=3, progress=False)
    assert list((tmp_path / "out").rglob(f"{PARTIAL}*")) == []


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


@pytest.mark.parametrize(("quality", "subsampling"), [(60, 2), (88, 1), (100, 0)])
def test_a_jpeg_keeps_its_quality(quality, subsampling, astronaut, tmp_path):
    source, target = tmp_path / "a.jpg", tmp_path / "b.jpg"
    astronaut.save(source, quality=quality, subsampling=subsampling)
    photo = open_photo(source)
    save_photo(photo, target)
    with Image.open(source) as before, Image.open(target) as after:
        assert after.quantization == before.quantization
        assert JpegImagePlugin.get_sampling(after) == subsampling
    assert target.stat().st_size == pytest.approx(source.stat().st_size, rel=0.05)
    save_photo(photo.convert("L").convert("RGB"), target)  # what is derived from it keeps it too
    with Image.open(target) as after:
        assert after.quantization[0] == photo.info["jpeg"]["qtables"][0]


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_without_colours_or_with_four_becomes_one_in_rgb(mode, astronaut, tmp_path):
    astronaut.convert(mode).save(tmp_path / "a.jpg", quality=70)
    save_photo(open_photo(tmp_path / "a.jpg"), tmp_path / "b.jpg")
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
        assert after.mode == "RGB" and (after.quantization[0] == before.quantization[0]) == (mode == "L")


def test_formats_of_a_folder(folder, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    for name in ("one.heic", "IMG_2.HEIC"):
        pillow_heif.from_pillow(Image.new("RGB", (40, 30), "red")).save(folder / name, format="HEIF")
    Image.new("RGB", (40, 30), "red").save(folder / "web.avif")

    def names(**options):
        out = tmp_path / f"out{len(options)}"
        process_folder(folder, out, open_photo, progress=False, **options)
        found = sorted(path for path in out.rglob("[!.fm]*.*") if ".maskhub" not in path.parts)
        return {path.relative_to(out).as_posix(): Image.open(path).format for path in found}

    jpegs = dict.fromkeys(("IMG_2.jpg", "one.heic.jpg", "one.jpg"), "JPEG")
    pngs = dict.fromkeys(("a/b/three.png", "a/two.png", "web.png"), "PNG")
    assert names() == jpegs | pngs
    assert set(names(png=True).values()) == {"PNG"}
    with pytest.raises(ConfigError, match="different png"):
        process_folder(folder, tmp_path / "out1", open_photo, progress=False)
