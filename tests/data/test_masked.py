"""Masks on photos and folders: the same whatever the workers, complete after a kill, nothing lost on the way."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import numpy as np
import psutil
import pytest
from PIL import Image

from maskhub import ConfigError, NoFaceError
from maskhub.data.masked import Wearing, mask_faces
from maskhub.data.masked_files import ADDED, mask_source
from maskhub.data.scores import SCORES


@pytest.fixture(scope="module")
def small(astronaut):
    """The head, 160×160."""
    return astronaut.crop((120, 20, 330, 230)).resize((160, 160), Image.Resampling.LANCZOS)


def variants(photo, folder, count, suffix="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        changed = photo.point([min(255, int(value * (0.7 + 0.006 * number))) for value in range(256)] * 3)
        changed.save(folder / f"{number:03d}.{suffix}")


def tree(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and ".maskhub" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module")
def crowd(small):
    """Six faces on a grey wall."""
    wall = Image.new("RGB", (540, 360), (120, 130, 140))
    for number in range(6):
        wall.paste(small, (10 + number % 3 * 180, 10 + number // 3 * 180))
    return wall


def test_every_face_of_a_group_is_masked(crowd):
    before = np.asarray(crowd)
    masked = mask_faces(before, Wearing(seed=4), "crowd")
    assert len(masked.faces) == 6
    assert {face["worn"] for face in masked.faces} == {"correctly"}
    assert np.array_equal(masked.image[masked.region == 0], before[masked.region == 0])
    for face in masked.faces:
        left, top, width, height = face["mask_box"]
        assert (masked.image != before).any(2)[top : top + height, left : left + width].mean() > 0.5
        x, y, across, down = face["box"]
        assert x - 0.3 * across < left + width / 2 < x + 1.3 * across
        assert y + 0.3 * down < top + height / 2 < y + 1.2 * down


def test_portion_and_wrongly_worn(crowd):
    worn = [face["worn"] for face in mask_faces(np.asarray(crowd), Wearing(portion=0.5), "crowd").faces]
    assert worn.count("unmasked") == 3
    worn = [face["worn"] for face in mask_faces(np.asarray(crowd), Wearing(wrongly_worn=1.0), "crowd").faces]
    assert set(worn) <= {"nose-out", "chin-out", "nose-and-mouth-out"}
    assert len(set(worn)) > 1
    assert len([f for f in mask_faces(np.asarray(crowd), Wearing(portion=0.01), "x").faces if f["mask_box"]]) == 1


@pytest.mark.parametrize("degrees", [90, 180])
def test_rotated_photos(astronaut, degrees):
    turned = np.asarray(astronaut.rotate(degrees))
    masked = mask_faces(turned, Wearing(style="surgical"), "turned")
    upright = mask_faces(np.asarray(astronaut), Wearing(style="surgical"), "turned")
    there, here = np.rot90(upright.region, degrees // 90) > 0.5, masked.region > 0.5
    assert (there & here).sum() / (there | here).sum() > 0.85


def test_a_camera_turned_by_its_tag_comes_out_upright(small, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "in").mkdir()
    small.rotate(90).save(tmp_path / "in" / "turned.jpg", exif=exif, quality=95)
    mask_source(tmp_path / "in", tmp_path / "out", boxes="coco", progress=False)
    result = Image.open(tmp_path / "out" / "turned.jpg")
    assert 274 not in result.getexif()
    assert np.abs(np.asarray(result).astype(int) - np.asarray(small))[:50].mean() < 6
    face, mask = json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]
    assert face["bbox"][1] < mask["bbox"][1] and mask["bbox"][1] > 60


def test_no_face(tmp_path):
    with pytest.raises(NoFaceError, match="no face"):
        mask_faces(np.zeros((64, 64, 3), np.uint8), Wearing(), "x")


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    """Twelve photos in two folders, with metadata, a blank and a broken one, and a note."""
    root = tmp_path_factory.mktemp("masked") / "in"
    variants(small, root / "a", 6)
    variants(small, root / "b" / "c", 6, "jpg")
    Image.new("RGB", (100, 100)).save(root / "blank.png")
    (root / "broken.jpg").write_text("no photo")
    (root / "notes.txt").write_text("keep me")
    lines = [f"a/{n:03d}.png,person {n},{n}" for n in range(6)] + [f"b/c/{n:03d}.jpg,p,9" for n in range(6)]
    (root / "metadata.csv").write_text("file_name,who,faces\n" + "\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def result(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("result")
    report = mask_source(folder, out / "o", Wearing(seed=3), workers=2, regions=out / "r", boxes="coco", progress=False)
    return out, report


def test_a_folder_keeps_all_that_it_had(folder, result):
    out, report = result
    assert (report.made, report.kept) == (12, 0)
    assert [name for name, _ in report.failures] == ["blank.png", "broken.jpg"]
    assert [row["file_name"] for row in read_csv(out / "o" / "failures.csv")] == ["blank.png", "broken.jpg"]
    assert (out / "o" / "notes.txt").read_text() == "keep me"
    rows = read_csv(out / "o" / "metadata.csv")
    own, added = ["file_name", "who", "faces"], ["mask_style", "mask_colour", "worn", "faces_", "masked_faces", *SCORES]
    assert list(rows[0]) == [*own, *added]
    assert [(row["file_name"], row["who"], row["faces"]) for row in rows[:6]] == [
        (f"a/{n:03d}.png", f"person {n}", str(n)) for n in range(6)
    ]
    assert {row["masked_faces"] for row in rows} == {"1"}
    assert len({row["mask_style"] for row in rows}) > 1


def test_regions_and_boxes(folder, result):
    out, _ = result
    for number in range(6):
        before, after = (pixels(root / "a" / f"{number:03d}.png") for root in (folder, out / "o"))
        region = np.asarray(Image.open(out / "r" / "a" / f"{number:03d}.png"))
        assert region.dtype == np.uint8
        assert np.array_equal(before[region == 0], after[region == 0])
        assert (before != after)[region == 255].any()
    assert (out / "r" / "b" / "c" / "000.png").exists()
    found = json.loads((out / "o" / "annotations.json").read_text())
    assert [image["file_name"] for image in found["images"]] == sorted(image["file_name"] for image in found["images"])
    assert len(found["images"]) == 12
    assert len(found["annotations"]) == 24
    for box in (annotation["bbox"] for annotation in found["annotations"]):
        assert box[0] >= 0 and box[1] >= 0 and box[0] + box[2] <= 160 and box[1] + box[3] <= 160


def test_an_imagefolder_loads_it(result):
    from datasets import load_dataset

    rows = load_dataset("imagefolder", data_dir=str(result[0] / "o"), split="train")
    assert len(rows) == 12
    assert {"image", "who", *ADDED} <= set(rows.column_names)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_number_of_workers_changes_nothing(folder, result, tmp_path, workers):
    mask_source(
        folder, tmp_path / "o", Wearing(seed=3), workers=workers, regions=tmp_path / "r", boxes="coco", progress=False
    )
    assert tree(tmp_path / "o") == tree(result[0] / "o")
    assert tree(tmp_path / "r") == tree(result[0] / "r")


SCRIPT = """
import sys
from maskhub.data.masked import Wearing
from maskhub.data.masked_files import mask_source
if __name__ == "__main__":
    source, out, regions = sys.argv[1:]
    mask_source(source, out, Wearing(seed=3), workers=2, regions=regions, boxes="coco", progress=False)
"""


def test_killed_and_begun_again(folder, result, tmp_path):
    (tmp_path / "go.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "go.py"), folder, tmp_path / "o", tmp_path / "r"]
    process = subprocess.Popen([str(part) for part in command], env={**os.environ, "PYTHONPATH": os.getcwd()})
    journal = tmp_path / "o" / ".maskhub" / "journal.jsonl"
    end = time.monotonic() + 60
    while time.monotonic() < end and not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        time.sleep(0.005)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(workers, timeout=60)  # they end by themselves
    # cut within a line, as a crash of the machine may leave it
    journal.write_bytes(journal.read_bytes()[:-20])
    report = mask_source(folder, tmp_path / "o", Wearing(seed=3), regions=tmp_path / "r", boxes="coco", progress=False)
    assert report.kept > 0
    assert report.made + report.kept == 12
    assert tree(tmp_path / "o") == tree(result[0] / "o")
    assert tree(tmp_path / "r") == tree(result[0] / "r")


def test_other_options_or_files_in_the_way(folder, result, tmp_path):
    with pytest.raises(ConfigError, match="a different seed"):
        mask_source(folder, result[0] / "o", Wearing(seed=4), regions=result[0] / "r", progress=False)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "000.png").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds a/000\.png"):
        mask_source(folder, tmp_path, progress=False)
    with pytest.raises(ConfigError, match="the output folder is the input"):
        mask_source(folder, folder, progress=False)
    with pytest.raises(ConfigError, match="choose one outside"):
        mask_source(folder, tmp_path / "o", regions=tmp_path / "o" / "regions", progress=False)
    for options in ({"style": "none"}, {"wrongly_worn": 1.1}, {"portion": 0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            Wearing(**options)


def test_folders_are_labels_and_voc(small, tmp_path):
    variants(small, tmp_path / "in" / "cat", 1)
    variants(small, tmp_path / "in" / "dog", 1)
    mask_source(tmp_path / "in", tmp_path / "out", boxes="voc", progress=False)
    assert [row["label"] for row in read_csv(tmp_path / "out" / "metadata.csv")] == ["cat", "dog"]
    root = ET.parse(tmp_path / "out" / "annotations" / "cat" / "000.xml").getroot()
    assert [node.text for node in root.iter("name")] == ["masked face", "mask"]
    assert 1 <= int(root.find("object/bndbox/xmin").text) < int(root.find("object/bndbox/xmax").text) <= 160


def test_a_gif_that_meets_a_png(small, tmp_path):
    (tmp_path / "in").mkdir()
    small.save(tmp_path / "in" / "x.png")
    small.save(tmp_path / "in" / "x.gif")
    report = mask_source(tmp_path / "in", tmp_path / "out", progress=False)
    assert report.made == 2
    assert sorted(path.name for path in (tmp_path / "out").glob("x*")) == ["x.gif.png", "x.png"]


def test_a_hub_dataset_becomes_an_imagefolder(small, tmp_path, hub_user):
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as ImageFeature

    features = Features({"picture": ImageFeature(), "kind": ClassLabel(names=["old", "new"]), "age": Value("int32")})
    columns = {"picture": [small, small, Image.new("RGB", (80, 80))], "kind": [0, 1, 0], "age": [30, 40, 50]}
    Dataset.from_dict(columns, features).push_to_hub(hub_user.repo("faces"))
    report = mask_source(hub_user.repo("faces"), tmp_path / "out", workers=1, progress=False)
    assert report.made == 2
    assert len(report.failures) == 1
    rows = read_csv(tmp_path / "out" / "metadata.csv")
    assert [(row["kind"], row["age"]) for row in rows] == [("old", "30"), ("new", "40")]
    assert all((tmp_path / "out" / row["file_name"]).exists() for row in rows)
    assert mask_source(hub_user.repo("faces"), tmp_path / "out", progress=False).kept == 2
