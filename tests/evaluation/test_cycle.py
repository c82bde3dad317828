"""The error there and back is the pipeline's own, face by face, both ways."""

import csv

import numpy as np
import pytest
from PIL import Image

from maskhub import FaceMaskPipeline
from maskhub.errors import ConfigError
from maskhub.evaluation.measures.cycle import Options, measure, measure_cycle
from maskhub.evaluation.sets import PictureSet


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    for number in range(3):
        astronaut.crop((100 - 8 * number, 0, 356, 256)).save(folder / f"{number}.png")
    Image.new("RGB", (128, 128)).save(folder / "blank.png")
    with open(folder / "metadata.csv", "w", newline="") as file:
        rows = [("0.png", "x"), ("1.png", "x"), ("2.png", "y"), ("blank.png", "z")]
        csv.writer(file).writerows([("file_name", "group"), *rows])
    return folder


def test_errors_are_the_pipelines_own(folder, tiny_pipeline, tmp_path):
    both = {"unmasked": PictureSet(folder), "masked": PictureSet(folder)}
    found = measure_cycle(tiny_pipeline, both, groups=["group"])
    paths = [folder / f"{number}.png" for number in range(3)]
    for start, title in (("mask", "unmasked → masked → unmasked"), ("unmask", "masked → unmasked → masked")):
        own = [errors[0] for errors in tiny_pipeline.cycle(paths, start, force=True, details=True).cycle_errors]
        row = found.rows[title]
        assert row["mean error"].value == pytest.approx(np.mean(own)) and row["mean error"].n == 3
        assert row["σ"].value == pytest.approx(np.std(own, ddof=1))
        assert row["median"].value == pytest.approx(np.median(own)) and row["median"].detail
        low, high = row["mean error"].interval
        assert min(own) <= low <= np.mean(own) <= high <= max(own)
        single = found.groups["group"]["y"][title]
        assert single["mean error"].value == pytest.approx(own[2]) and single["mean error"].interval is None
        assert single["σ"].value is None
    assert [(item.name, item.reason) for item in found.failures] == [("blank.png", "the pipeline found no face")] * 2
    assert "2 of 8 photos are not counted: see the failures." in found.warnings
    found.save(tmp_path / "faces.json")
    with open(tmp_path / "faces.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and rows[0].keys() == {"direction", "photo", "face", "error", "group"}


def test_a_pipeline_that_changes_nothing_has_no_error(folder):
    import torch

    class Same(torch.nn.Module):
        device, dtype, takes_noise = torch.device("cpu"), torch.float32, False

        def forward(self, batch):
            return batch

    pipeline = FaceMaskPipeline(resolution=64)
    pipeline.masker = pipeline.unmasker = Same()
    found = measure_cycle(pipeline, {"unmasked": PictureSet(folder)})
    assert found.rows["unmasked → masked → unmasked"]["mean error"].value == 0


def test_bad_input_is_one_line(folder, tmp_path, tiny_pipeline):
    with pytest.raises(ConfigError, match="needs both directions; this pipeline has no unmasker"):
        measure_cycle(FaceMaskPipeline(masker=tiny_pipeline.masker, resolution=64), {"unmasked": PictureSet(folder)})
    with pytest.raises(ConfigError, match="give --unmasked or --masked"):
        measure(Options())
    with pytest.raises(ConfigError, match="no metadata column 'age'"):
        measure_cycle(tiny_pipeline, {"unmasked": PictureSet(folder)}, groups=["age"])
    Image.new("RGB", (64, 64)).save(tmp_path / "blank.png")
    with pytest.raises(ConfigError, match="no face was found in any photo"):
        measure_cycle(tiny_pipeline, {"unmasked": PictureSet(tmp_path)})


def test_the_command(folder, tmp_path, capsys):
    from maskhub import cli

    with pytest.raises(SystemExit) as end:
        cli.main(["evaluate", "cycle", "--unmasked", str(folder), "--output", str(tmp_path / "c.json")])
    assert end.value.code == 0 and "mean error" in capsys.readouterr().out and (tmp_path / "c.csv").is_file()
