"""Results that other programs can read: one file beside each photo, Pascal VOC's layout, imagefolders with splits."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion, binary_fill_holes

from maskhub import ConfigError
from maskhub.cli import main
from maskhub.data.curate import Criteria, curate_source
from maskhub.data.masked import Wearing
from maskhub.data.masked_files import ADDED, mask_source
from maskhub.data.rows import FolderRows


@pytest.fixture(scope="module")
def small(astronaut):
    """The head, 160×160."""
    return astronaut.crop((120, 20, 330, 230)).resize((160, 160), Image.Resampling.LANCZOS)


def put(photo, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.save(path)


def rgb(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_photos_of_one_stem_have_files_of_their_own(small, tmp_path):
    for shift, suffix in enumerate(("bmp", "tiff", "webp")):
        put(small.rotate(10 * shift), tmp_path / "in" / f"x.{suffix}")
    report = mask_source(tmp_path / "in", tmp_path / "out", regions=tmp_path / "r", boxes="voc", progress=False)
    assert report.made == 3
    for suffix, side in (("bmp", "x"), ("tiff", "x.tiff"), ("webp", "x.webp")):
        changed = (rgb(tmp_path / "in" / f"x.{suffix}") != rgb(tmp_path / "out" / f"x.{suffix}")).any(2)
        region = np.asarray(Image.open(tmp_path / "r" / f"{side}.png"))
        assert changed[region == 255].any() and not changed[region == 0].any()
        root = ET.parse(tmp_path / "out" / "annotations" / f"{side}.xml")
        assert root.findtext("filename") == f"x.{suffix}"
    arguments = [
        "outline",
        *(str(tmp_path / name) for name in ("in", "out", "drawn")),
        "--regions",
        str(tmp_path / "r"),
    ]
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    for suffix, side in (("bmp", "x"), ("tiff", "x.tiff"), ("webp", "x.webp")):  # the line is at the mask's own edge
        line = (rgb(tmp_path / "drawn" / f"x.{suffix}") != rgb(tmp_path / "out" / f"x.{suffix}")).any(2)
        enclosed = binary_erosion(binary_fill_holes(line), iterations=3)  # half the line's width
        region = np.asarray(Image.open(tmp_path / "r" / f"{side}.png")) > 127
        assert (region & enclosed).sum() / (region | enclosed).sum() > 0.95  # of the other photos' regions at most 0.9
    with pytest.raises(ConfigError, match=r"one file of boxes for x\.bmp and x\.tiff"):
        mask_source(tmp_path / "in", tmp_path / "yolo", boxes="yolo", progress=False)
    assert not (tmp_path / "yolo").exists()


def test_the_layout_of_pascal_voc(small, tmp_path):
    put(small, tmp_path / "in" / "JPEGImages" / "000.png")
    mask_source(tmp_path / "in", tmp_path / "out", boxes="voc", progress=False)
    assert (tmp_path / "out" / "Annotations" / "000.xml").exists()
    assert not (tmp_path / "out" / "annotations").exists()


@pytest.mark.parametrize("labels", [("",), ("cat/", "dog/")])
def test_loaders_find_the_columns_of_splits(labels, small, tmp_path):
    from datasets import load_dataset

    for split in ("train", "test"):
        for label in labels:
            put(small, tmp_path / "in" / split / label / "000.png")
    mask_source(tmp_path / "in", tmp_path / "out", boxes="voc", progress=False)
    curate_source(tmp_path / "out", tmp_path / "kept", Criteria(min_size=0, min_sharpness=0), progress=False)
    for folder in ("out", "kept"):
        loaded = load_dataset("imagefolder", data_dir=str(tmp_path / folder))
        assert {split: len(rows) for split, rows in loaded.items()} == {"train": len(labels), "test": len(labels)}
        for rows in loaded.values():
            assert {"image", "label", *ADDED} <= set(rows.column_names)
            assert [row["image"].size for row in rows] == [small.size] * len(labels)


def test_loaders_find_the_columns_of_a_table_above_the_splits(small, tmp_path):
    from datasets import load_dataset

    for split in ("train", "test"):
        put(small, tmp_path / "in" / split / "000.png")
    (tmp_path / "in" / "metadata.csv").write_text("file_name,age\ntrain/000.png,30\ntest/000.png,40\n")
    mask_source(tmp_path / "in", tmp_path / "out", progress=False)
    curate_source(tmp_path / "in", tmp_path / "kept", Criteria(min_size=0, min_sharpness=0), progress=False)
    for folder in ("out", "kept"):
        loaded = load_dataset("imagefolder", data_dir=str(tmp_path / folder))
        assert {split: rows["age"][:] for split, rows in loaded.items()} == {"train": [30], "test": [40]}
        assert not (tmp_path / folder / "metadata.csv").exists()


def test_loaders_accept_splits_whose_columns_look_different(small, tmp_path):
    """As CSV, they would take the scores of the one for numbers, and those of the other for texts, and refuse both."""
    from datasets import load_dataset

    two = Image.new("RGB", (320, 160), "grey")
    two.paste(small, (0, 0)), two.paste(small, (160, 0))
    put(small, tmp_path / "in" / "train" / "000.png")
    put(two, tmp_path / "in" / "test" / "000.png")
    (tmp_path / "in" / "metadata.csv").write_text("file_name,age,size\ntrain/000.png,30,1\ntest/000.png,,0.5\n")
    (tmp_path / "out").mkdir()
    for _ in range(2):
        mask_source(tmp_path / "in", tmp_path / "out", Wearing(scores="fast"), progress=False)
        loaded = load_dataset("imagefolder", data_dir=str(tmp_path / "out"))
        train, test = loaded["train"][0], loaded["test"][0]
        assert (train["masked_faces"], test["masked_faces"]) == (1, 2)
        assert len(train["quality"].split(";")) == 1 and len(test["quality"].split(";")) == 2
        assert (train["age"], test["age"]) == ("30", "") and (train["size"], test["size"]) == (1.0, 0.5)
    put(small, tmp_path / "in" / "test" / "000.png")
    (tmp_path / "in" / "metadata.csv").unlink()
    mask_source(tmp_path / "in", tmp_path / "out", Wearing(scores="fast"), overwrite=True, progress=False)
    assert {path.name for path in (tmp_path / "out").glob("*/metadata.*")} == {"metadata.csv"}


def test_of_two_tables_the_first_is_read(small, tmp_path):
    """A result with both is refused by loaders."""
    from datasets import load_dataset

    put(small, tmp_path / "in" / "000.png")
    (tmp_path / "in" / "metadata.csv").write_text("file_name,age\n000.png,30\n")
    (tmp_path / "in" / "metadata.jsonl").write_text('{"file_name": "000.png", "age": 40}\n')
    with pytest.warns(UserWarning, match=r"left out: metadata\.jsonl, since metadata\.csv is read"):
        mask_source(tmp_path / "in", tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "metadata.jsonl").exists()
    assert load_dataset("imagefolder", data_dir=str(tmp_path / "out"))["train"]["age"] == [30]


def test_tables_are_of_one_kind(small, tmp_path):
    """Loaders refuse a mixture."""
    for split in ("train", "test"):
        put(small, tmp_path / "in" / split / "000.png")
    (tmp_path / "in" / "train" / "metadata.jsonl").write_text('{"file_name": "000.png", "age": 30}\n')
    homes = {row.name: row.home for row in FolderRows(tmp_path / "in")}
    assert homes == {"train/000.png": "train/metadata.jsonl", "test/000.png": "test/metadata.jsonl"}


@pytest.mark.parametrize(
    "form, photos, boxes", [("voc", "JPEGImages", "Annotations/000.xml"), ("yolo", "images", "labels/000.txt")]
)
def test_boxes_are_not_replaced_by_the_sources(form, photos, boxes, small, tmp_path):
    put(small, tmp_path / "in" / photos / "000.png")
    (tmp_path / "in" / boxes).parent.mkdir()
    (tmp_path / "in" / boxes).write_text("of the source")
    mask_source(tmp_path / "in", tmp_path / "out", Wearing(own_boxes="none"), boxes=form, progress=False)
    assert "of the source" not in (tmp_path / "out" / boxes).read_text()


def test_yolo_refuses_photos_of_one_stem_with_boxes_of_their_own(small, tmp_path):
    for suffix in ("bmp", "png"):
        put(small, tmp_path / "in" / f"x.{suffix}")
    (tmp_path / "in" / "annotations.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ConfigError, match=r"one file of boxes for x\.bmp and x\.png"):
        mask_source(tmp_path / "in", tmp_path / "out", boxes="yolo", progress=False)


def test_a_photo_that_fails_does_not_rename_the_boxes_of_others(small, tmp_path):
    put(Image.new("RGB", small.size), tmp_path / "in" / "x.bmp")
    put(small, tmp_path / "in" / "x.tiff")
    mask_source(tmp_path / "in", tmp_path / "out", regions=tmp_path / "r", boxes="voc", progress=False)
    assert [path.name for path in (tmp_path / "out" / "annotations").iterdir()] == ["x.tiff.xml"]
    assert (tmp_path / "r" / "x.tiff.png").exists()


@pytest.mark.parametrize(
    "form, foreign",
    [
        ("voc", "annotations/train/000.xml"),
        ("yolo", "train/000.txt"),
        ("yolo", "data.yaml"),
        ("none", "train/metadata.csv"),
    ],
)
def test_files_of_others_are_not_overwritten(form, foreign, small, tmp_path):
    put(small, tmp_path / "in" / "train" / "000.png")
    (tmp_path / "out" / foreign).parent.mkdir(parents=True)
    (tmp_path / "out" / foreign).write_text("not ours")
    with pytest.raises(ConfigError, match=f"{foreign} was not written by this version of maskhub"):
        mask_source(tmp_path / "in", tmp_path / "out", boxes=form, progress=False)
    assert (tmp_path / "out" / foreign).read_text() == "not ours"


@pytest.mark.parametrize("form, sheet", [("voc", "annotations/{}.xml"), ("yolo", "{}.txt")])
def test_boxes_of_a_photo_that_fails_now_are_deleted(form, sheet, small, tmp_path):
    for name in ("a", "b"):
        put(small, tmp_path / "in" / f"{name}.png")
    mask_source(tmp_path / "in", tmp_path / "out", boxes=form, progress=False)
    put(Image.new("RGB", small.size), tmp_path / "in" / "a.png")
    mask_source(tmp_path / "in", tmp_path / "out", boxes=form, overwrite=True, progress=False)
    assert not (tmp_path / "out" / sheet.format("a")).exists()
    assert (tmp_path / "out" / sheet.format("b")).exists()
