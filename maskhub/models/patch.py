"""The PatchGAN discriminator: classifies overlapping patches instead of the whole image.

Isola, Zhu, Zhou, Efros: "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017), section 3.2.2
and appendix 6.1.2; CycleGAN uses the same with instance norm. With three layers each logit sees 70×70 pixels:
C64-C128-C256-C512.
"""

from torch import nn

from maskhub.models.configured import Channels, Norm, Padding, Whole, Width, configured
from maskhub.models.network import PADDING_MODES, Network, norm_layer

__all__ = ["PatchDiscriminator"]


class PatchDiscriminator(Network):
    """Maps N×C×H×W in [-1, 1] to N×1×h×w logits, one per patch; real is high. No sigmoid: the loss applies it.

    Args:
        width: channels of the first layer (64 in the papers), doubled per layer up to eight times.
        layers: stride-2 layers: 3 for 70×70-pixel patches, 1 for 16×16, 5 for 286×286; 0 is the 1×1 PixelGAN.
        norm: ``"instance"`` (CycleGAN), ``"batch"`` (pix2pix) or ``"none"``; never after the first convolution.
        padding: ``"zero"`` (the papers) or ``"reflect"``.
        in_channels: 3, or 6 for a conditional discriminator on pairs.

    With the defaults it has 2,764,737 parameters (2,768,705 with batch norm on 6 channels, as in pix2pix). An image
    must be large enough for one patch: three layers need at least 24×24 pixels.
    """

    @configured
    def __init__(
        self,
        width: Width = 64,
        layers: Whole(0, 12) = 3,
        norm: Norm = "instance",
        padding: Padding = "zero",
        in_channels: Channels = 3,
    ):
        super().__init__()
        make_norm, bias = norm_layer(norm)
        mode = PADDING_MODES[padding]
        act = lambda: nn.LeakyReLU(0.2, True)  # noqa: E731

        if layers == 0:
            stack = [
                nn.Conv2d(in_channels, width, 1),
                act(),
                nn.Conv2d(width, 2 * width, 1, bias=bias),
                make_norm(2 * width),
                act(),
                nn.Conv2d(2 * width, 1, 1, bias=bias),
            ]
        else:
            stack = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1, padding_mode=mode), act()]
            channels = width
            # `layers` stride-2 convolutions in all, then one of stride 1 before the logits
            for stride in [2] * (layers - 1) + [1]:
                wider = min(2 * channels, 8 * width)
                stack += [
                    nn.Conv2d(channels, wider, 4, stride=stride, padding=1, padding_mode=mode, bias=bias),
                    make_norm(wider),
                    act(),
                ]
                channels = wider
            stack.append(nn.Conv2d(channels, 1, 4, padding=1, padding_mode=mode))
        self.stack = nn.Sequential(*stack)
        self.init_weights()

    def forward(self, images):
        return self.stack(images)
