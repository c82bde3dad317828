"""Two sets measured: what is reported, what is warned of, and what can't be measured."""

import numpy as np
import pytest
import torch
from PIL import Image

from maskhub import FeatureNetwork
from maskhub.errors import ConfigError, NoFaceError, SourceError
from maskhub.evaluation.features import FeatureExtractor
from maskhub.evaluation.measures.quality import Options, measure_quality
from maskhub.evaluation.sets import PictureSet
from tests.evaluation.conftest import clouds


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return FeatureExtractor("small", FeatureNetwork("vgg16", layer=3, resolution=32), 32)


def measure(real, made, network, **options):
    return measure_quality(PictureSet(real), PictureSet(made), network, **{"resamples": 4} | options)


def test_a_set_and_itself_are_zero_apart(tmp_path, network):
    folder = clouds(tmp_path / "a", 30)
    found = measure(folder, folder, network)
    frechet, kernel = found.rows[""].values()
    assert frechet.value == pytest.approx(0, abs=1e-6) and kernel.value <= 0
    assert (frechet.network, frechet.n, frechet.better, frechet.title) == ("small", 30, "low", "")
    low, high = frechet.interval
    assert low <= frechet.value <= high
    assert found.settings["resolution_real"] == "48×48" and "32×32" in found.settings["resize"]
    assert any("fewer than 2048" in warning for warning in found.warnings)


def test_only_published_weights_make_a_fid(tmp_path):
    torch.manual_seed(0)
    network = FeatureExtractor("inception", FeatureNetwork("vgg16", layer=3, resolution=32), 32, published=True)
    figures = measure(clouds(tmp_path / "a", 5), clouds(tmp_path / "b", 5, seed=1), network).rows[""]
    assert (figures["frechet"].title, figures["kernel"].title) == ("FID", "KID")


def test_sets_that_differ_are_told_apart_and_what_differs_is_said(tmp_path, network):
    real, made = clouds(tmp_path / "a", 24), clouds(tmp_path / "b", 20, seed=1, side=40)
    for path in sorted(made.iterdir())[:3]:
        Image.open(path).convert("L").save(path)
    (made / "broken.png").write_text("no picture")
    found = measure(real, made, network)
    same = measure(real, clouds(tmp_path / "c", 20, seed=2), network)
    assert found.rows[""]["kernel"].value > same.rows[""]["kernel"].value
    said = " ".join(found.warnings)
    for part in (
        "24 real and 20 generated",
        "differ in resolution (48×48 and 40×40)",
        "3 of 20 generated",
        "greyscale",
    ):
        assert part in said
    assert [item.name for item in found.failures] == ["broken.png"]
    assert sum(len(gallery.items) for gallery in found.galleries) == 20
    assert found.curves[0].lines["distance"][-1][0] == 20


def test_train_and_held_out_photos_are_apart(tmp_path, network):
    folder = clouds(tmp_path / "a", 60)
    found = measure(folder, folder, network)
    values = {value: rows[""] for value, rows in found.groups["split"].items()}
    assert set(values) == {"held-out", "trained on"}
    held = found.settings["held_out_real"]
    assert values["held-out"]["kernel"].n == held and values["trained on"]["kernel"].n == 60 - held
    assert values["held-out"]["frechet"].n == values["trained on"]["frechet"].n == held  # to be compared
    alone = measure_quality(PictureSet(folder, held_out=True), PictureSet(folder, held_out=True), network, resamples=2)
    assert alone.settings["n_real"] == held and "split" not in alone.groups


def test_groups_and_an_empty_one(tmp_path, network):
    real = clouds(tmp_path / "a", 12, columns=["x"] * 6 + ["y"] * 6)
    made = clouds(tmp_path / "b", 12, seed=1, columns=["x"] * 6 + ["z"] * 5 + ["y"])
    found = measure(real, made, network, groups=("kind",))
    assert set(found.groups["kind"]) == {"x"}
    said = " ".join(found.warnings)
    assert "kind y: a single picture in the generated set" in said and "kind z: no picture in the real set" in said
    with pytest.raises(ConfigError, match="has no column 'age'"):
        measure(real, made, network, groups=("age",))


def test_too_few_none_and_a_single_one(tmp_path, network):
    real = clouds(tmp_path / "a", 3)
    with pytest.raises(ConfigError, match=r"generated set .* has 1 picture that can be measured"):
        measure(real, clouds(tmp_path / "b", 1), network)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "cut.png").write_bytes(next(real.glob("*.png")).read_bytes()[:99])
    with pytest.raises(ConfigError, match=r"no pictures that can be measured.*: cut.png: .*damaged or cut short"):
        measure(real, broken, network)
    with pytest.raises(ConfigError, match="limit of photos is 0"):
        PictureSet(real, limit=0)
    for option, least in (("batch_size", 1), ("resamples", 2), ("limit", 1)):
        with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} is 0; it must be at least {least}"):
            Options(real="a", **{option: 0})
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no photo"):
        measure(real, tmp_path / "empty", network)
    with pytest.raises(SourceError, match="no photo of the held-out tenth"):
        list(PictureSet(clouds(tmp_path / "few", 1, seed=3), held_out=True))


def test_not_a_number_is_a_clear_line(tmp_path, network):
    real = clouds(tmp_path / "a", 3)
    values = np.full((48, 48), 0.5, np.float32)
    values[3, 3] = np.nan
    Image.fromarray(values).save(real / "nan.tiff")
    found = measure(real, real, network)
    assert found.failures[0].name == "nan.tiff" and "not numbers" in found.failures[0].reason
    assert found.settings["n_real"] == 3


def test_a_pipeline_that_fails_on_some_is_measured_on_the_rest(tmp_path, network):
    folder = clouds(tmp_path / "a", 6)

    def translate(photo, seen=[]):  # noqa: B006 (counts its calls)
        seen.append(photo)
        if len(seen) == 2:
            raise NoFaceError("no face was found.")
        return photo.rotate(180)

    found = measure_quality(PictureSet(folder), PictureSet(folder, translate=translate), network, resamples=2)
    assert found.settings["n_generated"] == found.n == 5
    assert found.failures[0].reason == "no face was found." and found.failures[0].picture
