"""Mask success: what the detector finds in folders and in a pipeline's results, by groups, and its errors."""

import json

import numpy as np
import pytest
from PIL import Image

from maskhub.cli import main
from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.masks import masks_report
from maskhub.evaluation.report import read_report
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

    def __call__(self, photo, direction, seed=0):
        return wear(photo, style="surgical", seed=1).image if direction == "mask" else photo


def test_results_in_a_folder(folder, tmp_path):
    report = masks_report(folder, tmp_path / "r.json", groups=["gender"], progress=False)
    assert report == read_report(tmp_path / "r.json") and report["measure"] == "masks"
    assert report["figures"]["masked"]["value"] == report["figures"]["unmasked"]["value"] == 0.5
    assert report["figures"]["masked"]["n"] == 6 and report["settings"]["failed"] == 2
    low, high = report["figures"]["masked"]["interval"]
    assert low < 0.2 and high > 0.8
    assert report["groups"]["gender"]["male"]["masked"]["value"] == 1
    assert report["groups"]["gender"]["female"]["masked"]["value"] == 0
    assert {item["name"] for item in report["failures"]} == {"blank.png", "broken.jpg"}
    assert any("only 6 faces" in line for line in report["warnings"])


def test_success_of_a_pipeline(folder, tmp_path):
    report = masks_report(folder, tmp_path / "on.json", pipeline=Pipe(), direction="mask", progress=False)
    figures = report["figures"]
    assert (figures["success"]["value"], figures["success"]["n"]) == (1, 3)  # of the bare ones
    assert figures["masked before"]["value"] == 0.5 and figures["masked"]["value"] == 1
    report = masks_report(folder, tmp_path / "off.json", pipeline=Pipe(), direction="unmask", progress=False)
    assert (report["figures"]["success"]["value"], report["figures"]["success"]["n"]) == (0, 3)
    picture = next(item for gallery in report["galleries"] for item in gallery["items"])["picture"]
    assert np.asarray(Image.open(tmp_path / picture)).shape[1] > np.asarray(Image.open(tmp_path / picture)).shape[0]


def test_what_cannot_be_judged(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match="holds no photo"):
        masks_report(empty, tmp_path / "r.json", progress=False)
    Image.new("RGB", (90, 90), "grey").save(empty / "blank.png")
    with pytest.raises(ConfigError, match="no face was found in any photo"):
        masks_report(empty, tmp_path / "r.json", progress=False)
    with pytest.raises(ConfigError, match="no metadata column 'age'"):
        masks_report(folder, tmp_path / "r.json", groups=["age"], progress=False)
    with pytest.raises(ConfigError, match="belong together"):
        masks_report(folder, tmp_path / "r.json", direction="mask", progress=False)
    assert not (tmp_path / "r.json").exists()


def test_the_commands(folder, tmp_path, capsys, monkeypatch):
    def run(*args):
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", *map(str, args)])
        out = capsys.readouterr()
        return stop.value.code, out.out, out.err

    code, out, _ = run("masks", "--photos", folder, "--output", tmp_path / "r.json", "--limit", 3)
    assert (
        code == 0
        and "masked         " in out
        and json.loads((tmp_path / "r.json").read_text())["settings"]["limit"] == 3
    )
    code, _, err = run("masks", "--photos", folder, "--output", tmp_path / "r.json", "--model", "x/y")
    assert code == 2 and err == "maskhub: --model needs --direction mask or unmask.\n"
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path / "home"))
    code, out, _ = run("survey", "--csv", tmp_path / "s.csv")
    assert code == 0 and out.startswith("0 rounds in ") and (tmp_path / "s.csv").read_text().startswith("visit,")
    code, _, err = run("survey", "--output", tmp_path / "s.json")
    assert code == 2 and "no answers" in err
