"""The two directions, and the conversion between pixels and tensors."""

import numpy as np
import pytest
import torch
from PIL import Image

from maskhub.direction import Direction
from maskhub.errors import ConfigError
from maskhub.tensors import to_pixels, to_tensor


def test_a_direction_is_its_string_and_knows_its_inverse():
    assert Direction("mask") is Direction.MASK and Direction.UNMASK == "unmask" and str(Direction.MASK) == "mask"
    assert [d.role for d in Direction] == ["masker", "unmasker"]
    assert [(d.source, d.past) for d in Direction] == [("unmasked", "masked"), ("masked", "unmasked")]
    assert all(d.inverse.inverse is d and d.inverse is not d for d in Direction)
    with pytest.raises(ConfigError, match="the direction is 'both'; it must be 'mask' or 'unmask'"):
        Direction("both")


def test_every_8_bit_value_comes_back():
    pictures = np.arange(256, dtype=np.uint8).repeat(3).reshape(4, 8, 8, 3)
    tensor = to_tensor(pictures)
    assert tensor.shape == (4, 3, 8, 8) and tensor.dtype == torch.float32 and tensor.is_contiguous()
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(to_pixels(tensor), pictures)
    assert np.array_equal(to_pixels(tensor.half()), pictures)
    for one in (pictures[1], torch.from_numpy(pictures[1]), Image.fromarray(pictures[1])):
        assert torch.equal(to_tensor(one), tensor[1])
    assert torch.equal(to_tensor(list(pictures)), tensor)
    assert to_pixels(torch.full((3, 2, 2), 1.5)).max() == 255 and to_pixels(torch.full((3, 2, 2), -9.0)).max() == 0
