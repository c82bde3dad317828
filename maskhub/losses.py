"""The papers' losses, each with its equation. All are computed in float32, whatever the networks' precision."""

import torch
from torch.nn import functional as F

from maskhub.models.network import choose

__all__ = [
    "GANLoss", "attention_loss", "cosine_loss", "cycle_loss", "distance_loss", "gradient_penalty", "half_distances",
    "identity_loss", "image_loss", "non_mask_change_loss", "pair_distances", "r1_penalty",
]  # fmt: skip


class GANLoss:
    """The adversarial loss of a discriminator and its generator, on logits; ConfigError for another ``kind``.

    Args:
        kind: ``"lsgan"``: Mao et al. (ICCV 2017), as used in CycleGAN: D minimises (D(y) - 1)² + D(G(x))²,
            G minimises (D(G(x)) - 1)²; ``"vanilla"``: Goodfellow et al. (NeurIPS 2014) with the non-saturating
            generator: D minimises -log σ(D(y)) - log(1 - σ(D(G(x)))), G minimises -log σ(D(G(x))); or ``"wgan-gp"``:
            Gulrajani et al. (NeurIPS 2017): D minimises D(G(x)) - D(y), G minimises -D(G(x)); the penalty that keeps
            the critic Lipschitz is :func:`gradient_penalty`.
    """

    def __init__(self, kind="lsgan"):
        self.kind = kind
        kinds = {"lsgan": _squared_distance, "vanilla": _cross_entropy, "wgan-gp": _wasserstein}
        self._to = choose("the GAN loss", kind, kinds)

    def generator(self, fake_logits):
        """The generator's loss: low if its fakes are classified as real."""
        return self._to(fake_logits, 1.0)

    def discriminator(self, real_logits, fake_logits):
        """The discriminator's loss, halved so that it learns at half the generator's rate (CycleGAN, 4).

        The Wasserstein critic's loss is not halved: its scale is set by the gradient penalty.
        """
        loss = self._to(real_logits, 1.0) + self._to(fake_logits, 0.0)
        return loss if self.kind == "wgan-gp" else 0.5 * loss


def gradient_penalty(critic, real, fake):
    """WGAN-GP, equation 3 without λ: E (‖∇D(x̂)‖₂ - 1)², x̂ on random lines between real and fake images, N×C×H×W."""
    real, fake = real.detach().float(), fake.detach().float()
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (share * real + (1 - share) * fake).requires_grad_()
    return ((_slopes(critic, between).square().sum(1) + 1e-12).sqrt() - 1).square().mean()


def r1_penalty(critic, real):
    """Mescheder, Geiger, Nowozin: "Which Training Methods for GANs do actually Converge?" (ICML 2018), equation 9
    without γ/2: E ‖∇D(x)‖² at real images."""
    return _slopes(critic, real.detach().float().requires_grad_()).square().sum(1).mean()


def cycle_loss(there_and_back, original, kind="l1"):
    """Cycle consistency, CycleGAN equation 2, one direction: mean ‖F(G(x)) - x‖₁, or another distance, of N×C×H×W in
    [-1, 1].

    ``kind`` is ``"l1"``; ``"l2"``: mean (F(G(x)) - x)²; or ``"log"``: the cross-entropy of the values as brightnesses
    in [0, 1], minus its minimum, so that equal images have loss 0.
    """
    distance = choose("the cycle loss", kind, {"l1": F.l1_loss, "l2": F.mse_loss, "log": _log_distance})
    return distance(there_and_back.float(), original.float())


def pair_distances(images):
    """Mean absolute difference of every pair of images in a batch, N(N-1)/2; ``images`` is N×C×H×W."""
    first, second = torch.triu_indices(len(images), len(images), offset=1, device=images.device)
    return (images[first].float() - images[second].float()).abs().flatten(1).mean(1)


def half_distances(images):
    """Mean absolute difference of each image's left and right halves, N; ``images`` is N×C×H×W, W even."""
    left, right = images.float().chunk(2, dim=-1)
    return (left - right).abs().flatten(1).mean(1)


def distance_loss(before, after, before_moments, after_moments):
    """The distance constraint of Benaim and Wolf: "One-Sided Unsupervised Domain Mapping" (NeurIPS 2017), section 3.

    E |(d(x) - μ_A) / σ_A - (d(G(x)) - μ_B) / σ_B|: images that are far apart should stay so after translation. With
    :func:`pair_distances` d is the distance of two images; with :func:`half_distances` it is the self-distance. The
    moments (μ, σ) are those of d over the training photos of the source domain and of the target domain.
    """
    scaled = [(d - mean) / std for d, (mean, std) in ((before, before_moments), (after, after_moments))]
    return F.l1_loss(*scaled)


def identity_loss(translated, original):
    """Identity mapping, CycleGAN section 5.2, one direction: mean ‖G(y) - y‖₁ for a y already in G's target domain."""
    return F.l1_loss(translated.float(), original.float())


def image_loss(made, wanted, reduction="mean"):
    """pix2pix equation 3, ‖y - G(x)‖₁; also SimGAN's self-regularisation (section 2.2), ‖G(x) - x‖₁, of N×C×H×W in [-1,
    1].

    ``reduction`` is ``"mean"`` over all values, or ``"norm"``: the sum over each image's values, then the mean over N.
    """
    values = choose("reduction", reduction, {"mean": 1, "norm": made[0].numel()})
    return F.l1_loss(made.float(), wanted.float()) * values


def cosine_loss(made, wanted, reduction="mean", eps=1e-8):
    """One minus the cosine similarity of two whole images, which replaces pix2pix's L1 in the unmasking study.

    1 - x₁·x₂ / max(‖x₁‖ ‖x₂‖, ε), one number in [0, 2] per image, N×C×H×W in [-1, 1], treated as a vector: x and a·x
    with a > 0 have loss 0. ``reduction`` over the batch is ``"mean"`` or ``"sum"``.
    """
    made, wanted = made.float().flatten(1), wanted.float().flatten(1)
    norms = made.norm(dim=1) * wanted.norm(dim=1)
    cosine = (made * wanted).sum(1) / norms.clamp(min=eps)
    return choose("reduction", reduction, {"mean": torch.mean, "sum": torch.sum})(1 - cosine)


def non_mask_change_loss(made, original, region, distance=None, reach=0.0):
    """NMC of the two-step study: the L1 distance of input and result, N×3×H×W, over the pixels outside the boolean mask
    region.

    ``region`` is N×1×H×W in [0, 1]; every pixel above 0 belongs to the mask. With a ``reach``, the penalty rises from 0
    at the region's edge to its full weight at this ``distance`` from it (N×1×H×W, as a share of the image's side), as
    the study proposes: a shadow next to the mask is not an error.
    """
    weight = (region == 0).float()
    if reach > 0:
        weight = weight * (distance.float() / reach).clamp(max=1)
    change = (made.float() - original.float()).abs().mean(1, keepdim=True)
    return (weight * change).sum() / weight.sum().clamp(min=1)


def attention_loss(attention, region):
    """Attention supervised by the region, as proposed in the two-step study: cross-entropy of Aₖ₊₁ and 1 - region.

    Cross-entropy instead of L1, because L1 has no gradient once the softmax lets everything pass through. ``attention``
    is N×(k+1)×H×W of :class:`~maskhub.models.attention.AttentionGenerator`, the last map being the share of the input;
    ``region`` is N×1×H×W in [0, 1].
    """
    passes, wanted = attention[:, -1:].float().clamp(1e-6, 1 - 1e-6), 1 - region.float()
    return -(wanted * passes.log() + region.float() * (1 - passes).log()).mean()


def _slopes(critic, images):
    """The gradient of each image's logits, N×(C·H·W); an image's logit is the mean over its patches."""
    logits = critic(images).float().flatten(1).mean(1).sum()
    return torch.autograd.grad(logits, images, create_graph=True)[0].flatten(1)


def _squared_distance(logits, target):
    return torch.mean((logits.float() - target) ** 2)


def _cross_entropy(logits, target):
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def _log_distance(made, wanted):
    made, wanted = (((x + 1) / 2).clamp(1e-6, 1 - 1e-6) for x in (made, wanted))
    return F.binary_cross_entropy(made, wanted) - F.binary_cross_entropy(wanted, wanted)


def _wasserstein(logits, target):
    return (1 - 2 * target) * logits.float().mean()
