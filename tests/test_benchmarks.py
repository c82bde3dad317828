"""The benchmarks still call what is there: each is imported, and the one that goes the whole way of a photo is run."""

import importlib.util
from pathlib import Path

import onnx
import pytest

from maskhub.data.folder import is_held_out
from maskhub.faces.yunet import WEIGHTS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """Benchmarks import from each other, as scripts of one folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_it_can_be_imported(path):
    assert load(path).__doc__


def test_yunet_was_made_from_the_published_file():
    published = onnx.load(BENCHMARKS.parent / "web" / "face_detection_yunet_2023mar.onnx")
    assert load(BENCHMARKS / "bundle_yunet.py").with_one_head(published) == onnx.load(WEIGHTS)


def test_a_photo_goes_the_whole_way():
    rows = load(BENCHMARKS / "bench_inference.py").photo_path(0, "torch")
    assert rows.pop("backend") == "torch"
    assert {"detect", "crop", "generator", "region", "paste", "whole"} <= rows.keys()
    assert all(row["ms"] >= 0 for row in rows.values())


@pytest.mark.slow
def test_many_photos_and_a_film_do_too():
    bench = load(BENCHMARKS / "bench_inference.py")
    rates = [*bench.photos("torch", 2, count=2).values(), bench.video("torch", 2, count=6)]
    assert len(rates) == 3 and all(rate["a_second"] > 0 for rate in rates)


def test_the_estimate_stays_when_a_new_detector_measures_twice_as_much():
    fit = load(BENCHMARKS / "fit_estimate.py")
    model = {"intercept": 0.3, "terms": {name: {"mean": 0.2, "weight": 0.5} for name in ("reach", "doubt")}}
    before = [{"reach": 0.1 * number, "doubt": 0.3 - 0.02 * number} for number in range(5)]
    now = [{"reach": row["reach"] - 0.05, "doubt": 2 * row["doubt"]} for row in before]
    guess = fit.guessed(fit.rescaled(model, before, now), now)
    assert guess == pytest.approx(fit.guessed(model, before), abs=1e-4)


def test_the_estimate_is_fitted_to_photos_that_no_run_trained_on(tmp_path):
    names = [f"{number}.jpg" for number in range(40)]
    for folder in ("celeba", "synthetic", "lfw", "publishable"):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    (tmp_path / "more").mkdir()
    rows = [
        (f"{source}_{name}", source, number)
        for source in ("fairface_val", "fairface_train", "flickr_portraits", "press_pakpol")
        for number, name in enumerate(names)
    ]
    lines = [",".join(map(str, row)) for row in [("file_name", "source", "yaw"), *rows]]
    (tmp_path / "more" / "metadata.csv").write_text("\n".join(lines))
    chosen = load(BENCHMARKS / "estimate_pairs.py").chosen(tmp_path)
    assert [len(chosen[name]) for name in ("fairface", "lfw", "london")] == [len(names)] * 3
    assert {row["source"] for row in chosen["fairface"]} == {"fairface_val"}
    for source in ("celeba", "portraits", "generated"):
        assert chosen[source] and all(is_held_out(row["file_name"]) for row in chosen[source])
    assert {row["source"] for row in chosen["portraits"]} == {"flickr_portraits"}
