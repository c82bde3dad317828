"""The mask detector: does an aligned crop show a face mask, and which pixels does the mask cover?

A small residual encoder (He and others: "Deep Residual Learning for Image Recognition", CVPR 2016) with a feature
pyramid as decoder (Lin and others: "Feature Pyramid Networks for Object Detection", CVPR 2017). The proportions are
our own: half a million parameters, so that it runs in milliseconds next to the generators that it checks.
"""

import torch
from torch import nn
from torch.nn import functional as F

from maskhub.models.configured import Whole, configured
from maskhub.models.network import Network, check_multiple

__all__ = ["MaskDetector"]


class MaskDetector(Network):
    """Maps aligned crops, N×3×H×W in [-1, 1], to N presence logits and N×1×H×W region logits.

    Args:
        width: channels of the first layer; deeper ones have 1.5, 3, 6 and 6 times as many.
        pyramid: channels of the decoder.
        resolution: side of the crops it was trained on; others work, with lower accuracy.

    H and W are multiples of 32. With the defaults it has 569,506 parameters, 1.2 MB in half precision. Convolutions are
    initialised as in He and others (2015), the head's biases at 0.
    """

    outputs = ("presence", "region")

    @configured
    def __init__(
        self,
        width: Whole(4, 256, multiple=2) = 16,
        pyramid: Whole(4, 256) = 16,
        resolution: Whole(64, 1024, multiple=32) = 128,
    ):
        super().__init__()
        sizes = [width, width * 3 // 2, 3 * width, 6 * width, 6 * width]
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True))
        self.stages = nn.ModuleList(
            nn.Sequential(_Block(before, after, 2), *([_Block(after, after, 1)] if deep else []))
            for before, after, deep in zip(sizes, sizes[1:], (False, True, True, False), strict=False)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(size, pyramid, 1) for size in sizes)
        self.smooths = nn.ModuleList(
            nn.Sequential(nn.Conv2d(pyramid, pyramid, 3, 1, 1, bias=False), nn.BatchNorm2d(pyramid), nn.ReLU(True))
            for _ in sizes[1:]
        )
        self.presence = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * sizes[-1], 1))
        self.region = nn.Conv2d(pyramid, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.presence[1].bias)

    def forward(self, images):
        """Two logits, ``presence`` (N) and ``region`` (N×1×H×W); their sigmoids are probabilities."""
        check_multiple(images, 32, 3)
        levels = [self.stem(images)]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        deepest = levels[-1]
        pooled = torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], 1)
        merged = self.laterals[-1](deepest)
        for level, lateral, smooth in zip(levels[-2::-1], self.laterals[-2::-1], self.smooths[::-1], strict=True):
            merged = smooth(F.interpolate(merged, scale_factor=2.0, mode="nearest") + lateral(level))
        # from half to full resolution, without the checkerboard artifacts of a transposed convolution
        region = F.interpolate(self.region(merged), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.presence(pooled)[:, 0], region


class _Block(nn.Module):
    """Two 3×3 convolutions with a shortcut."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, images):
        return F.relu(self.body(images) + self.shortcut(images))
