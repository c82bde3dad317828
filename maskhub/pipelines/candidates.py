"""Generate candidate faces for a covered one, and rank them by their agreement with the visible pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from maskhub.tensors import to_pixels, to_tensor

__all__ = ["BATCH", "Candidate", "agreement_weights", "best_candidates", "candidates_of", "refined"]

BATCH = 256
"""Faces generated at a time."""


@dataclass(frozen=True)
class Candidate:
    """One generated face: the ``image``, uint8 RGB R×R×3; the float32 ``latents``, the noise it was generated from; its
    ``error``, the weighted root mean square difference from the visible pixels, in 8-bit units; and the name of its
    ``model``."""

    image: np.ndarray
    latents: torch.Tensor
    error: float
    model: str = ""


def agreement_weights(region, reach=3.0):
    """The weight of each visible pixel (float32 R×R with sum 1): highest next to the covered ``region`` (bool R×R),
    falling to a quarter far away, 0 under it. ``reach`` is the size of the neighbourhood, in units of 1/32 of the side.
    """
    distance = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 3)
    weights = (~region) * (0.25 + 0.75 * np.exp(-distance / (reach * region.shape[0] / 32)))
    return (weights / max(float(weights.sum()), 1e-9)).astype(np.float32)


def best_candidates(generator, face, weights, count=256, keep=8, seed=0):
    """Generate ``count`` faces from noise of the ``seed`` and keep those closest to the visible pixels, best first; the
    noise of the first is the same for any ``count``. The rest as for :func:`candidates_of`."""
    latents = torch.randn(count, generator.config.latent, generator=torch.Generator().manual_seed(seed))
    return candidates_of(generator, latents, face, weights, keep)


@torch.inference_mode()
def candidates_of(generator, latents, face, weights, keep=None):
    """The faces generated from given noise (N×latent) as :class:`Candidate` s, best first; ``keep`` of them, by default
    all. ``generator`` maps N×latent normal noise to N×3×R×R in [-1, 1], in eval mode; ``face`` is uint8 R×R×3, with its
    :func:`agreement_weights`."""
    wanted, weigh = _wanted(generator, face, weights)
    errors, images = [], []
    for part in latents.split(BATCH):
        made = generator(part.to(generator.device, generator.dtype))
        errors.append(((made.float() - wanted) ** 2 * weigh).sum((1, 2, 3)))
        images.append(to_pixels(made))
    errors, images, latents = torch.cat(errors).cpu(), np.concatenate(images), latents.float().cpu()
    best = errors.argsort(stable=True)[:keep].tolist()
    return [Candidate(images[n], latents[n], _rms(errors[n])) for n in best]


def refined(generator, candidates, face, weights, steps=40, learning_rate=0.1, prior=0.02):
    """Optimise the noise of candidates towards the visible pixels (latent optimisation); the new candidates, best
    first. After Yeh et al.: "Semantic Image Inpainting with Deep Generative Models" (CVPR 2017), with the weighted
    squared difference as context loss and the noise's normal distribution, of weight ``prior``, as prior; by Adam."""
    with torch.inference_mode(False), torch.enable_grad():
        wanted, weigh = _wanted(generator, face, weights)
        latents = torch.stack([candidate.latents for candidate in candidates])
        latents = latents.to(generator.device, generator.dtype).clone().requires_grad_(True)
        optimizer = torch.optim.Adam([latents], lr=learning_rate)
        for _ in range(steps):
            optimizer.zero_grad()
            context = ((generator(latents).float() - wanted) ** 2 * weigh).sum((1, 2, 3))
            (context + prior * (latents.float() ** 2).mean(1)).sum().backward()
            optimizer.step()
    return candidates_of(generator, latents.detach(), face, weights)


def _wanted(generator, face, weights):
    """The face and the weight of each value on the generator's device; float32, since half would round weights to 0."""
    wanted = to_tensor(face).to(generator.device)
    return wanted, torch.from_numpy(weights).to(wanted) / 3


def _rms(error):
    return float(error.clamp(min=0).sqrt() * 127.5)
