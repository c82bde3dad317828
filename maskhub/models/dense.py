"""The dense GAN of the re-imaging thesis, for small images: fully connected layers only.

Derek Desentz: "Partial Facial Re-imaging Using Generative Adversarial Networks" (Wright State University, 2021), tables
2 and 3, for 32×32 faces. Generator: three times dense, LeakyReLU and batch norm, in this order; then dense and tanh:

    dense with biases: 100·512 + 512 + 512·512 + 512 + 512·1024 + 1024 + 1024·3072 + 3072   = 3,988,480
    batch norm, gain and shift: 2·(512 + 512 + 1024)                                        =     4,096
                                                                      trainable in total      3,992,576
    running mean and variance, not trainable                                                =     4,096

Discriminator, dense and LeakyReLU: 3072·1024 + 1024 + 1024·256 + 256 + 256·64 + 64 + 64 + 1 = 3,425,665. The thesis
does not give the slope of LeakyReLU; ours is 0.2.
"""

import itertools
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from maskhub.errors import ConfigError
from maskhub.models.configured import Channels, Latent, Rate, Whole, Widths, configured
from maskhub.models.network import Network, check_multiple

__all__ = ["DenseDiscriminator", "DenseGenerator", "check_latents"]


class DenseGenerator(Network):
    """Maps N×latent normal noise to N×3×R×R in [-1, 1].

    Args:
        resolution: R in pixels.
        latent: size of an image's noise vector.
        hidden: sizes of the hidden layers.
        order: what follows each hidden layer: ``"activation-norm"`` (the thesis: LeakyReLU, then batch norm) or
            ``"norm-activation"``.
    """

    @configured
    def __init__(
        self,
        resolution: Whole(4, 128) = 32,
        latent: Latent = 100,
        hidden: Annotated[Widths, Field(min_length=1)] = (512, 512, 1024),
        out_channels: Channels = 3,
        order: Literal["activation-norm", "norm-activation"] = "activation-norm",
    ):
        super().__init__()
        norm_first = order == "norm-activation"
        sizes = [latent, *hidden]
        layers = []
        for before, after in itertools.pairwise(sizes):
            between = [nn.LeakyReLU(0.2), nn.BatchNorm1d(after)]
            layers += [nn.Linear(before, after), *(reversed(between) if norm_first else between)]
        layers += [nn.Linear(sizes[-1], out_channels * resolution**2), nn.Tanh()]
        self.stack = nn.Sequential(*layers)
        self.init_weights()

    @classmethod
    def from_config(cls, config=None, return_unused_kwargs=False, **kwargs):
        """As in ``diffusers.ConfigMixin``; configs without ``order`` were saved when the norm came first."""
        return super().from_config({"order": "norm-activation", **config}, return_unused_kwargs, **kwargs)

    def forward(self, latents):
        check_latents(latents, self.config.latent)
        side = self.config.resolution
        return self.stack(latents).unflatten(1, (self.config.out_channels, side, side))


class DenseDiscriminator(Network):
    """Maps N×3×R×R in [-1, 1] to N×1 logits; real is high. No sigmoid: the loss applies it.

    Args:
        resolution: R in pixels.
        hidden: sizes of the hidden layers.
        dropout: probability after each hidden layer (0 in the paper's count, which dropout does not change).
    """

    @configured
    def __init__(
        self,
        resolution: Whole(4, 128) = 32,
        hidden: Annotated[Widths, Field(min_length=1)] = (1024, 256, 64),
        dropout: Rate = 0.0,
        in_channels: Channels = 3,
    ):
        super().__init__()
        sizes = [in_channels * resolution**2, *hidden]
        layers = [nn.Flatten()]
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.stack = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        self.init_weights()

    def forward(self, images):
        side = self.config.resolution
        check_multiple(images, side, self.config.in_channels, at_least=side)
        return self.stack(images)

    def init_weights(self):
        """Initialise the weights uniformly within ±√(6 / (inputs + outputs)) (Glorot) and every bias with 0.

        With N(0, 0.02) and no norm, the signal would fade from layer to layer.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)


def check_latents(latents, size):
    """Raise :class:`ConfigError` unless ``latents`` is N×``size``."""
    if not isinstance(latents, torch.Tensor) or latents.ndim != 2 or latents.shape[1] != size:
        shape = "×".join(map(str, getattr(latents, "shape", ()))) or type(latents).__name__
        raise ConfigError(f"expected noise of shape N×{size}, got {shape}.")
