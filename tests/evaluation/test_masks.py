"""Mask success: what the detector finds in folders and in a pipeline's results, by groups, and its errors."""

import io

import pytest
from PIL import Image

from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.measures.masks import Options, measure, measure_masks
from maskhub.evaluation.sets import PictureSet
from maskhub.masks import wear


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    head = astronaut.crop((100, 0, 350, 250))
    lines = ["file_name,gender"]
    for number in range(3):
        head.rotate(2 * number).save(root / f"bare_{number}.png")
        wear(head.rotate(2 * number), style="kn95", seed=number).image.save(root / f"worn_{number}.png")
        lines += [f"bare_{number}.png,female", f"worn_{number}.png,male"]
    Image.new("RGB", (90, 90), "grey").save(root / "blank.png")
    (root / "broken.jpg").write_text("no photo")
    (root / "metadata.csv").write_text("\n".join([*lines, "blank.png,male"]) + "\n")
    return root


class Pipe:
    """Puts the mask on by rule, or leaves all as it is."""

    def __call__(self, photo, direction, seed=0, force=False):
        return wear(photo, style="surgical", seed=1).image if direction == "mask" else photo


def test_results_in_a_folder(folder):
    report = measure_masks(PictureSet(folder), groups=["gender"])
    found, missing, _ = report.rows[""].values()
    assert list(report.rows[""]) == ["mask_detected", "no_mask_detected", "mask_presence"]
    assert found.value == missing.value == 0.5 and found.n == report.n == 6 and len(report.failures) == 2
    low, high = found.interval
    assert low < 0.2 and high > 0.8
    groups = report.groups["gender"]
    assert groups["male"][""]["mask_detected"].value == 1 and groups["female"][""]["mask_detected"].value == 0
    assert {item.name: bool(item.picture) for item in report.failures} == {"blank.png": True, "broken.jpg": False}
    assert any("only 6 faces" in line for line in report.warnings)
    assert "2 of 8 photos are not counted: see the failures." in report.warnings


def test_success_of_a_pipeline(folder):
    report = measure_masks(PictureSet(folder), Pipe(), "mask")
    figures = report.rows[""]
    assert (figures["success"].value, figures["success"].n) == (1, 3)  # of the unmasked ones
    assert figures["mask_detected_before"].value == 0.5 and figures["mask_detected"].value == 1
    report = measure_masks(PictureSet(folder), Pipe(), "unmask")
    assert (report.rows[""]["success"].value, report.rows[""]["success"].n) == (0, 3)
    with Image.open(io.BytesIO(report.galleries[0].items[0].picture)) as strip:
        assert strip.width == 2 * strip.height


def test_what_cannot_be_measured(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="holds no photo"):
        measure_masks(PictureSet(empty))
    Image.new("RGB", (90, 90), "grey").save(empty / "blank.png")
    with pytest.raises(ConfigError, match=r"no face was found in any photo of .*: blank\.png: no face was found\."):
        measure_masks(PictureSet(empty))
    with pytest.raises(ConfigError, match="no metadata column 'age'"):
        measure_masks(PictureSet(folder), groups=["age"])
    with pytest.raises(ConfigError, match="belong together"):
        measure_masks(PictureSet(folder), direction="mask")
    with pytest.raises(ConfigError, match="--model needs --direction mask or unmask"):
        measure(Options(photos=str(folder), model="x/y"))
