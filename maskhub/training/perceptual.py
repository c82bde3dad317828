"""Losses of frozen networks: perceptual distance, and whether two faces are the same person.

Their weights do not come with the package: ``--weights-dir`` or the environment variable ``MASKHUB_WEIGHTS`` says where
they are.
"""

import torch
from torch import nn
from torch.nn import functional as F

from maskhub.models.frozen import fold_norms, read_tensors
from maskhub.models.mobilefacenet import MobileFaceNet
from maskhub.models.vgg import LPIPS_LAYERS, VGG
from maskhub.models.weights import find_weights

__all__ = ["IdentityLoss", "PerceptualLoss"]

MARGIN = 16
"""Pixels above and below the region that the perceptual loss also sees."""


class PerceptualLoss(nn.Module):
    """LPIPS (Zhang, Isola, Efros, Shechtman, Wang: "The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric", CVPR 2018) of the first stages of VGG16, over a region.

    Args:
        stages: how many of VGG16's five stages are compared; most of the cost is in the first three.
        crop: side in pixels of the random square within the region's rows and columns that is compared; 0: all of
            the region's rows.
        weights: file, folder or Hub id with ``vgg16_lpips.safetensors``.

    Raises:
        CheckpointError: no such weights.
    """

    def __init__(self, stages=3, weights=None, crop=0):
        super().__init__()
        path = find_weights("vgg16_lpips.safetensors", weights)
        self.layers, self.crop, tensors = LPIPS_LAYERS[:stages], crop, read_tensors(path)
        self.vgg = VGG.load(path, 16).to(memory_format=torch.channels_last)
        for stage in range(stages):
            self.register_buffer(f"head{stage}", tensors[f"lin{stage}.weight"])

    def forward(self, made, wanted, region):
        """Mean distance within the region.

        Args:
            made, wanted: N×3×H×W in [-1, 1].
            region: N×1×H×W in [0, 1]; rows that are outside it in all pictures are left out.
        """
        if not region.any():
            return made.sum() * 0.0
        rows, columns = (_span(region.amax((0, 1, over)), self.crop) for over in (3, 2))
        if not self.crop:
            columns = slice(None)
        made, wanted, region = (x[:, :, rows, columns].float() for x in (made, wanted, region))
        with torch.no_grad():
            truth = self._features(wanted)
        total = 0.0
        for stage, (one, other) in enumerate(zip(self._features(made), truth, strict=True)):
            distance = F.conv2d((one - other).square(), getattr(self, f"head{stage}"))
            weight = F.adaptive_avg_pool2d(region, distance.shape[2:])
            total = total + (distance * weight).sum() / weight.sum().clamp(min=1e-6)
        return total

    def _features(self, images):
        features = self.vgg(((images + 1) / 2).contiguous(memory_format=torch.channels_last), self.layers)
        return [x * (x.square().sum(1, keepdim=True) + 1e-8).rsqrt() for x in features]


def _span(covered, crop):
    """From a little before the first covered pixel to a little after the last; ``crop`` of them at random, if given."""
    where, side = covered.nonzero()[:, 0], len(covered)
    first, last = max(int(where[0]) - MARGIN, 0), min(int(where[-1]) + 1 + MARGIN, side)
    least = min(max(crop, 32), side)
    if last - first < least:
        first = max(min(first, side - least), 0)
        last = first + least
    if crop and last - first > crop:
        first += int(torch.randint(last - first - crop + 1, ()))
        last = first + crop
    return slice(first, last)


class IdentityLoss(nn.Module):
    """One minus the cosine of two faces' embeddings by MobileFaceNet (FaceX-Zoo), in [0, 2].

    The aligned crop is mapped to the network's template by a similarity: exact for a frontal face, close enough for
    others, and the same for both pictures. It is jittered for each face, so that a likeness which only one alignment of
    one network sees does not count.

    Args:
        jitter: largest shift and shrinking in shares of the side, and largest turn in radians.
        weights: file, folder or Hub id with ``mobilefacenet.safetensors``.

    Raises:
        CheckpointError: no such weights.
    """

    # where the template lies in the aligned crop, in shares of its side: the least-squares fit to 80 faces' points
    LEFT, TOP, SIDE = -0.025, -0.15, 1.02

    def __init__(self, weights=None, jitter=0.05):
        super().__init__()
        self.jitter = jitter
        network = MobileFaceNet.load(find_weights("mobilefacenet.safetensors", weights))
        self.network = fold_norms(network).to(memory_format=torch.channels_last)

    def forward(self, made, wanted):
        """Mean over the faces; ``made`` and ``wanted`` are N×3×H×W in [-1, 1]."""
        theta = self._similarities(len(made)).to(made.device)
        with torch.no_grad():
            truth = self._embedded(wanted, theta)
        return (1 - (self._embedded(made, theta) * truth).sum(1)).mean()

    def _similarities(self, count):
        """From the template to each face, N×2×3."""
        drawn = self.jitter * (2 * torch.rand(count, 4) - 1)
        scale = self.SIDE * (1 + drawn[:, 0].abs() * 2)  # a wider view only: the template is cut close
        cos, sin = scale * drawn[:, 1].cos(), scale * drawn[:, 1].sin()
        x = 2 * (self.LEFT + drawn[:, 2]) + self.SIDE - 1
        y = 2 * (self.TOP + drawn[:, 3]) + self.SIDE - 1
        return torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)

    def _embedded(self, images, theta):
        images = F.avg_pool2d(images.float(), max(images.shape[3] // 112, 1))  # else the sampling would skip pixels
        grid = F.affine_grid(theta, (len(images), 3, 112, 112), align_corners=False)
        faces = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return self.network(faces.flip(1) * (127.5 / 128))
