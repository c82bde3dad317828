"""The ResNet generator of CycleGAN.

Zhu, Park, Isola, Efros: "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (ICCV 2017),
section 7.1; the architecture goes back to Johnson, Alahi, Fei-Fei: "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution" (ECCV 2016). In CycleGAN's notation: c7s1-64, d128, d256, 9 × R256, u128, u64, c7s1-3.
"""

from torch import nn

from maskhub.models.configured import Blocks, Channels, Norm, Padding, Rate, Upsampling, Width, configured
from maskhub.models.network import PADDING_MODES, Network, check_multiple, norm_layer, upsampler

__all__ = ["ResnetGenerator", "encoder"]


class ResnetGenerator(Network):
    """Translates N×3×H×W in [-1, 1] to the same shape and range; H and W are multiples of 4.

    Args:
        width: channels after the first convolution (the paper's 64); the residual blocks have four times as many.
        blocks: residual blocks: 9 for 256 px and up, 6 for 128 px.
        norm: ``"instance"`` (the paper), ``"batch"`` or ``"none"``.
        upsampling: ``"transposed"`` convolutions (the paper) or ``"resize"``: nearest-neighbour, then a convolution,
            which avoids checkerboard artifacts (Odena, Dumoulin, Olah: "Deconvolution and Checkerboard Artifacts",
            2016).
        padding: ``"reflect"`` (the paper) or ``"zero"``.
        dropout: probability of dropping a channel value inside the residual blocks; pix2pix uses 0.5.

    With the defaults it has 11,378,179 parameters.
    """

    translates = True

    @configured
    def __init__(
        self,
        width: Width = 64,
        blocks: Blocks = 9,
        norm: Norm = "instance",
        upsampling: Upsampling = "transposed",
        padding: Padding = "reflect",
        dropout: Rate = 0.0,
        in_channels: Channels = 3,
        out_channels: Channels = 3,
    ):
        super().__init__()
        make_norm, bias = norm_layer(norm)
        mode = PADDING_MODES[padding]
        up = upsampler(upsampling, 3)
        self.head, self.down, self.trunk = encoder(in_channels, width, blocks, make_norm, bias, mode, dropout)
        self.up = nn.Sequential(
            *(nn.Sequential(*up(c, c // 2, bias), make_norm(c // 2), nn.ReLU(True)) for c in (4 * width, 2 * width))
        )
        self.tail = nn.Sequential(nn.Conv2d(width, out_channels, 7, padding=3, padding_mode=mode), nn.Tanh())
        self.init_weights()

    def forward(self, images):
        check_multiple(images, 4, self.config.in_channels)
        return self.tail(self.up(self.trunk(self.down(self.head(images)))))


def encoder(in_channels, width, blocks, make_norm, bias, mode, dropout=0.0):
    """The first convolution, two that halve the resolution, and the residual trunk."""
    first = nn.Conv2d(in_channels, width, 7, padding=3, padding_mode=mode, bias=bias)
    halves = (
        nn.Sequential(nn.Conv2d(c, 2 * c, 3, stride=2, padding=1, bias=bias), make_norm(2 * c), nn.ReLU(True))
        for c in (width, 2 * width)
    )
    down = nn.Sequential(*halves)
    trunk = (ResnetBlock(4 * width, make_norm, bias, mode, dropout) for _ in range(blocks))
    return nn.Sequential(first, make_norm(width), nn.ReLU(True)), down, nn.Sequential(*trunk)


class ResnetBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))): no ReLU after the sum, as in CycleGAN."""

    def __init__(self, channels, make_norm, bias, padding_mode, dropout=0.0):
        super().__init__()

        def convolution():
            return nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding_mode, bias=bias)

        self.body = nn.Sequential(
            convolution(),
            make_norm(channels),
            nn.ReLU(True),
            nn.Dropout(dropout) if dropout else nn.Identity(),
            convolution(),
            make_norm(channels),
        )

    def forward(self, x):
        return x + self.body(x)
