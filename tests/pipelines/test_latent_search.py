"""Latent optimisation starts from a linear model of the generator."""

import numpy as np
import pytest
import torch

from maskhub import ReimagingPipeline
from maskhub.data.portraits import portraits
from maskhub.models.dcgan import DcganGenerator
from maskhub.pipelines.candidates import agreement_weights, best_candidates
from maskhub.pipelines.latent_search import LatentSearch
from maskhub.pipelines.reimaging import PHOTOS
from maskhub.tensors import to_pixels

REGION = np.zeros((32, 32), bool)
REGION[16:30, 6:26] = True


class Linear(torch.nn.Module):
    """A generator that is as linear as the search supposes: smooth pictures, the upper half from the first half of the
    noise, the lower half from the other."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self):
        super().__init__()
        waves = 0.2 * torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
        waves[:4, :, 1], waves[4:, :, 0] = 0, 0
        self.weight = torch.nn.Parameter(waves.repeat_interleave(16, 2).repeat_interleave(16, 3))
        self.config = type("Config", (), {"latent": 8, "resolution": 32})

    def forward(self, latents):
        return torch.einsum("nl,lchw->nchw", latents, self.weight).clamp(-1, 1)


@pytest.fixture
def linear():
    generator = Linear().requires_grad_(False)
    true = torch.randn(1, 8, generator=torch.Generator().manual_seed(3))
    return generator, to_pixels(generator(true))[0]


def test_a_linear_generators_noise_is_found_without_a_step_where_pixels_show_it(linear):
    generator, face = linear
    starts = LatentSearch(generator, count=64).starts(face, agreement_weights(REGION), keep=40)
    assert starts.shape == (40, 8)
    made = to_pixels(generator(starts)).astype(int)
    others = to_pixels(generator(torch.randn(40, 8, generator=torch.Generator().manual_seed(1)))).astype(int)
    assert np.abs(made - face)[:, :16].mean() < 0.35 * np.abs(others - face)[:, :16].mean()  # what is visible
    hidden = made[:, 16:30, 6:26].std(0).mean()
    assert hidden > 1.2 * made[:, :16].std(0).mean()  # they differ in what is not
    assert starts[0].square().sum() < starts[1:].square().sum(1).mean()  # the first is the most likely


def test_the_search_is_closer_than_the_best_sample():
    torch.manual_seed(1)
    generator = DcganGenerator(resolution=32, latent=16, width=8).eval().requires_grad_(False)
    for parameter in generator.parameters():
        if parameter.ndim == 4:
            parameter.normal_(0, 0.3)
    face = to_pixels(generator(torch.randn(1, 16)))[0]
    weights = agreement_weights(REGION)
    with torch.inference_mode():  # as in the app
        found = LatentSearch(generator, count=128)(face, weights, steps=30, keep=3)
    sampled = best_candidates(generator, face, weights, count=512)
    assert found[0].error < 0.7 * sampled[0].error
    assert [one.error for one in found] == sorted(one.error for one in found) and len(found) == 3


@pytest.mark.parametrize("side", PHOTOS)
def test_the_bundled_models_for_photos_come_near_a_portrait(side):
    """By name, the same each time, with only the region changed, and nearer than the best of as many samples."""
    photo = np.asarray(portraits("builtin:portraits:test")[0].image)
    region = np.zeros(photo.shape[:2], bool)
    region[140:230, 70:190] = True
    pipe = ReimagingPipeline.from_pretrained(PHOTOS[side])
    options = {"candidates": 96, "keep": 1, "smooth_colours": 0, "tone": "none"}
    found = pipe(photo, region, refine_steps=5, **options)
    assert (np.asarray(found.result[0]) == photo)[~region].all() and found.raw[0].size == (side, side)
    assert found.errors[0] < min(45, 0.8 * pipe(photo, region, **options).errors[0])
    assert pipe(photo, region, refine_steps=5, **options).result[0].tobytes() == found.result[0].tobytes()
