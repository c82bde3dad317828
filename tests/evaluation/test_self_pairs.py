"""Table 3 of the first paper: its printed rows, its arithmetic, and the protocol on photos."""

import itertools

import numpy as np
import pytest
import torch

from maskhub.errors import ConfigError
from maskhub.evaluation.encoders import Encoder
from maskhub.evaluation.measures.recognition import Options, measure
from maskhub.evaluation.report import Report
from maskhub.evaluation.self_pairs import Photos, measure_self_pairs
from maskhub.evaluation.verification import GaussianRule
from maskhub.faces.align import alignment, crop

PRINTED = [  # approach and encoder; same and different, mean and σ; difference in σ; error
    ("baseline, Inception", (0.963, 0.021, 0.904, 0.037), 1.367, 0.149),
    ("bias projection, Inception", (0.970, 0.019, 0.906, 0.041), 1.416, 0.147),
    ("CycleGAN strip, Inception", (0.989, 0.009, 0.901, 0.043), 2.003, 0.047),
    ("baseline, VGG19", (0.768, 0.064, 0.569, 0.079), 1.957, 0.082),
    ("bias projection, VGG19", (0.890, 0.036, 0.660, 0.078), 2.677, 0.022),
    ("CycleGAN strip, VGG19", (0.945, 0.024, 0.654, 0.080), 3.352, 0.002),
]


@pytest.mark.parametrize(("row", "moments", "difference", "error"), PRINTED, ids=[row[0] for row in PRINTED])
def test_the_printed_columns_come_out_of_the_printed_means(row, moments, difference, error):
    # what the printed means and σ can have been before they were rounded
    rules = [GaussianRule.of(*np.add(moments, signs)) for signs in itertools.product((-5e-4, 5e-4), repeat=4)]
    low, high = min(rule.difference for rule in rules), max(rule.difference for rule in rules)
    if row == "CycleGAN strip, VGG19":
        # this difference does not fit its own print: 0.291 / √(0.024² + 0.080²) is 3.484
        assert difference < low and GaussianRule.of(*moments).difference == pytest.approx(3.484, abs=5e-4)
    else:
        assert low - 5e-4 <= difference <= high + 5e-4
    assert min(rule.error for rule in rules) - 5e-4 <= error <= max(rule.error for rule in rules) + 5e-4


def test_the_computed_columns():
    rules = [GaussianRule.of(*moments) for _, moments, _, _ in PRINTED]
    assert [rule.difference for rule in rules] == pytest.approx([1.387, 1.416, 2.003, 1.957, 2.677, 3.484], abs=5e-4)
    assert [rule.error for rule in rules] == pytest.approx([0.1545, 0.143, 0.045, 0.082, 0.022, 0.0026], abs=5e-4)


class Places(Encoder):
    """The colours of nine places, not at length 1."""

    name, dimensions = "places", 27

    def crop(self, pixels, face):
        return crop(pixels, alignment(face, 48), 48)

    def encode(self, crops):
        return [np.float32(c.reshape(3, 16, 3, 16, 3).mean((1, 3)).ravel() - 128) for c in crops]


class Dark(torch.nn.Module):
    device, dtype, takes_noise = torch.device("cpu"), torch.float32, False

    def forward(self, batch):
        return batch - 0.2


@pytest.fixture
def pipeline(tiny_pipeline):
    tiny_pipeline.masker = Dark()
    return tiny_pipeline


def test_the_protocol(heads, pipeline, tmp_path):
    encoder, photos = Places(), Photos.of(heads)
    report = measure_self_pairs(photos, [encoder], pipeline, cache=tmp_path, resamples=20, progress=False)
    assert list(report.rows) == ["places: baseline", "places: bias projection", "places: unmasker strip"]
    assert report.n == 4 and report.settings["protocol"] == "table-3" and len(report.galleries) == 2
    # once more, step by step
    from maskhub.faces.detect import detect
    from maskhub.faces.photo import open_photo

    faces = [np.asarray(open_photo(heads / name)) for name in photos.columns]
    masks = [np.asarray(pipeline.mask(pixels, on_no_face="keep")) for pixels in faces]
    e_face, e_mask = (
        np.array([encoder.encode([encoder.crop(p, detect(p)[0])])[0] for p in kind], np.float64)
        for kind in (faces, masks)
    )
    f = (e_mask - e_face).mean(0)
    f /= np.linalg.norm(f)
    projected = [e - np.outer(e @ f, f) for e in (e_face, e_mask)]
    for row, (a, b) in (("baseline", (e_face, e_mask)), ("bias projection", projected)):
        cosines = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]  # face i against mask j
        same, other = np.diag(cosines), np.array(cosines)[~np.eye(4, dtype=bool)]
        figures = report.rows[f"places: {row}"]
        assert figures["same mean"].value == pytest.approx(same.mean(), abs=1e-6)
        assert figures["same σ"].value == pytest.approx(same.std(ddof=1), abs=1e-6)
        assert figures["different mean"].value == pytest.approx(other.mean(), abs=1e-6)
        assert figures["different σ"].value == pytest.approx(other.std(ddof=1), abs=1e-6)
        difference = (same.mean() - other.mean()) / np.hypot(same.std(ddof=1), other.std(ddof=1))
        assert figures["difference in σ"].value == pytest.approx(difference, rel=1e-3)
        low, high = figures["difference in σ"].interval
        assert low <= figures["difference in σ"].value <= high
    report.save(tmp_path / "r.json")
    assert Report.load(tmp_path / "r.json") == report


def test_what_cannot_be_measured(heads, pipeline, tmp_path):
    options = {"cache": tmp_path, "progress": False, "resamples": 2}
    with pytest.raises(ConfigError, match="the approach is 'pooled'; with table-3 it must be one of baseline"):
        measure_self_pairs(Photos.of(heads), [Places()], pipeline, approaches=["pooled"], **options)
    with pytest.raises(ConfigError, match=r"only 0 of \d+ photos can be measured, but at least 3 are needed"):
        measure_self_pairs(Photos.of(heads, held_out=True), [Places()], pipeline, **options)
    with pytest.raises(ConfigError, match="no metadata column 'age'"):
        measure_self_pairs(Photos.of(heads), [Places()], pipeline, groups=["age"], **options)
    with pytest.raises(ConfigError, match="--count is 2; it must be at least 3"):
        Photos.of(heads, count=2)
    report = measure_self_pairs(Photos.of(heads, count=3), [Places()], pipeline, groups=["group"], **options)
    assert report.n == 3 and report.groups == {"group": {}}
    assert any("group = a is too small to be measured" in line for line in report.warnings)
    pipeline.masker = None
    with pytest.raises(ConfigError, match="the model has no masker"):
        measure_self_pairs(Photos.of(heads), [Places()], pipeline, **options)


def test_the_option(heads, pipeline, tmp_path, monkeypatch):
    from maskhub.evaluation import encoders
    from maskhub.evaluation.measures import recognition

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(encoders.ENCODERS, "places", lambda weights: Places())
    monkeypatch.setattr(recognition, "load_pipeline", lambda model, device: pipeline)
    report = measure(Options(folder=heads, protocol="table-3", encoders="places", resamples=2, count=3))
    assert report.n == 3 and report.settings["masks"] == "model" and len(report.rows) == 3
    assert report.baselines == ["places: baseline", "places: bias projection"]
