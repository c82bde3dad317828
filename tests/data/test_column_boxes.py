"""Faces in a column of a data set: boxes and landmarks in the forms that data sets use."""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, List, Value
from PIL import Image

from maskhub.data.column_boxes import ColumnBoxes, _class_names, open_own_boxes
from maskhub.data.masked import Wearing
from maskhub.data.masked_files import mask_source
from maskhub.data.own_boxes import faces_in
from maskhub.data.rows import Row, open_rows
from maskhub.data.shards import build_dataset
from maskhub.errors import ConfigError, PhotoError, SourceError
from maskhub.faces.detect import detect
from maskhub.faces.landmarks import landmarks

MESH_68 = {36: 33, 39: 133, 42: 362, 45: 263, 30: 1, 48: 61, 54: 291}


@pytest.fixture(scope="module")
def pair(astronaut):
    """Two people next to each other."""
    head = np.asarray(astronaut)[:300, 60:400]
    return np.hstack([head, head[:, ::-1]])


@pytest.fixture(scope="module")
def faces(pair):
    return sorted(detect(pair), key=lambda face: face.box[0])


def whole(values):
    return np.rint(values).astype(int).tolist()


def of(value, names=(), size=(680, 300)):
    return ColumnBoxes("objects", names).of(Row(0, "a.png", "", {"objects": value}), *size)


def test_forms_of_boxes(faces):
    boxes = [whole(face.box) for face in faces]
    forms = [
        boxes, {"bbox": boxes, "category": [1, 1]}, [{"bbox": box, "category": 1} for box in boxes],
        json.dumps({"boxes": boxes, "labels": ["head", "head"]}), {"bbox": boxes},
    ]  # fmt: skip
    found = [of(form, ["person", "head"]) for form in forms]
    assert all([own.box for own in owns] == boxes for owns in found)
    assert [owns[0].category for owns in found] == ["face", "head", "head", "head", "face"]
    assert [own.box for own in of(boxes[0])] == boxes[:1]
    assert of(None) == of([]) == of("") == []


@pytest.mark.parametrize("form", ["five", "flat", "68", "with boxes"])
def test_landmarks_need_no_detector(pair, faces, form, monkeypatch):
    five = np.stack([face.points for face in faces])
    if form == "68":
        value = np.zeros((2, 68, 2))
        for place, face in enumerate(faces):
            mesh = landmarks(pair, face).points
            for number, other in MESH_68.items():
                value[place, number] = mesh[other, :2]
            for eye, ends in ((range(36, 42), (33, 133)), (range(42, 48), (362, 263))):
                value[place, list(eye)] = mesh[list(ends), :2].mean(0)
    else:
        value = five.reshape(2, 10) if form == "flat" else five
    value = (
        {"bbox": [face.box for face in faces], "landmarks": value.tolist()} if form == "with boxes" else value.tolist()
    )
    boxes = of(value)
    monkeypatch.setattr("maskhub.data.own_boxes.detect", None)
    for own, face, known in zip(boxes, faces_in(pair, boxes), faces, strict=True):
        assert np.abs(face.points - known.points).max() < 12
        assert np.abs(np.subtract(own.box, known.box)).max() < 0.25 * known.box[2]
        assert landmarks(pair, face).present


@pytest.mark.parametrize("value", ["street", [[1, 2, 3]], {"area": [4]}, 7, [{"bbox": [1, 2]}]])
def test_other_columns_are_refused(value):
    with pytest.raises(PhotoError, match="'objects' holds neither boxes nor landmarks"):
        of(value)


def test_boxes_outside_the_picture_are_refused():
    with pytest.raises(PhotoError, match="is not in the picture"):
        of([[700, 10, 40, 40]])


def test_names_of_classes():
    names = ["person", "face"]
    one = Features({"objects": {"bbox": List(List(Value("float32"))), "category": List(ClassLabel(names=names))}})
    other = Features({"objects": List({"bbox": List(Value("float32")), "category": ClassLabel(names=names)})})
    assert _class_names(one["objects"]) == _class_names(other["objects"]) == names
    assert _class_names(Value("string")) == _class_names(None) == ()


@pytest.fixture(scope="module")
def folder(pair, faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    Image.fromarray(pair).save(folder / "a.png")
    row = {"file_name": "a.png", "who": "twins", "left": {"bbox": [whole(faces[0].box)], "category": ["visitor"]}}
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_a_masked_folder_keeps_the_boxes_of_a_column(folder, tmp_path, faces):
    mask_source(folder, tmp_path / "out", Wearing(seed=1, own_boxes="left"), boxes="coco", progress=False)
    coco = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [kind["name"] for kind in coco["categories"]] == ["visitor"]
    assert [entry["bbox"] for entry in coco["annotations"]] == [whole(faces[0].box)]
    assert coco["annotations"][0]["attributes"]["worn"] == "correctly"
    row = json.loads((tmp_path / "out" / "metadata.jsonl").read_text())
    assert (row["who"], row["masked_faces"]) == ("twins", 1)
    wearing = Wearing(seed=1, own_boxes="left")
    assert mask_source(folder, tmp_path / "out", wearing, boxes="coco", progress=False).kept == 1
    other = shutil.copytree(folder, tmp_path / "other") / "metadata.jsonl"
    other.write_text(other.read_text().replace("visitor", "guest"))
    with pytest.raises(ConfigError, match=r"a\.png"):
        mask_source(other.parent, tmp_path / "out", wearing, boxes="coco", progress=False)


def test_pairs_of_the_faces_in_a_column(folder, tmp_path, faces):
    build_dataset(folder, tmp_path / "out", Wearing(seed=1, own_boxes="left"), progress=False)
    (row,) = pq.read_table(tmp_path / "out" / "data").to_pylist()
    assert len(row["boxes"]) == 1
    assert row["boxes"][0] == pytest.approx(faces[0].box, abs=0.1)
    with pytest.raises(SourceError, match=re.escape("there are no boxes middle")):
        open_own_boxes(open_rows(folder), "middle")
