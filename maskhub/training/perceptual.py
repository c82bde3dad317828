"""Losses with pretrained, frozen networks: perceptual distance and identity of faces.

Their weights do not come with the package: set ``--weights-dir`` or the environment variable ``MASKHUB_WEIGHTS``.
"""

import torch
from torch import nn
from torch.nn import functional as F

from maskhub.models.frozen import fold_norms, read_tensors
from maskhub.models.mobilefacenet import MobileFaceNet
from maskhub.models.vgg import LPIPS_LAYERS, VGG
from maskhub.models.weights import find_weights
from maskhub.training.similarity import sampled

__all__ = ["IdentityLoss", "PerceptualLoss"]

MARGIN = 16
"""Pixels around the region that the perceptual loss also compares."""


class PerceptualLoss(nn.Module):
    """LPIPS (Zhang, Isola, Efros, Shechtman, Wang: "The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric", CVPR 2018) with the first stages of VGG16, over a region.

    Args:
        stages: number of VGG16's five stages to compare; the first three have most of the cost.
        crop: side in pixels of a random square within the region's bounding box to compare; 0: the region's rows.
        weights: file, folder or Hub id with ``vgg16_lpips.safetensors``; :class:`CheckpointError` without it.
    """

    def __init__(self, stages=3, weights=None, crop=0, dtype=torch.float32):
        super().__init__()
        path = find_weights("vgg16_lpips.safetensors", weights)
        self.layers, self.crop, tensors = LPIPS_LAYERS[:stages], crop, read_tensors(path)
        self.vgg = VGG.load(path, 16).to(dtype, memory_format=torch.channels_last)
        for stage in range(stages):
            self.register_buffer(f"head{stage}", tensors[f"lin{stage}.weight"])

    def forward(self, made, wanted, region):
        """Mean distance of two batches, N×3×H×W in [-1, 1], within the region, N×1×H×W in [0, 1]."""
        made, wanted, region = (x.float() for x in (made, wanted, region))
        if self.crop or made.device.type == "cpu":  # on a GPU, looking up the covered rows would stall it
            if not region.any():
                return made.sum() * 0.0
            rows, columns = (_span(region.amax((0, 1, over)), self.crop) for over in (3, 2))
            made, wanted, region = (
                x[:, :, rows, columns if self.crop else slice(None)] for x in (made, wanted, region)
            )
        with torch.no_grad():
            truth = self._features(wanted)
        total = 0.0
        for stage, (one, other) in enumerate(zip(self._features(made), truth, strict=True)):
            distance = F.conv2d((one - other).square(), getattr(self, f"head{stage}"))
            weight = F.adaptive_avg_pool2d(region, distance.shape[2:])
            total = total + (distance * weight).sum() / weight.sum().clamp(min=1e-6)
        return total

    def _features(self, images):
        images = ((images + 1) / 2).to(next(self.vgg.parameters()).dtype, memory_format=torch.channels_last)
        features = [x.float() for x in self.vgg(images, self.layers)]
        return [x * (x.square().sum(1, keepdim=True) + 1e-8).rsqrt() for x in features]


def _span(covered, crop):
    """A slice from MARGIN before the first covered pixel to MARGIN after the last, or ``crop`` random pixels of it."""
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

    The aligned crop is mapped to the network's template by a similarity transform: exact for frontal faces, close
    enough for others, and the same for both pictures. It is jittered per face, so that the generator can't exploit one
    exact alignment.

    Args:
        jitter: largest shift, as a fraction of the side, and largest rotation in radians.
        weights: file, folder or Hub id with ``mobilefacenet.safetensors``; :class:`CheckpointError` without it.
    """

    # place of the template in the aligned crop, as fractions of its side: least-squares fit to the points of 80 faces
    LEFT, TOP, SIDE = -0.025, -0.15, 1.02

    def __init__(self, weights=None, jitter=0.05):
        super().__init__()
        self.jitter = jitter
        network = MobileFaceNet.load(find_weights("mobilefacenet.safetensors", weights))
        self.network = fold_norms(network).to(memory_format=torch.channels_last)

    def forward(self, made, wanted):
        """Mean over the faces; ``made`` and ``wanted`` are N×3×H×W in [-1, 1]."""
        place = self._places(len(made), made.device)
        with torch.no_grad():
            truth = self._embedded(wanted, place)
        return (1 - (self._embedded(made, place) * truth).sum(1)).mean()

    def _places(self, count, device):
        """The jittered place of the template in each face, as :func:`~maskhub.training.similarity.sampled` takes it."""
        drawn = self.jitter * (2 * torch.rand(count, 4, device=device) - 1)
        scale = self.SIDE * (1 + drawn[:, 0].abs() * 2)  # only zooms out: the template is a tight crop
        x = 2 * (self.LEFT + drawn[:, 2]) + self.SIDE - 1
        y = 2 * (self.TOP + drawn[:, 3]) + self.SIDE - 1
        return scale, drawn[:, 1], x, y

    def _embedded(self, images, place):
        images = F.avg_pool2d(images.float(), max(images.shape[3] // 112, 1))  # avoids aliasing
        return self.network(sampled(images, *place, 112).flip(1) * (127.5 / 128))
