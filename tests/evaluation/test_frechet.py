"""Distances of sets: known answers, torchmetrics', and what can't be measured."""

import numpy as np
import pytest
import torch

from maskhub.errors import ConfigError
from maskhub.evaluation.frechet import (
    FeatureStatistics,
    _frechet_of_resamples,
    _resample,
    frechet_distance,
    frechet_interval,
    frechet_of_features,
    kernel_interval,
)


def draw(n, dimensions=8, shift=0.0, scale=1.0, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, scale, (n, dimensions))).float()


def statistics(features, batch=100):
    out = FeatureStatistics(features.shape[1])
    for part in features.split(batch):
        out.update(part)
    return out


def test_moments_in_batches_are_those_of_the_whole():
    features = draw(1003) * torch.arange(1, 9) + 1000  # far from 0, where sums of squares would lose digits
    found = statistics(features, batch=37)
    assert found.n == 1003
    assert torch.allclose(found.mean, features.double().mean(0))
    assert torch.allclose(found.covariance, torch.cov(features.double().T), rtol=1e-9)


def test_equal_sets_are_zero_apart():
    features = draw(500)
    one = statistics(features)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_of_features(features, features) == pytest.approx(0, abs=1e-9)
    few = draw(20, dimensions=64)  # singular covariances
    assert frechet_distance(statistics(few), statistics(few)) == pytest.approx(0, abs=1e-5)
    assert frechet_of_features(few, few) == pytest.approx(0, abs=1e-9)


def test_gaussians_give_the_closed_form():
    rng = np.random.default_rng(1)
    mean1, mean2 = torch.zeros(5).double(), torch.from_numpy(rng.normal(size=5))
    scales1, scales2 = (torch.from_numpy(rng.uniform(0.1, 3, 5)) for _ in range(2))
    turn = torch.linalg.qr(torch.from_numpy(rng.normal(size=(5, 5))))[0]
    cov1, cov2 = ((turn * s.square()) @ turn.T for s in (scales1, scales2))
    closed = float((mean1 - mean2).square().sum() + (scales1 - scales2).square().sum())
    assert frechet_distance((mean1, cov1), (mean2, cov2)) == pytest.approx(closed, rel=1e-10)
    shifted, still = draw(20000, 3, shift=2.0, scale=2.0, seed=2), draw(20000, 3, seed=3)
    assert frechet_distance(statistics(shifted), statistics(still)) == pytest.approx(3 * (4 + 1), rel=0.02)


@pytest.mark.parametrize(("n", "m"), [(30, 400), (400, 30), (400, 400)])
def test_both_ways_to_the_trace_agree(n, m):
    x, y = draw(n, 50, seed=4), draw(m, 50, shift=0.3, seed=5)
    assert frechet_of_features(x, y) == pytest.approx(frechet_distance(statistics(x), statistics(y)), rel=1e-6)


class _Pixels(torch.nn.Module):
    """A feature network for torchmetrics: pixels are the features."""

    num_features = 12

    def forward(self, images):
        return images.float().flatten(1)


def images(seed, n=200):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 200 + 20 * seed, (n, 3, 2, 2))).to(torch.uint8)


def test_torchmetrics_agrees():
    fid_module = pytest.importorskip("torchmetrics.image.fid")
    kid_module = pytest.importorskip("torchmetrics.image.kid")
    real, made = images(0), images(1)
    fid = fid_module.FrechetInceptionDistance(_Pixels(), input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    kid = kid_module.KernelInceptionDistance(_Pixels(), subsets=1, subset_size=200)
    for metric in (fid, kid):
        metric.update(real, real=True)
        metric.update(made, real=False)
    x, y = real.float().flatten(1), made.float().flatten(1)
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(float(fid.compute()), rel=1e-5)
    assert kernel_distance(x, y) == pytest.approx(float(kid.compute()[0]), rel=1e-4)


def kernel_distance(x, y):
    return kernel_interval(x, y, resamples=1)[0]


def test_the_kernel_distance_is_unbiased():
    same = [kernel_distance(draw(60, seed=s), draw(60, seed=1000 + s)) for s in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)
    assert min(same) < 0 < max(same)


def test_intervals_cover_what_other_draws_give():
    values, intervals = [], []
    for seed in range(30):
        x, y = draw(150, 4, shift=0.5, seed=seed), draw(150, 4, seed=500 + seed)
        value, interval = kernel_interval(x, y, seed=seed)
        assert value == pytest.approx(kernel_distance(x, y), rel=1e-9)
        values.append((value, frechet_of_features(x, y)))
        intervals.append((interval, frechet_interval(values[-1][1], x, y, (150, 150), seed=seed)))
    for kind in range(2):
        centre = np.mean([value[kind] for value in values])
        covered = np.mean([interval[kind][0] <= centre <= interval[kind][1] for interval in intervals])
        assert 0.8 <= covered <= 1


@pytest.mark.parametrize("n, m", [(40, 30), (30, 40), (200, 300)])
def test_a_resample_is_what_its_repeated_images_are(n, m):
    x, y = draw(n, 16, seed=0).double(), draw(m, 16, shift=0.5, seed=1).double()
    first, second = np.random.default_rng(2), np.random.default_rng(2)
    found = _frechet_of_resamples(_resample(x, first), _resample(y, first))
    repeated = [s[torch.from_numpy(second.integers(0, len(s), len(s)))] for s in (x, y)]
    assert found == pytest.approx(frechet_of_features(*repeated), rel=1e-6)


def test_memory_is_flat_and_the_sample_is_fair():
    held = FeatureStatistics(1, kept=100)
    for start in range(0, 10000, 250):
        held.update(torch.arange(start, start + 250).float()[:, None])
    assert held.n == 10000 and held.sample.shape == (100, 1)
    assert abs(float(held.sample.mean()) - 5000) < 1000
    assert float(held.mean) == pytest.approx(4999.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ConfigError, match="NaN or infinite"):
        FeatureStatistics(8).update(torch.full((3, 8), value))


def test_too_few_are_refused():
    one = FeatureStatistics(8)
    one.update(draw(1))
    with pytest.raises(ConfigError, match="at least 2 images; there is 1"):
        frechet_distance(one, one)
    with pytest.raises(ConfigError, match="at least 2"):
        kernel_distance(draw(1), draw(5))
    with pytest.raises(ConfigError, match="at least 2"):
        frechet_of_features(draw(1), draw(5))
    with pytest.raises(ConfigError, match="N×8"):
        FeatureStatistics(8).update(draw(5, dimensions=9))
