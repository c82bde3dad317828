"""SimGAN's refiner and discriminator, as used to make synthetic masks look real.

Shrivastava, Pfister, Tuzel, Susskind, Wang, Webb: "Learning from Simulated and Unsupervised Images through Adversarial
Training" (CVPR 2017), section 3 and appendix: the refiner works at full resolution, 4 (small images) or 10 residual
blocks of 64 channels, so that it changes texture but not shape. The mask study uses 4 or 8 blocks with batch norm, and
a discriminator of five or seven convolutions, two poolings, flatten, batch norm and one fully connected layer. Both
networks can start from the weights of a shallower one, as in the study's phases.
"""

from torch import nn

from maskhub.models.configured import Blocks, Channels, Norm, Padding, Whole, Width, configured
from maskhub.models.network import PADDING_MODES, Network, check_multiple, norm_layer

__all__ = ["SimDiscriminator", "SimGenerator"]


class SimGenerator(Network):
    """Refines N×3×H×W in [-1, 1] to the same shape and range; any H and W of at least 4 pixels.

    Args:
        width: channels of every block (64 in the papers).
        blocks: residual blocks: 4 or 8.
        norm: ``"batch"`` (the mask study), ``"instance"`` or ``"none"``.
        padding: ``"zero"`` or ``"reflect"``.
    """

    translates = True

    @configured
    def __init__(
        self,
        width: Width = 64,
        blocks: Blocks = 4,
        norm: Norm = "batch",
        padding: Padding = "zero",
        in_channels: Channels = 3,
        out_channels: Channels = 3,
    ):
        super().__init__()
        make_norm, bias = norm_layer(norm)
        mode = PADDING_MODES[padding]
        self.head = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1, padding_mode=mode), nn.ReLU())
        self.trunk = nn.Sequential(*(SimBlock(width, make_norm, bias, mode) for _ in range(blocks)))
        self.tail = nn.Sequential(nn.Conv2d(width, out_channels, 1), nn.Tanh())
        _init_as_keras(self)

    def load_shallower(self, weights):
        """Load the state dict of a refiner with at most as many blocks; additional blocks start as the identity.
        RuntimeError for weights of another width or norm, or of more blocks."""
        _load_with_missing(self, weights, "trunk")
        given = sum(name.endswith("body.0.weight") for name in weights)
        for block in self.trunk[given:]:  # a block's input is never negative: it follows a ReLU or another block
            last = block.body[4] if getattr(block.body[4], "weight", None) is not None else block.body[3]
            nn.init.zeros_(last.weight)
            if last.bias is not None:
                nn.init.zeros_(last.bias)

    def forward(self, images):
        check_multiple(images, 1, self.config.in_channels, at_least=4)
        return self.tail(self.trunk(self.head(images)))


class SimBlock(nn.Module):
    """relu(x + norm(conv(relu(norm(conv(x)))))): with a ReLU after the sum, unlike CycleGAN's."""

    def __init__(self, channels, make_norm, bias, mode):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode=mode, bias=bias),
            make_norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode=mode, bias=bias),
            make_norm(channels),
        )

    def forward(self, x):
        return nn.functional.relu(x + self.body(x))


class SimDiscriminator(Network):
    """Maps N×3×R×R in [-1, 1] to N×1 logits for the whole image; real is high. No sigmoid: the loss applies it.

    Five convolutions and two poolings with SimGAN's channel counts (96, 64, 32, 32, 2 for the default ``width``), then
    flatten, batch norm and one fully connected layer, which fixes the resolution.

    Args:
        resolution: R in pixels, a multiple of 16, at least 32.
        width: channels of the first convolution; the others scale with it.
        convolutions: 5 or more; those beyond 5 are 3×3 and follow the second pooling.
    """

    @configured
    def __init__(
        self,
        resolution: Whole(32, 2048, multiple=16) = 128,
        width: Width = 96,
        in_channels: Channels = 3,
        convolutions: Whole(5, 32) = 5,
    ):
        super().__init__()
        second, third = max(1, width * 2 // 3), max(1, width // 3)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, second, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Conv2d(third, third, 1),
            nn.ReLU(),
            nn.Conv2d(third, 2, 1),
        )
        more = [nn.Conv2d(third, third, 3, padding=1) for _ in range(convolutions - 5)]
        self.more = nn.Sequential(*(nn.Sequential(convolution, nn.ReLU()) for convolution in more))
        self.head = nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(2 * (resolution // 16) ** 2), nn.Linear(2 * (resolution // 16) ** 2, 1)
        )
        _init_as_keras(self)

    def load_shallower(self, weights):
        """Load the state dict of a discriminator with at most as many convolutions; added ones start as the identity.
        RuntimeError for weights of another width or resolution, or of more convolutions."""
        _load_with_missing(self, weights, "more")
        given = sum(name.startswith("more.") and name.endswith("weight") for name in weights)
        for convolution, _ in self.more[given:]:
            nn.init.dirac_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(self, images):
        side = self.config.resolution
        check_multiple(images, side, self.config.in_channels, at_least=side)
        pooled = self.features[:8](images)
        return self.head(self.features[8:](self.more(pooled)))


def _load_with_missing(network, weights, part):
    """Load a state dict that may lack layers of ``part``."""
    missing, unexpected = network.load_state_dict(weights, strict=False)
    wrong = [*unexpected, *(name for name in missing if not name.startswith(f"{part}."))]
    if wrong:
        raise RuntimeError(f"the weights don't fit this {type(network).__name__}: {', '.join(wrong)}")


def _init_as_keras(network):
    """Glorot's uniform weights, as in the study: with N(0, 0.02) the signal vanishes in layers without a norm."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
