"""The convolutions of VGG16 and VGG19 (Simonyan, Zisserman: "Very Deep Convolutional Networks", 2015) as features.

vgg = VGG.load(find_weights("vgg19_normalized.safetensors"), depth=19)
vgg(images, layers=(26, 35))                     # activations after those layers, for RGB images in [0, 1]

Layers are numbered as in torchvision's ``features.N``, including ReLU and pooling.
"""

import torch
from torch import nn

from maskhub.models.frozen import load_frozen, read_tensors
from maskhub.models.network import choose

__all__ = ["LPIPS_LAYERS", "VGG"]

PLANS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of each stage, by depth."""
WIDTHS = (64, 128, 256, 512, 512)
LPIPS_LAYERS = (3, 8, 15, 22, 29)
"""The ReLU before each pooling of VGG16: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3."""
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class VGG(nn.Module):
    """Maps N×3×H×W RGB images in [0, 1] to activations; H and W at least 16.

    ``normalize``, a 1×1 convolution, converts the images to the input the weights were trained on: ImageNet's mean and
    standard deviation, unless the weights file has its own (``vgg19_normalized.safetensors`` takes mean-free BGR).
    """

    def __init__(self, depth=16):
        super().__init__()
        layers, channels = [], 3
        for convolutions, width in zip(choose("VGG's depth", depth, PLANS), WIDTHS, strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.normalize = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.normalize.weight.copy_(torch.diag(1 / STD)[:, :, None, None])
            self.normalize.bias.copy_(-MEAN / STD)

    @classmethod
    def load(cls, path, depth=16):
        """Read a safetensors file of ``features.N`` weights; tensors of other networks (LPIPS heads) are ignored.
        :class:`CheckpointError` if it is not a VGG of this depth."""
        tensors = {k: v for k, v in read_tensors(path).items() if k.startswith(("features.", "normalize."))}
        return load_frozen(cls(depth), tensors, path, optional=("normalize.weight", "normalize.bias"))

    def forward(self, images, layers=LPIPS_LAYERS):
        """The activations after each of ``layers``, in ascending order: a list of N×C×h×w."""
        out, x, wanted = [], self.normalize(images), set(layers)
        for number, layer in enumerate(self.features[: max(wanted) + 1]):
            x = layer(x)
            if number in wanted:
                out.append(x)
        return out
