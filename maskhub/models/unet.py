"""The U-Net generator of pix2pix: an encoder and a decoder with a skip connection at every resolution.

Isola, Zhu, Zhou, Efros: "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017), section 3.2.1
and appendix 6.1.1. At 256 pixels: C64-C128-C256-C512-C512-C512-C512-C512 down and
CD512-CD512-CD512-C512-C256-C128-C64 up, where D is dropout of 0.5, the paper's only source of randomness.
"""

import torch
from torch import nn

from maskhub.models.configured import Channels, Flag, Norm, Rate, Upsampling, Whole, Width, configured
from maskhub.models.network import Network, check_multiple, norm_layer, upsampler

__all__ = ["UnetGenerator"]


class UnetGenerator(Network):
    """Translates N×3×H×W in [-1, 1] to the same shape and range; H and W are multiples of 2 to the power ``depth``.

    Args:
        width: channels after the first convolution, doubled per level up to eight times.
        depth: levels: 8 for 256 pixels, 7 for 128, so that the innermost is a single pixel.
        norm: ``"batch"`` (the paper), ``"instance"`` or ``"none"``; never at the outermost and innermost convolutions.
        upsampling: ``"transposed"`` convolutions (the paper) or ``"resize"``: nearest-neighbour, then a convolution.
        dropout: probability in the three levels above the innermost; used in training only unless ``noisy``.
        noisy: keep dropout on in evaluation too, as in the paper, to get varying results for one input.

    With the defaults it has 54,413,955 parameters; with depth 7, 41,828,995.
    """

    translates = True

    @configured
    def __init__(
        self,
        width: Width = 64,
        depth: Whole(2, 12) = 8,
        norm: Norm = "batch",
        upsampling: Upsampling = "transposed",
        dropout: Rate = 0.5,
        noisy: Flag = False,
        in_channels: Channels = 3,
        out_channels: Channels = 3,
    ):
        super().__init__()
        make_norm, bias = norm_layer(norm)
        up = upsampler(upsampling, 4)
        channels = [width * min(2**level, 8) for level in range(depth)]
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level, out in enumerate(channels):
            outer, inner = level == 0, level == depth - 1
            normed = not outer and not inner
            self.encoder.append(
                nn.Sequential(
                    nn.Identity() if outer else nn.LeakyReLU(0.2),
                    nn.Conv2d(in_channels if outer else channels[level - 1], out, 4, stride=2, padding=1, bias=bias),
                    make_norm(out) if normed else nn.Identity(),
                )
            )
        for level in reversed(range(depth)):
            outer, inner = level == 0, level == depth - 1
            come = channels[level] * (1 if inner else 2)
            go = out_channels if outer else channels[level - 1]
            # the three levels above the innermost, as far as that many have full width
            drops = dropout and not inner and not outer and level >= depth - 4 and channels[level - 1] == 8 * width
            doubled = up(come, go, outer or bias)
            self.decoder.append(
                nn.Sequential(
                    nn.ReLU(),
                    doubled[0] if len(doubled) == 1 else nn.Sequential(*doubled),
                    nn.Identity() if outer else make_norm(go),
                    Dropout(dropout, noisy) if drops else nn.Identity(),
                )
            )
        self.init_weights()

    def forward(self, images):
        check_multiple(images, 2**self.config.depth, self.config.in_channels, at_least=2**self.config.depth)
        skips, x = [], images
        for down in self.encoder:
            x = down(x)
            skips.append(x)
        x = self.decoder[0](skips.pop())
        for up in self.decoder[1:]:
            x = up(torch.cat([skips.pop(), x], 1))
        return torch.tanh(x)


class Dropout(nn.Dropout):
    """Dropout that also acts in evaluation if ``noisy``."""

    def __init__(self, p, noisy):
        super().__init__(p)
        self.noisy = noisy

    def forward(self, x):
        return nn.functional.dropout(x, self.p, self.training or self.noisy)
