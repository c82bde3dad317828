"""Half precision gives the same pictures: every way to enable it, every network, both directions."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from maskhub import (
    AttentionGenerator,
    FaceMaskPipeline,
    LightGenerator,
    ResnetGenerator,
    SimGenerator,
    UnetGenerator,
)
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.masks.wear import wear
from maskhub.pipelines.photo_pipeline import BUNDLED, TWO_STEP

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@pytest.fixture(scope="module")
def crops(astronaut):
    """The input of each direction: an unmasked face, and the same face masked."""
    pixels = np.asarray(astronaut)
    matrix = align.alignment(detect(pixels)[0], 256)
    masked = wear(pixels, style="surgical", colour="blue", seed=3).image
    return {"mask": align.crop(pixels, matrix, 256), "unmask": align.crop(masked, matrix, 256)}


@pytest.fixture(scope="module")
def full(crops):
    """The bundled checkpoint's results in float32."""
    return translated(FaceMaskPipeline.from_pretrained, crops)


def translated(load, crops):
    """Each direction by the bundled network that has it."""
    pipes = {"mask": load(TWO_STEP), "unmask": load(BUNDLED)}
    return {direction: pipes[direction].translate_crops([crop], direction)[0] for direction, crop in crops.items()}


def difference(made, full):
    """The larger mean difference of the two directions, in 8-bit units."""
    return max(np.abs(made[direction].astype(int) - full[direction]).mean() for direction in full)


WAYS = {
    "from_pretrained": lambda dtype, name: FaceMaskPipeline.from_pretrained(name, variant="fp16", dtype=dtype),
    "to": lambda dtype, name: FaceMaskPipeline.from_pretrained(name).to(dtype),
    "channels-last": lambda dtype, name: FaceMaskPipeline.from_pretrained(
        name, variant="fp16", dtype=dtype, backend="torch-channels-last"
    ),
}


@pytest.mark.parametrize("dtype", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_bundled_checkpoint(crops, full, way, dtype):
    assert difference(translated(partial(way, dtype), crops), full) < 1


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_the_only_variant_is_loaded_in_the_dtype_that_is_asked_for(name):
    assert FaceMaskPipeline.from_pretrained(BUNDLED, **{name: torch.float16}).unmasker.dtype == torch.float16


@pytest.mark.parametrize("dtype", HALVES.values(), ids=HALVES)
def test_the_bundled_checkpoint_under_autocast(crops, full, dtype):
    with torch.autocast("cpu", dtype):
        assert difference(translated(FaceMaskPipeline.from_pretrained, crops), full) < 1


def test_the_bundled_checkpoint_by_the_bfloat16_backend(crops, full):
    assert difference(translated(partial(FaceMaskPipeline.from_pretrained, backend="torch-bf16"), crops), full) < 1


NETWORKS = {
    "light": (LightGenerator, {"widths": (16, 24), "blocks": (1, 2)}),
    "light-noise": (LightGenerator, {"widths": (16, 24), "blocks": (1, 2), "noise": 1.0}),
    "resnet": (ResnetGenerator, {"width": 16, "blocks": 2}),
    "attention": (AttentionGenerator, {"width": 16, "blocks": 2, "contents": 3, "noise": (1.0, 0.2)}),
    "sim": (SimGenerator, {"width": 16, "blocks": 2}),
    "unet": (UnetGenerator, {"width": 8, "depth": 5, "norm": "instance"}),
}


@pytest.mark.parametrize("dtype", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize(("kind", "options"), NETWORKS.values(), ids=NETWORKS)
def test_activations_whose_squares_overflow(kind, options, dtype):
    torch.manual_seed(0)
    network = kind(**options).eval()
    with torch.no_grad():  # as after long training: activations of hundreds, 65504 is the largest float16
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        first.weight.mul_(300)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    given = {"noise": network.draw_noise(2, 64, 64)} if network.takes_noise else {}
    with torch.inference_mode():
        wanted = network(images, **given)
        made = nn.Module.to(copy.deepcopy(network), dtype)(images.to(dtype), **given)
    assert (made.float() - wanted).abs().mean() * 127.5 < 1
