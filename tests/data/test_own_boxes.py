"""Detection data by the two-step way: the boxes that a data set brings are kept in number, order and class."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import yaml
from PIL import Image

from maskhub.cli import main
from maskhub.commands.network_masks import mask_by_network
from maskhub.data.boxes import CATEGORIES
from maskhub.data.masked import Wearing
from maskhub.data.masked_files import mask_source
from maskhub.data.own_boxes import OwnBox, OwnBoxes, faces_in
from maskhub.errors import PhotoError, SourceError
from maskhub.faces.detect import detect

CLASSES = ["person", "face"]


@pytest.fixture(scope="module")
def crowd(astronaut):
    """Four faces on a grey wall, the last one too small for the detector of the whole photo."""
    head = astronaut.crop((120, 20, 330, 230))
    wall = Image.new("RGB", (1400, 420), (120, 130, 140))
    for number in range(3):
        wall.paste(head.resize((200, 200), Image.Resampling.LANCZOS), (20 + 230 * number, 40 + 50 * number))
    wall.paste(head.resize((34, 34), Image.Resampling.LANCZOS), (1300, 360))
    return wall


@pytest.fixture(scope="module")
def boxes(crowd):
    """Class and box in an order of their own: a person, two of three large faces, the small one, an empty place."""
    large = sorted((face.box for face in detect(np.asarray(crowd)) if face.box[2] > 50), key=lambda box: box[0])
    assert len(large) == 3
    small = [1306.0, 362.0, 20.0, 24.0]
    whole = [[round(value) for value in box] for box in (large[2], large[0])]
    rows = [("person", [10, 20, 210, 240]), ("face", whole[0]), ("face", small), ("face", whole[1])]
    return [*rows, ("face", [900, 40, 60, 70])]


def write(folder, crowd, boxes, form):
    """The photo and its boxes, as a data set brings them; returns the photo's path in the folder."""
    name = "images/train/crowd.png" if form == "yolo" else "crowd.png"
    (folder / name).parent.mkdir(parents=True)
    crowd.save(folder / name)
    if form == "coco":
        entries = [
            {"id": 70 + n, "image_id": 9, "category_id": 3 + CLASSES.index(name), "bbox": box, "iscrowd": 0, "hard": n}
            for n, (name, box) in enumerate(boxes)
        ]
        images = [{"id": 9, "file_name": "crowd.png", "width": crowd.width, "height": crowd.height}]
        classes = [{"id": 3 + number, "name": name} for number, name in enumerate(CLASSES)]
        data = {"images": images, "annotations": entries, "categories": classes}
        (folder / "annotations.json").write_text(json.dumps(data))
    elif form == "voc":
        root = ET.Element("annotation")
        for category, (left, top, width, height) in boxes:
            entry = ET.SubElement(root, "object")
            ET.SubElement(entry, "name").text = category
            corners = ET.SubElement(entry, "bndbox")
            values = {"xmin": left + 1, "ymin": top + 1, "xmax": left + width, "ymax": top + height}
            for key, value in values.items():
                ET.SubElement(corners, key).text = str(int(value))
        (folder / "Annotations").mkdir()
        (folder / "Annotations" / "crowd.xml").write_text(ET.tostring(root, encoding="unicode"))
    else:
        lines = [
            f"{CLASSES.index(name)} {(x + w / 2) / crowd.width} {(y + h / 2) / crowd.height} {w / crowd.width} "
            f"{h / crowd.height}\n"
            for name, (x, y, w, h) in boxes
        ]
        (folder / "labels" / "train").mkdir(parents=True)
        (folder / "labels" / "train" / "crowd.txt").write_text("".join(lines))
        (folder / "data.yaml").write_text(yaml.safe_dump({"names": CLASSES}))
    return name


def read(folder, name, form):
    """Class and box of each annotation that was written, in its order."""
    if form == "coco":
        data = json.loads((folder / "annotations.json").read_text())
        classes = {entry["id"]: entry["name"] for entry in data["categories"]}
        return [(classes[entry["category_id"]], entry["bbox"]) for entry in data["annotations"]]
    own = OwnBoxes.find(folder, folder / "annotations" if form == "voc" else None)
    with Image.open(folder / name) as photo:
        return [(own_box.category, own_box.box) for own_box in own.boxes(name, *photo.size)]


@pytest.mark.parametrize("form", ["coco", "voc", "yolo"])
def test_own_boxes_stay_as_they_are(form, crowd, boxes, tmp_path):
    name = write(tmp_path / "in", crowd, boxes, form)
    report = mask_source(tmp_path / "in", tmp_path / "out", Wearing(seed=2), boxes=form, progress=False)
    assert (report.made, report.failures) == (1, [])
    found = read(tmp_path / "out", name, form)
    assert [category for category, _ in found] == [category for category, _ in boxes]
    assert np.allclose([box for _, box in found], [box for _, box in boxes], atol=1e-6 if form == "yolo" else 0)
    if form == "coco":
        data = json.loads((tmp_path / "out" / "annotations.json").read_text())
        assert [entry["id"] for entry in data["annotations"]] == [70, 71, 72, 73, 74]
        assert [entry["hard"] for entry in data["annotations"]] == [0, 1, 2, 3, 4] and data["images"][0]["id"] == 9
        worn = [entry["attributes"]["worn"] for entry in data["annotations"]]
        assert worn[0] == worn[4] == "not found" and worn[1] == worn[3] == "correctly"
    before, after = np.asarray(crowd), np.asarray(Image.open(tmp_path / "out" / name).convert("RGB"))
    changed = (before != after).any(2)
    for _, (x, y, w, h) in (boxes[1], boxes[3]):
        assert changed[y + h // 2 : y + h, x : x + w].mean() > 0.3
        changed[max(0, y - 20) : y + h + 30, max(0, x - 30) : x + w + 30] = False
    assert not changed[:, :1200].any()  # the third large face, which is in no box, is as it was
    again = mask_source(tmp_path / "in", tmp_path / "out", Wearing(seed=2), boxes=form, progress=False)
    assert (again.made, again.kept) == (0, 1) and read(tmp_path / "out", name, form) == found
    assert len(list((tmp_path / "out").rglob("*.xml"))) == (form == "voc")  # the old annotations are not copied


def test_a_small_face_is_found_within_its_box(crowd, boxes):
    pixels = np.asarray(crowd)
    faces = faces_in(pixels, [OwnBox(category, box) for category, box in boxes])
    assert faces[0] is None and faces[4] is None and faces[1] and faces[3]
    assert not [face for face in detect(pixels) if face.box[0] > 1200]
    x, y = faces[2].points.mean(0)
    assert 1306 < x < 1326 and 362 < y < 386 and faces[2].box[2] < 34
    assert faces_in(pixels, [OwnBox("mask", boxes[1][1])]) == [None]  # a mask is no face


def test_boxes_without_own_ones_in_yolo(crowd, tmp_path):
    (tmp_path / "in").mkdir()
    crowd.save(tmp_path / "in" / "a.png")
    mask_source(tmp_path / "in", tmp_path / "out", boxes="yolo", progress=False)
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert list(data["names"].values()) == list(CATEGORIES)
    lines = [line.split() for line in (tmp_path / "out" / "a.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["0", "3"] * 3  # a masked face and its mask, three times
    assert all(0 < float(value) < 1 for line in lines for value in line[1:])


def test_boxes_that_do_not_fit_are_said(crowd, boxes, tmp_path):
    write(tmp_path / "in", crowd.resize((700, 210)), boxes, "coco")
    data = json.loads((tmp_path / "in" / "annotations.json").read_text())
    data["images"][0] |= {"width": 1400, "height": 420}
    (tmp_path / "in" / "annotations.json").write_text(json.dumps(data))
    report = mask_source(tmp_path / "in", tmp_path / "out", boxes="coco", progress=False)
    assert report.failures == [("crowd.png", "its boxes are of a picture of 1400×420, but it is 700×210.")]
    (tmp_path / "in" / "annotations.json").write_text("{}")
    with pytest.raises(SourceError, match="not a COCO file of boxes"):
        mask_source(tmp_path / "in", tmp_path / "new", boxes="coco", progress=False)
    with pytest.raises(SourceError, match="there are no boxes"):
        mask_source(tmp_path / "in", tmp_path / "new", Wearing(own_boxes=str(tmp_path / "no")), progress=False)
    assert OwnBoxes.find(tmp_path) is None
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    own = OwnBoxes.find(tmp_path)
    (tmp_path / "labels" / "a.txt").write_text("0 0.5\n")
    with pytest.raises(PhotoError, match="damaged annotation"):
        own.boxes("a.png", 10, 10)


def test_a_network_masks_a_portion_of_the_faces(tiny_pipeline, crowd, boxes):
    pixels, wearing = np.asarray(crowd), Wearing(seed=1, portion=0.4)
    own = faces_in(pixels, [OwnBox(category, box) for category, box in boxes])
    masked = mask_by_network(tiny_pipeline, pixels, wearing, "crowd.png", own)
    worn = [face["worn"] for face in masked.faces]
    assert worn.count("correctly") == 2 and worn[0] == worn[4] == "not found"
    assert {face["style"] for face in masked.faces} == {"", tiny_pipeline.model_name}
    assert not (pixels != masked.image).any(2)[masked.region == 0].any() and (masked.region > 0).any()
    again = mask_by_network(tiny_pipeline, pixels, wearing, "crowd.png", own)
    assert np.array_equal(again.image, masked.image) and again.faces == masked.faces
    other = [mask_by_network(tiny_pipeline, pixels, wearing.replaced(seed=s), "c", own).faces for s in range(4)]
    assert len({tuple(face["worn"] for face in faces) for faces in other}) > 1


def test_the_command_with_a_model_and_boxes(tiny_pipeline, crowd, boxes, tmp_path, capsys):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    name = write(tmp_path / "in", crowd, boxes, "voc")
    args = ["--model", str(tmp_path / "model"), "--boxes", "coco", "--portion", "0.5", "--force"]
    with pytest.raises(SystemExit) as stop:
        main(["mask", str(tmp_path / "in"), str(tmp_path / "out"), *args])
    assert stop.value.code == 0 and "1 made" in capsys.readouterr().out
    found = read(tmp_path / "out", name, "coco")
    assert [category for category, _ in found] == [category for category, _ in boxes]
    with pytest.raises(SystemExit) as stop:
        main(["mask", str(tmp_path / "in"), str(tmp_path / "out"), *args, "--style", "kn95"])
    assert stop.value.code == 2 and "--style can't be used with --model" in capsys.readouterr().err


def test_a_model_masks_only_the_faces_in_the_boxes_that_are_named(tiny_pipeline, crowd, tmp_path, capsys):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    write(tmp_path / "in", crowd, [("face", [0, 0, 8, 8])], "coco")
    (tmp_path / "in" / "annotations.json").rename(tmp_path / "boxes.json")
    args = ["--model", str(tmp_path / "model"), "--own-boxes", str(tmp_path / "boxes.json"), "--png", "--force"]
    with pytest.raises(SystemExit) as stop:
        main(["mask", str(tmp_path / "in"), str(tmp_path / "out"), *args])
    assert stop.value.code == 0 and "1 made" in capsys.readouterr().out
    (made,) = (tmp_path / "out").glob("*.png")
    assert np.array_equal(np.asarray(Image.open(made)), np.asarray(crowd))
