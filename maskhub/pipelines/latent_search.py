"""Search a generator's noise for faces that agree with the visible pixels of a covered one.

    search = LatentSearch(generator)                  # looks at 512 of its faces
    best, *others = search(face, agreement_weights(region), steps=40)

Latent optimisation (Yeh et al., see :func:`maskhub.pipelines.candidates.refined`) needs many steps from random noise,
and ends in whatever face is nearby. Here it starts close to its end. A linear model of the generator, small picture ≈
noise × slope + mean, is fitted to some generated faces. Under this model the noise of a face of which some pixels are
visible is normally distributed, with mean and covariance in closed form (Bishop: "Pattern Recognition and Machine
Learning", equations 2.116 and 2.117). The first start is that mean. The others are drawn from the distribution, so they
differ in what the visible pixels do not determine.
"""

import copy

import torch
from torch.nn import functional as F

from maskhub.pipelines.candidates import BATCH, candidates_of, refined
from maskhub.tensors import to_tensor

__all__ = ["LatentSearch"]

SIDE = 16
"""Side in pixels of the linear model's pictures; at most the generator's."""
NOISE = 1.25e-3
"""Variance of a picture's weighted mean square difference from the linear model. Larger values keep the noise nearer to
the generator's usual one."""


class LatentSearch:
    """The search through the faces of a ``generator``, in eval mode, of which a copy is kept; ``count`` of them are
    generated for the linear model. The ``seed`` is that of their noise, and of the starts."""

    def __init__(self, generator, count=512, seed=0):
        with torch.inference_mode(False):  # a copy made in inference mode could not be differentiated
            # in this format the convolutions take half the time on a CPU
            self.generator = copy.deepcopy(generator).to(memory_format=torch.channels_last)
        self.seed = seed
        self._side = min(SIDE, generator.config.resolution)
        self._slope, self._mean = self._fitted(count)

    def __call__(self, face, weights, steps=40, keep=8):
        """The best faces after ``steps`` of latent optimisation from ``keep`` starts as
        :class:`~maskhub.pipelines.candidates.Candidate` s, best first; ``face`` and ``weights`` as for
        :func:`~maskhub.pipelines.candidates.candidates_of`."""
        starts = candidates_of(self.generator, self.starts(face, weights, keep), face, weights)
        return refined(self.generator, starts, face, weights, steps)

    @torch.inference_mode()
    def starts(self, face, weights, keep=8):
        """Noise for ``keep`` faces that roughly agree with the visible pixels, float32 keep×latent, the likeliest
        first."""
        slope, mean = self._slope, self._mean
        weigh = torch.from_numpy(weights).to(slope)[None, None]
        seen = self._small(weigh.expand(1, 3, -1, -1))[0]
        wanted = self._small(to_tensor(face).to(slope)[None] * weigh)[0] / seen.clamp(min=1e-12)
        seen = seen / seen.sum().clamp(min=1e-12)
        precision = slope * seen @ slope.T / NOISE + torch.eye(len(slope)).to(slope)
        middle = torch.linalg.solve(precision, slope * seen @ (wanted - mean) / NOISE)
        drawn = torch.randn(keep, len(slope), generator=self._random()).to(slope)
        drawn[0] = 0
        # precision = L Lᵀ, so L⁻ᵀ times white noise has its inverse as covariance
        lower = torch.linalg.cholesky(precision)
        return (middle + torch.linalg.solve_triangular(lower.T, drawn.T, upper=True).T).cpu()

    @torch.inference_mode()
    def _fitted(self, count):
        """Slope, latent×D, and mean, D, of the linear model, by ridge regression."""
        latents = torch.randn(count, self.generator.config.latent, generator=self._random())
        latents = latents.to(self.generator.device, self.generator.dtype)
        small = torch.cat([self._small(self.generator(part).float()) for part in latents.split(BATCH)])
        inputs = torch.cat([latents.float(), torch.ones(count, 1).to(small)], 1)
        square = inputs.T @ inputs + 1e-3 * torch.eye(inputs.shape[1]).to(small)
        solution = torch.linalg.solve(square, inputs.T @ small)
        return solution[:-1], solution[-1]

    def _small(self, pictures):
        return F.adaptive_avg_pool2d(pictures, self._side).flatten(1)

    def _random(self):
        return torch.Generator().manual_seed(self.seed)
