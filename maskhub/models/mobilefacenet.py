"""MobileFaceNet (Chen, Liu, Gao, Han: "MobileFaceNets", 2018) as in FaceX-Zoo: embeddings of a face's identity.

network = MobileFaceNet.load(find_weights("mobilefacenet.safetensors"))
network(crops)                                  # N×512, unit length; same person, small angle

The weights were trained on MS-Celeb-1M (98.5 % TAR at 1 % FAR on LFW, 55 % if one of the two has a simulated mask).
"""

from torch import nn
from torch.nn import functional as F

from maskhub.models.frozen import load_frozen, read_tensors

__all__ = ["MobileFaceNet"]


class MobileFaceNet(nn.Module):
    """N×3×112×112 five-point-aligned faces, BGR, (x − 127.5) / 128 of 8-bit values, to N×512 unit-length embeddings.

    Frozen in eval mode after :meth:`load`; gradients flow through it to the images.
    """

    def __init__(self):
        super().__init__()
        self.conv1 = _Block(3, 64, 3, stride=2, padding=1)
        self.conv2_dw = _Block(64, 64, 3, padding=1, groups=64)
        self.conv_23 = _DepthWise(64, 128, 64, stride=2)
        self.conv_3 = _Residual(64, 128, 4)
        self.conv_34 = _DepthWise(64, 256, 128, stride=2)
        self.conv_4 = _Residual(128, 256, 6)
        self.conv_45 = _DepthWise(128, 512, 128, stride=2)
        self.conv_5 = _Residual(128, 256, 2)
        self.conv_6_sep = _Block(128, 512, 1)
        self.conv_6_dw = _Block(512, 512, 7, groups=512, active=False)
        self.linear = nn.Linear(512, 512, bias=False)
        self.bn = nn.BatchNorm1d(512)

    @classmethod
    def load(cls, path):
        """Read ``mobilefacenet.safetensors``; :class:`CheckpointError` if it is another file."""
        return load_frozen(cls(), read_tensors(path), path)

    def forward(self, crops):
        x = self.conv_23(self.conv2_dw(self.conv1(crops)))
        x = self.conv_45(self.conv_4(self.conv_34(self.conv_3(x))))
        x = self.conv_6_dw(self.conv_6_sep(self.conv_5(x)))
        return F.normalize(self.bn(self.linear(x.flatten(1))))


class _Block(nn.Module):
    """Convolution, batch norm and (if ``active``) PReLU."""

    def __init__(self, inside, outside, kernel, active=True, **options):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, bias=False, **options)
        self.bn = nn.BatchNorm2d(outside)
        self.prelu = nn.PReLU(outside) if active else nn.Identity()

    def forward(self, x):
        return self.prelu(self.bn(self.conv(x)))


class _DepthWise(nn.Module):
    """Expand by 1×1, depthwise convolution, then project by 1×1 without an activation."""

    def __init__(self, inside, middle, outside, stride=1):
        super().__init__()
        self.conv = _Block(inside, middle, 1)
        self.conv_dw = _Block(middle, middle, 3, stride=stride, padding=1, groups=middle)
        self.project = _Block(middle, outside, 1, active=False)

    def forward(self, x):
        return self.project(self.conv_dw(self.conv(x)))


class _Residual(nn.Module):
    def __init__(self, channels, middle, count):
        super().__init__()
        self.model = nn.Sequential(*(_DepthWise(channels, middle, channels) for _ in range(count)))

    def forward(self, x):
        for block in self.model:
            x = x + block(x)
        return x
