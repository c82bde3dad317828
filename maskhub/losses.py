"""Losses of the papers, each with its equation. All are computed in float32, whatever the networks run in."""

import torch
from torch.nn import functional as F

from maskhub.models.network import choose

__all__ = ["GANLoss", "cycle_loss", "identity_loss"]


class GANLoss:
    """The adversarial loss of one discriminator and its generator, on logits.

    Args:
        kind: ``"lsgan"``: Mao et al. (ICCV 2017), as CycleGAN uses it: D minimises (D(y) - 1)² + D(G(x))²,
            G minimises (D(G(x)) - 1)²; or ``"vanilla"``: Goodfellow et al. (NeurIPS 2014) with the non-saturating
            generator: D minimises -log σ(D(y)) - log(1 - σ(D(G(x)))), G minimises -log σ(D(G(x))).

    Raises:
        ConfigError: another ``kind``.
    """

    def __init__(self, kind="lsgan"):
        self.kind = kind
        self._to = choose("the GAN loss", kind, {"lsgan": _squared_distance, "vanilla": _cross_entropy})

    def generator(self, fake_logits):
        """What the generator minimises: its fakes judged real."""
        return self._to(fake_logits, 1.0)

    def discriminator(self, real_logits, fake_logits):
        """What the discriminator minimises, halved so that it learns at half the generator's rate (CycleGAN, 4)."""
        return 0.5 * (self._to(real_logits, 1.0) + self._to(fake_logits, 0.0))


def cycle_loss(there_and_back, original):
    """Cycle consistency, CycleGAN equation 2, one direction: mean ‖F(G(x)) - x‖₁."""
    return F.l1_loss(there_and_back.float(), original.float())


def identity_loss(translated, original):
    """Identity mapping, CycleGAN section 5.2, one direction: mean ‖G(y) - y‖₁ for a y already in G's target domain."""
    return F.l1_loss(translated.float(), original.float())


def _squared_distance(logits, target):
    return torch.mean((logits.float() - target) ** 2)


def _cross_entropy(logits, target):
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
