"""The mask detector's network: shapes, size, save and load, clear errors."""

import pytest
import torch

from maskhub import CheckpointError, ConfigError, MaskDetector
from maskhub.masks.detector import BUNDLED


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (1, 3, 96, 160)])
def test_a_logit_a_crop_and_one_a_pixel(shape):
    presence, region = MaskDetector(width=4, pyramid=4)(torch.randn(shape))
    assert presence.shape == shape[:1] and region.shape == (shape[0], 1, *shape[2:])


def test_its_size_is_as_documented():
    network = MaskDetector()
    assert f"{sum(p.numel() for p in network.parameters()):,}" in MaskDetector.__doc__
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.safetensors")) < 1.5e6


def test_a_region_does_not_depend_on_the_batch_nor_presence_on_the_mode():
    torch.manual_seed(0)
    network, images = MaskDetector(width=4, pyramid=4).eval(), torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        whole, alone = network(images), network(images[1:2])
    for batch, single in zip(whole, alone, strict=True):
        assert torch.allclose(batch[1:2], single, rtol=1e-4, atol=1e-4)


def test_save_and_load(tmp_path):
    network = MaskDetector(width=4, pyramid=6, resolution=64).eval()
    network.save_pretrained(tmp_path)
    again = MaskDetector.from_pretrained(tmp_path).eval()
    assert again.config.resolution == 64
    images = torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(network(images), again(images), strict=True))


def test_bad_sizes_are_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="multiples of 32"):
        MaskDetector(width=4, pyramid=4)(torch.zeros(1, 3, 100, 100))
    for options in ({"width": 3}, {"pyramid": 1}, {"resolution": 100}):
        with pytest.raises(ConfigError, match="it must be"):
            MaskDetector(**options)
    with pytest.raises(CheckpointError, match="no MaskDetector could be loaded"):
        MaskDetector.from_pretrained(tmp_path)
