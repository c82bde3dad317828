"""Similarity of two pictures of the same face: PSNR, SSIM and LPIPS, over the whole picture or weighted.

Weights are float H×W, for example a region. A weighted figure uses the weighted mean of its spatial map; for PSNR, of
the squared error. Without weights, each figure is as published.
"""

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from maskhub.errors import ConfigError
from maskhub.models.frozen import read_tensors
from maskhub.models.vgg import LPIPS_LAYERS, VGG

__all__ = ["LPIPS_FILE", "MOST_PSNR", "Lpips", "change", "psnr", "ssim", "weighted"]

LPIPS_FILE = "vgg16_lpips.safetensors"
MOST_PSNR = 100.0
"""Decibels for equal pictures, whose PSNR is infinite. A difference of one level in one channel of one pixel of 256×256
is 101 dB."""


def psnr(made, truth, weights=None):
    """Peak signal-to-noise ratio in dB of uint8 H×W×3 pictures; NaN where the weights are all 0."""
    made, truth = _checked(made, truth)
    error = weighted(((made - truth) ** 2).mean(2), weights)
    if np.isnan(error):
        return float("nan")
    return MOST_PSNR if error == 0 else float(min(MOST_PSNR, 10 * np.log10(255**2 / error)))


def ssim(made, truth, weights=None):
    """Structural similarity (Wang and others, 2004) of uint8 H×W×3 pictures, at most 1: 11×11 Gaussian window of σ 1.5,
    mean over the channels; without weights, windows that extend beyond the edge are left out.
    """
    made, truth = _checked(made, truth)
    if min(made.shape[:2]) < 11:
        raise ConfigError(f"SSIM needs pictures of at least 11 pixels a side, not {made.shape[1]}×{made.shape[0]}.")

    def blurred(x):
        return cv2.GaussianBlur(x, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    mean1, mean2 = blurred(made), blurred(truth)
    variance1, variance2 = blurred(made**2) - mean1**2, blurred(truth**2) - mean2**2
    covariance = blurred(made * truth) - mean1 * mean2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    found = (top / ((mean1**2 + mean2**2 + c1) * (variance1 + variance2 + c2))).mean(2)
    return weighted(found if weights is not None else found[5:-5, 5:-5], weights)


class Lpips:
    """Learned Perceptual Image Patch Similarity (Zhang and others, 2018), v0.1 with VGG16: 0 for equal pictures.
    CheckpointError if there is no ``vgg16_lpips.safetensors`` at ``path``, or it has other weights."""

    def __init__(self, path, device="cpu"):
        self.device = device
        self._vgg = VGG.load(path, 16).to(device, memory_format=torch.channels_last)  # a fifth faster on a CPU
        tensors = read_tensors(path)
        self._heads = [tensors[f"lin{number}.weight"].to(device) for number in range(len(LPIPS_LAYERS))]

    @torch.inference_mode()
    def layers(self, picture):
        """The normalised features of a uint8 H×W×3 picture of at least 16 pixels a side, for :meth:`__call__` to
        compare."""
        if min(picture.shape[:2]) < 16:
            raise ConfigError(f"LPIPS needs at least 16 pixels a side, not {picture.shape[1]}×{picture.shape[0]}.")
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].to(self.device, torch.float32) / 255
        return [f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in self._vgg(x, LPIPS_LAYERS)]

    @torch.inference_mode()
    def __call__(self, first, second, weights=(None,)):
        """Distances of two pictures' :meth:`layers`, one for each of ``weights``: None is the published figure, H×W the
        weighted mean of the spatial map, which is each layer's map resized bilinearly to the picture and summed.
        """
        maps = [F.conv2d((a - b).square(), head) for a, b, head in zip(first, second, self._heads, strict=True)]
        whole = float(sum(layer.mean() for layer in maps))
        spatial = None
        if any(w is not None for w in weights):
            size = maps[0].shape[2:]
            spatial = sum(F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps)
            spatial = spatial[0, 0].cpu().numpy()
        return [whole if w is None else weighted(spatial, w) for w in weights]


def change(made, original, weights):
    """Weighted mean absolute change in 8-bit units."""
    made, original = _checked(made, original)
    return weighted(np.abs(made - original).mean(2), weights)


def weighted(values, weights=None):
    """The (weighted) mean of an H×W map; NaN where the weights are all 0."""
    if weights is None:
        return float(values.mean())
    total = float(weights.sum())
    return float((values * weights).sum() / total) if total > 0 else float("nan")


def _checked(made, truth):
    for picture in (made, truth):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            shape = "×".join(map(str, picture.shape))
            raise ConfigError(f"pictures must be uint8 of shape H×W×3, RGB, not {picture.dtype} of shape {shape}.")
    if made.shape != truth.shape:
        raise ConfigError(
            f"the pictures differ in size: {made.shape[1]}×{made.shape[0]} and {truth.shape[1]}×{truth.shape[0]}."
        )
    return made.astype(np.float64), truth.astype(np.float64)
