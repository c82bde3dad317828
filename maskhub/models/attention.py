"""The attention-guided generator: it paints several content images and a per-pixel attention that mixes them.

Tang, Liu, Xu, Torr, Sebe: "AttentionGAN: Unpaired Image-to-Image Translation using Attention-Guided Generative
Adversarial Networks" (TNNLS 2021), section III-B, scheme II. The input itself is the last image that the attention
chooses from, so that unaffected pixels pass through unchanged. The two-step mask study adds noise to the last layers of
the content head, so that one face gets different fabrics.
"""

import torch
from torch import nn

from maskhub.models.configured import Blocks, Channels, Deviation, Norm, Padding, Whole, Width, configured
from maskhub.models.network import PADDING_MODES, Network, check_multiple, check_range, norm_layer
from maskhub.models.resnet import encoder

__all__ = ["AttentionGenerator"]


class AttentionGenerator(Network):
    """Translates N×3×H×W in [-1, 1] to the same shape and range; H and W are multiples of 4.

    An encoder and residual trunk as in ``ResnetGenerator``, then two heads of three transposed convolutions each. With
    k content images Cᵢ and k + 1 attention maps Aᵢ (a softmax over the maps), the result is Σᵢ Aᵢ Cᵢ + Aₖ₊₁ x.

    Args:
        width: channels after the first convolution.
        blocks: residual blocks in the trunk.
        contents: k, the number of content images (9 in the paper, giving 10 attention maps).
        norm: ``"instance"`` (the paper), ``"batch"`` or ``"none"``.
        padding: ``"reflect"`` (the paper) or ``"zero"``.
        noise: standard deviations of the normal noise added to the inputs of the last two content layers, (1, 0.2) in
            the two-step study; zeros turn it off. Drawn from torch's global generator, or from ``generator``.
        in_channels, out_channels: of the images; they must be equal, since the input passes through.
    """

    translates = True

    @configured
    def __init__(
        self,
        width: Width = 64,
        blocks: Blocks = 9,
        contents: Whole(1, 64) = 9,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        noise: tuple[Deviation, Deviation] = (0.0, 0.0),
        in_channels: Channels = 3,
        out_channels: Channels = 3,
    ):
        super().__init__()
        check_range("out_channels", out_channels, in_channels, in_channels)
        make_norm, bias = norm_layer(norm)
        mode = PADDING_MODES[padding]
        self.head, self.down, self.trunk = encoder(in_channels, width, blocks, make_norm, bias, mode)
        self.content = _upward(width, contents * out_channels, make_norm, bias)
        self.attention = _upward(width, contents + 1, make_norm, bias)
        self.init_weights()

    @property
    def takes_noise(self):
        return any(self.config.noise)

    def draw_noise(self, count, height, width, generator=None, device="cpu"):
        """Noise for ``count`` images in the form ``forward`` takes: one tensor per deviation that is not 0."""
        channels, where = self.config.width, generator.device if generator is not None else device
        sizes = ((2 * channels, height // 2, width // 2), (channels, height, width))
        return [
            torch.randn(count, *size, generator=generator, device=where)
            for size, deviation in zip(sizes, self.config.noise, strict=True)
            if deviation
        ]

    def forward(self, images, generator=None, with_attention=False, noise=None):
        """Translate ``images``, N×3×H×W in [-1, 1], with the noise of a ``torch.Generator``, whose seed fixes the
        result, or the ``noise`` of :meth:`draw_noise`. ``with_attention`` also returns the attention, N×(k+1)×H×W; its
        last map is the share of the input."""
        check_multiple(images, 4, self.config.in_channels)
        x = self.trunk(self.down(self.head(images)))
        contents, attention = x, x
        if noise is None:
            noise = self.draw_noise(len(images), *images.shape[2:], generator, images.device)
        drawn = iter(noise)
        # noise enters before the second and third layers of the content head
        for layer, deviation in zip(self.content, (0.0, *self.config.noise), strict=True):
            contents = layer(contents + deviation * next(drawn).to(contents) if deviation else contents)
        for layer in self.attention:
            attention = layer(attention)
        attention = torch.softmax(attention.float(), 1)
        n, _, height, width = images.shape
        layers = torch.tanh(contents).view(n, self.config.contents, self.config.out_channels, height, width)
        layers = torch.cat([layers, images.unsqueeze(1).to(layers.dtype)], 1)
        out = (layers * attention.unsqueeze(2).to(layers.dtype)).sum(1)
        return (out, attention) if with_attention else out


def _upward(width, out_channels, make_norm, bias):
    """Three transposed convolutions: two that double the resolution, one that keeps it."""

    def double(channels):
        up = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
        return nn.Sequential(up, make_norm(channels // 2), nn.ReLU())

    return nn.ModuleList([double(4 * width), double(2 * width), nn.ConvTranspose2d(width, out_channels, 7, padding=3)])
