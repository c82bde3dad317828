"""Shares of found faces against what lies in the folder."""

import csv

import numpy as np
import pytest
from PIL import Image

from maskhub.errors import CheckpointError, ConfigError, SourceError
from maskhub.evaluation.detectors import detector
from maskhub.evaluation.intervals import wilson_interval
from maskhub.evaluation.measures.detection import Options, measure, measure_detection
from maskhub.evaluation.report import Figure
from maskhub.evaluation.sets import PictureSet


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    """Two photos with a face and two without; one that is no picture."""
    folder = tmp_path_factory.mktemp("faces")
    face = astronaut.crop((100, 0, 356, 256))
    face.save(folder / "a.png")
    face.convert("L").save(folder / "grey.png")
    Image.new("RGB", (256, 256), (120, 110, 90)).save(folder / "blank.png")
    Image.effect_noise((256, 256), 40).convert("RGB").save(folder / "noise.png")
    (folder / "broken.png").write_bytes(b"no picture")
    rows = [("a.png", "x"), ("grey.png", "y"), ("blank.png", "x"), ("noise.png", "y"), ("broken.png", "z")]
    with open(folder / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([("file_name", "group"), *rows])
    return folder


@pytest.mark.parametrize("name", ["yunet", "dlib-hog", pytest.param("dlib-cnn", marks=pytest.mark.slow)])
def test_a_detector_sees_a_face_and_nothing_else(folder, name):
    if name != "yunet":
        pytest.importorskip("dlib")
        pytest.importorskip("face_recognition_models")
    find = detector(name)
    photos = {path.name: np.asarray(Image.open(path).convert("RGB")) for path in folder.glob("[agn]*.png")}
    seen = {photo: find(pixels) for photo, pixels in photos.items()}
    assert seen == {"a.png": True, "grey.png": True, "noise.png": False}
    assert find(photos["a.png"][::4, ::4].copy()) or name == "yunet"  # small photos are made larger for dlib


def test_shares_groups_and_failures(folder):
    detectors = {"yunet": detector("yunet"), "any": bool_of_size}
    found = measure_detection({"unmasked": PictureSet(folder)}, detectors, groups=["group"])
    row = found.rows["unmasked"]
    assert row["found by yunet"] == Figure(0.5, wilson_interval(2, 4), 4, better="high")
    assert row["found by any"].value == 1 and found.n == 4
    groups = found.groups["group"]
    assert {name: groups[name]["unmasked"]["found by yunet"].value for name in groups} == {"x": 0.5, "y": 0.5}
    assert [item.name for item in found.failures] == ["broken.png"]
    assert any("group = x has only 2" in warning for warning in found.warnings)
    assert "1 of 5 photos is not counted: see the failures." in found.warnings


def bool_of_size(pixels):
    return bool(pixels.size)


def test_what_a_pipeline_makes_is_counted_along_with_its_sources(folder, tiny_pipeline):
    seen = []

    def bright(pixels):
        seen.append(pixels.shape)
        return bool(pixels.mean() > 0)

    both = {"unmasked": PictureSet(folder), "masked": PictureSet(folder)}
    found = measure_detection(both, {"bright": bright}, tiny_pipeline)
    counts = {name: row["found by bright"].n for name, row in found.rows.items()}
    assert counts == {
        "unmasked": 4, "unmasked, of those": 2, "masked by the model": 2,
        "masked": 4, "masked, of those": 2, "unmasked by the model": 2,
    }  # fmt: skip
    assert len(seen) == 12  # sources are looked at once
    assert ("blank.png", "the pipeline found no face to mask") in [(i.name, i.reason) for i in found.failures]
    assert found.warnings == ["2 of 10 photos are not counted: see the failures."]  # those that can't be read
    assert "masked by the model" not in found.baselines and "unmasked" in found.baselines
    assert len(found.galleries) == 2 and found.n == 8  # all are found, so none is among the worst


def test_bad_input_is_one_line(folder, tmp_path, tiny_pipeline, monkeypatch):
    find = {"yunet": detector("yunet")}
    with pytest.raises(ConfigError, match="no face detector 'haar': choose yunet, dlib-hog, dlib-cnn"):
        detector("haar")
    with pytest.raises(ConfigError, match="give --unmasked or --masked or --generated"):
        measure(Options())
    with pytest.raises(ConfigError, match="at least one detector"):
        measure_detection({"unmasked": PictureSet(folder)}, {})
    with pytest.raises(ConfigError, match=r"no metadata column 'age' to group by: there are group"):
        measure_detection({"unmasked": PictureSet(folder)}, find, groups=["age"])
    with pytest.raises(ConfigError, match="can't translate any of these photos"):
        measure_detection({"generated": PictureSet(folder)}, find, tiny_pipeline)
    (tmp_path / "one.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="no photo of the unmasked source could be read"):
        measure_detection({"unmasked": PictureSet(tmp_path)}, find)
    with pytest.raises(SourceError, match="is neither a folder here"):
        measure_detection({"unmasked": PictureSet(tmp_path / "none")}, find)
    monkeypatch.setitem(__import__("sys").modules, "dlib", None)
    with pytest.raises(CheckpointError, match="dlib is missing"):
        detector("dlib-hog")


def test_the_command(folder, tmp_path, capsys):
    from maskhub import cli

    arguments = ["evaluate", "detection", "--unmasked", str(folder), "--detectors", "yunet", "--bundled"]
    with pytest.raises(SystemExit) as end:
        cli.main([*arguments, "--output", str(tmp_path / "d.json")])
    assert end.value.code == 0 and (tmp_path / "d.json").is_file()
    assert "masked by the model" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        cli.main(["evaluate", "detection"])
    assert end.value.code == 2 and "nothing to measure" in capsys.readouterr().err
