"""The Inception network of the Fréchet Inception Distance (Heusel and others: "GANs Trained by a Two Time-Scale Update
Rule", 2017), with the weights of pytorch-fid's ``pt_inception-2015-12-05-6726825d.pth``.

Architecture: Szegedy and others: "Rethinking the Inception Architecture", 2016. TensorFlow's graph of 2015 differs from
the usual one, and scores are only comparable with these differences: average pooling does not count the padding, the
last block uses max pooling, and there are 1,008 classes.
"""

import torch
from torch import nn
from torch.nn import functional as F

from maskhub.models.frozen import load_frozen

__all__ = ["FidInception"]


class FidInception(nn.Module):
    """Maps N×3×H×W RGB images in [0, 1] to N×2048 features: the last average pooling.

    Images of another size than 299×299 are resized bilinearly without antialiasing, as pytorch-fid does.
    """

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(128)
        self.Mixed_6c = _BlockC(160)
        self.Mixed_6d = _BlockC(160)
        self.Mixed_6e = _BlockC(192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b = _BlockE(1280, pool=_mean_pool)
        self.Mixed_7c = _BlockE(2048, pool=_max_pool)
        self.fc = nn.Linear(2048, 1008)  # unused; present so that every tensor of the file has a place

    @classmethod
    def load(cls, tensors, path):
        """Load the state dict of ``pt_inception-2015-12-05-6726825d.pth``; :class:`CheckpointError` for another."""
        return load_frozen(cls(), tensors, path)

    def forward(self, images):
        if images.shape[2:] != (299, 299):
            images = F.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(2 * images - 1)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))


class _Conv(nn.Module):
    def __init__(self, inside, outside, kernel, **options):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, bias=False, **options)
        self.bn = nn.BatchNorm2d(outside, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def _mean_pool(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _max_pool(x):
    return F.max_pool2d(x, 3, stride=1, padding=1)


def _across(inside, outside):
    return _Conv(inside, outside, (1, 7), padding=(0, 3))


def _down(inside, outside):
    return _Conv(inside, outside, (7, 1), padding=(3, 0))


class _BlockA(nn.Module):
    """35×35: 1×1, 5×5, two 3×3, pooling."""

    def __init__(self, inside, pooled):
        super().__init__()
        self.branch1x1 = _Conv(inside, 64, 1)
        self.branch5x5_1 = _Conv(inside, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Conv(inside, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(inside, pooled, 1)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        pooled = self.branch_pool(_mean_pool(x))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, pooled], 1)


class _BlockB(nn.Module):
    """35×35 to 17×17."""

    def __init__(self, inside):
        super().__init__()
        self.branch3x3 = _Conv(inside, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Conv(inside, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x):
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class _BlockC(nn.Module):
    """17×17: 1×1, 7×7 and two 7×7 as rows and columns, pooling."""

    def __init__(self, width):
        super().__init__()
        self.branch1x1 = _Conv(768, 192, 1)
        self.branch7x7_1 = _Conv(768, width, 1)
        self.branch7x7_2 = _across(width, width)
        self.branch7x7_3 = _down(width, 192)
        self.branch7x7dbl_1 = _Conv(768, width, 1)
        self.branch7x7dbl_2 = _down(width, width)
        self.branch7x7dbl_3 = _across(width, width)
        self.branch7x7dbl_4 = _down(width, width)
        self.branch7x7dbl_5 = _across(width, 192)
        self.branch_pool = _Conv(768, 192, 1)

    def forward(self, x):
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_mean_pool(x))], 1)


class _BlockD(nn.Module):
    """17×17 to 8×8."""

    def __init__(self, inside):
        super().__init__()
        self.branch3x3_1 = _Conv(inside, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Conv(inside, 192, 1)
        self.branch7x7x3_2 = _across(192, 192)
        self.branch7x7x3_3 = _down(192, 192)
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x):
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), long, F.max_pool2d(x, 3, 2)], 1)


class _BlockE(nn.Module):
    """8×8: 1×1, 3×3 and two 3×3 with forked ends, pooling."""

    def __init__(self, inside, pool):
        super().__init__()
        self.pool = pool
        self.branch1x1 = _Conv(inside, 320, 1)
        self.branch3x3_1 = _Conv(inside, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Conv(inside, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Conv(inside, 192, 1)

    def forward(self, x):
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        ends = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        ends += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *ends, self.branch_pool(self.pool(x))], 1)
