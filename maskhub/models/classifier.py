"""The attribute classifier of the re-imaging thesis: a VGG-like network that chooses the model for a face.

Derek Desentz (Wright State University, 2021), table 4, for 32×32 faces and three classes: four 3×3 convolutions of 128,
128, 256 and 256 channels with batch norm, pooled by two after each pair to 256×8×8, and three dense layers.

    convolutions   3·128·9 + 128  +  128·128·9 + 128  +  128·256·9 + 256  +  256·256·9 + 256   =  1,036,416
    batch norm     gain, shift, running mean and variance: 4·768                               =      3,072
    dense          16384·2048 + 2048  +  2048·512 + 512  +  512·3 + 3                          = 34,607,107
                                                                                       total    35,646,595

Of these 35,645,059 are trained. The thesis's text prints 33,646,595 and 33,645,059, slips of one digit. Its table has
neither activations nor dropout; ours are ReLU after each norm, and dropout before the dense layers.
"""

import itertools
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from maskhub.errors import ConfigError
from maskhub.models.configured import Channels, Label, Rate, Whole, Width, Widths, configured
from maskhub.models.network import Network, check_multiple

__all__ = ["AttributeClassifier"]


class AttributeClassifier(Network):
    """Maps N×3×R×R in [-1, 1] to N×K logits, one per label.

    Args:
        labels: the K possible values of the attribute.
        attribute: its name.
        resolution: R in pixels, a multiple of 4.
        width: channels of the first two convolutions, doubled for the others.
        hidden: sizes of the dense layers.
        dropout: probability before each dense layer.
    """

    @configured
    def __init__(
        self,
        labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000)] = ("light", "medium", "dark"),
        attribute: Label = "tone",
        resolution: Whole(8, 256, multiple=4) = 32,
        width: Width = 128,
        hidden: Widths = (2048, 512),
        dropout: Rate = 0.25,
        in_channels: Channels = 3,
    ):
        super().__init__()
        if len(set(labels)) != len(labels):
            raise ConfigError(f"a classifier needs two or more distinct labels, not {', '.join(map(str, labels))}.")
        layers, channels = [], in_channels
        for number, wider in enumerate((width, width, 2 * width, 2 * width)):
            layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if number % 2 else []
            channels = wider
        self.features = nn.Sequential(*layers, nn.Flatten())
        sizes = [channels * (resolution // 4) ** 2, *hidden]
        layers = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Dropout(dropout), nn.Linear(before, after), nn.ReLU()]
        self.head = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(sizes[-1], len(labels)))
        self.init_weights()

    def forward(self, images):
        side = self.config.resolution
        check_multiple(images, side, self.config.in_channels, at_least=side)
        return self.head(self.features(images))

    @torch.inference_mode()
    def feature_maps(self, images, convolution=0):
        """What one of the four convolutions makes of pictures N×3×R×R in [-1, 1], as figures 21 and 22 of the thesis
        show it: float32 N×C×H×W on the CPU, ``width`` maps of R×R from the first two convolutions (0 and 1), twice as
        many of R/2×R/2 from the others (2, 3 or -1). :class:`ConfigError` for another number."""
        places = [place for place, layer in enumerate(self.features) if isinstance(layer, nn.Conv2d)]
        if not -len(places) <= convolution < len(places):
            raise ConfigError(f"convolution is {convolution}; it must be from {-len(places)} to {len(places) - 1}.")
        return self.features[: places[convolution] + 1](images.to(self.device, self.dtype)).float().cpu()

    @torch.inference_mode()
    def distribution(self, images):
        """Label → probability for each of N images, N×3×R×R in [-1, 1]; the network should be in eval mode."""
        odds = self(images.to(self.device, self.dtype)).float().softmax(1)
        return [dict(zip(self.config.labels, map(float, row), strict=True)) for row in odds.cpu()]
