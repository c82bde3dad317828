"""DCGAN: images from noise by transposed convolutions, 32 to 128 pixels.

Radford, Metz, Chintala: "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
(ICLR 2016), section 3 and figure 1: strides instead of pooling, batch norm except at the generator's output and the
discriminator's input, no hidden dense layer, ReLU and tanh in the generator, LeakyReLU(0.2) in the discriminator. The
re-imaging paper proposes it for larger faces.
"""

from typing import Literal

from torch import nn

from maskhub.models.configured import Channels, Latent, Norm, Upsampling, Width, configured
from maskhub.models.dense import check_latents
from maskhub.models.network import Network, check_multiple, norm_layer, upsampler

__all__ = ["DcganDiscriminator", "DcganGenerator"]

_DOUBLINGS = {32: 3, 64: 4, 128: 5}
"""Stride-2 layers between 4×4 and R×R."""
Resolution = Literal[32, 64, 128]


class DcganGenerator(Network):
    """Maps N×latent normal noise to N×3×R×R in [-1, 1].

    Args:
        resolution: R: 32, 64 or 128 pixels.
        latent: size of an image's noise vector.
        width: channels before the last layer, doubled with each layer towards the 4×4 start: 64 gives 512 there for
            64-pixel images; the paper's figure 1 has 1,024, a width of 128.
        norm: ``"batch"`` or ``"instance"``.
        upsampling: ``"transposed"`` (the paper) or ``"resize"``, which avoids checkerboard artifacts.
    """

    @configured
    def __init__(
        self,
        resolution: Resolution = 64,
        latent: Latent = 100,
        width: Width = 64,
        norm: Norm = "batch",
        upsampling: Upsampling = "transposed",
        out_channels: Channels = 3,
    ):
        super().__init__()
        doublings = _DOUBLINGS[resolution]
        make_norm, bias = norm_layer(norm)
        up = upsampler(upsampling, 4)
        channels = width * 2 ** (doublings - 1)
        layers = [nn.ConvTranspose2d(latent, channels, 4, bias=bias), make_norm(channels), nn.ReLU()]
        for _ in range(doublings - 1):
            layers += [*up(channels, channels // 2, bias), make_norm(channels // 2), nn.ReLU()]
            channels //= 2
        self.stack = nn.Sequential(*layers, *up(channels, out_channels, True), nn.Tanh())
        self.init_weights()

    def forward(self, latents):
        check_latents(latents, self.config.latent)
        return self.stack(latents[:, :, None, None])


class DcganDiscriminator(Network):
    """Maps N×3×R×R in [-1, 1] to N×1 logits; real is high. No sigmoid: the loss applies it.

    Args:
        resolution: R: 32, 64 or 128 pixels.
        width: channels of the first layer, doubled with each halving of the resolution.
        norm: ``"batch"`` or ``"instance"``; never after the first convolution.
    """

    @configured
    def __init__(self, resolution: Resolution = 64, width: Width = 64, norm: Norm = "batch", in_channels: Channels = 3):
        super().__init__()
        doublings = _DOUBLINGS[resolution]
        make_norm, bias = norm_layer(norm)
        layers, channels = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)], width
        for _ in range(doublings - 1):
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=bias),
                make_norm(2 * channels),
                nn.LeakyReLU(0.2),
            ]
            channels *= 2
        self.stack = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4), nn.Flatten())
        self.init_weights()

    def forward(self, images):
        side = self.config.resolution
        check_multiple(images, side, self.config.in_channels, at_least=side)
        return self.stack(images)
