"""Small pipelines on their way to the Hub and back: what they hold, and whether they are still the same."""

import itertools

import pytest
import torch

from maskhub.errors import HubError
from maskhub.hub import THIS_REPOSITORY

__all__ = ["CARD", "FILES", "assert_same_weights", "message_of", "nudged", "weights"]

CARD = f"---\nlibrary_name: diffusers\n---\n# {THIS_REPOSITORY}\n"
FILES = {"README.md", "model_index.json", "pipeline.py"} | {
    f"{network}/{name}"
    for network in ("masker", "unmasker")
    for name in (
        "config.json",
        "maskhub.py",
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
    )
}


def weights(pipeline):
    networks = (pipeline.masker, pipeline.unmasker)
    return [tensor for network in networks for tensor in network.state_dict().values()]


def assert_same_weights(one, other):
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def nudged(pipeline, times=itertools.count(1)):  # noqa: B008 (one count for all)
    """The pipeline with other weights each time."""
    by = 0.001 * next(times)
    with torch.no_grad():
        for parameter in (*pipeline.masker.parameters(), *pipeline.unmasker.parameters()):
            parameter.add_(by)
    return pipeline


def message_of(call, *arguments, error=HubError, **options):
    """The one line of the error that a call ends with."""
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert text and "\n" not in text
    return text
