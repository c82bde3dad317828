"""The two-step method: a mask drawn on by rule, then an AttentionGAN that makes it look real.

Tang, Liu, Xu, Torr, Sebe: "AttentionGAN: Unpaired Image-to-Image Translation using Attention-Guided Generative
Adversarial Networks" (TNNLS 2021), and the two-step study of masked faces, which adds a loss on what changes beside the
mask and noise in the content head. A is faces with a mask drawn on by rule, B really masked faces.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from maskhub.data.two_step import WornAndMasked
from maskhub.data.unpaired import LOAD_SCALE
from maskhub.errors import ConfigError
from maskhub.losses import attention_loss, cycle_loss, identity_loss, image_loss, non_mask_change_loss
from maskhub.models.attention import AttentionGenerator
from maskhub.models.patch import PatchDiscriminator
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.config import WornConfig, check_least
from maskhub.training.cyclegan import check_patches
from maskhub.training.method import Method
from maskhub.training.unmasker import check_grids, light_generator

__all__ = ["AttentionGAN", "AttentionGANConfig"]


@dataclass
class AttentionGANConfig(WornConfig):
    """Train the two-step masker: rule-based masks made real by an AttentionGAN."""

    generator: Literal["attention", "light"] = "attention"
    """The paper's generator, or the light one: made for free CPUs, and its content is a change of the drawn mask."""
    widths: tuple[int, ...] = (64, 128, 192)
    """Channels of the light generator's grids, the finest first."""
    light_blocks: tuple[int, ...] = (1, 1, 3)
    """Residual blocks on each of them."""
    fold: int = 1
    """By how much the light generator folds the picture even for its last layers: 1 for 128 pixels, 2 for 256."""
    detail: int = 12
    """Channels of its last layers."""
    detail_blocks: int = 0
    """Residual blocks among them."""
    generator_width: int = 64
    """Channels after the generators' first convolution."""
    blocks: int = 9
    """Residual blocks: 9 for 256 pixels and up, 6 for 128."""
    contents: int = 9
    """k, content images; there are k + 1 attention maps."""
    noise: tuple[float, float] = (1.0, 0.2)
    """Standard deviations of the noise into the last two content layers; 0 0 turns it off. The light generator has the
    first of them on all its grids."""
    norm: Literal["instance", "batch"] = "instance"
    """Norm of generators and discriminators."""
    discriminator_width: int = 64
    """Channels after the discriminators' first convolution."""
    discriminator_layers: int = 3
    """3 judges patches of 70×70 pixels; 0 single pixels."""
    one_sided: bool = False
    """Train without the backward cycle: no second generator, no second discriminator."""
    lambda_cycle: float = 10.0
    """Weight of the cycle loss (two-sided only)."""
    lambda_identity: float = 0.5
    """Weight of the identity loss, as a share of lambda_cycle; 0 leaves it out."""
    lambda_nmc: float = 10.0
    """Weight of the non-mask-change loss."""
    nmc_reach: float = 0.0
    """Distance from the mask, in shares of the image's side, over which the non-mask-change penalty rises to its full
    weight; 0: full weight everywhere outside."""
    lambda_attention: float = 0.0
    """Weight of the attention's supervision by the region."""
    lambda_image: float = 0.0
    """Weight of SimGAN's self-regularisation: what changes at all."""
    pool_size: int = 50
    """Older fakes that each discriminator is shown."""

    staged: ClassVar[frozenset] = WornConfig.staged | {
        "lambda_cycle", "lambda_identity", "lambda_nmc", "nmc_reach", "lambda_attention", "lambda_image",
    }  # fmt: skip

    def check(self):
        super().check()
        for name in (
            "lambda_cycle", "lambda_identity", "lambda_nmc", "nmc_reach", "lambda_attention", "lambda_image",
            "pool_size", "blocks", "discriminator_layers",
        ):  # fmt: skip
            check_least(self, name, 0)
        for name in ("generator_width", "discriminator_width", "contents"):
            check_least(self, name, 1)
        if len(self.noise) != 2 or min(self.noise) < 0:
            raise ConfigError(f"--noise is {self.noise}; it must be two numbers of at least 0.")
        check_patches(self)
        if self.generator == "light":
            check_grids(self)


class AttentionGAN(Method):
    """The method as the loop sees it; arguments as in :class:`~maskhub.training.method.Method`.

    The second generator, ``simplifier``, takes real masks back to drawn ones; only the masker goes into the pipeline.
    """

    name = "AttentionGAN"
    paper = "https://arxiv.org/abs/1911.11897"

    def __init__(self, config, seed=0):
        discriminator = {
            "width": config.discriminator_width,
            "layers": config.discriminator_layers,
            "norm": config.norm,
        }
        generators = {"masker": _generator(config, config.noise)}
        discriminators = {"D_A": PatchDiscriminator(**discriminator)}
        if not config.one_sided:
            generators["simplifier"] = _generator(config, (0.0, 0.0))  # drawn fabrics need no noise
            discriminators["D_B"] = PatchDiscriminator(**discriminator)
        super().__init__(config, generators, discriminators, pools=("fake_B", "fake_A"), seed=seed)

    def dataset(self, sources, seed, load_scale=LOAD_SCALE, **walk):
        wearing = self.config.wearing()
        return WornAndMasked(
            sources["unmasked"], sources["masked"], self.config.resolution, seed, load_scale=load_scale,
            wearing=wearing, **walk,
        )  # fmt: skip

    def generator_loss(self, nets, batch):
        """CycleGAN's objective, the non-mask-change loss, and the attention's supervision.

        ``batch`` holds ``worn`` and ``masked``, N×3×R×R in [-1, 1], and of ``worn`` the ``region`` and the ``distance``
        from it, N×1×R×R.
        """
        masker, c = nets["masker"], self.config
        worn, masked, region = batch["worn"], batch["masked"], batch["region"]
        fake_b, attention = masker(worn, with_attention=True)
        terms = {"G_A": self.generator_term(nets, "D_A", fake_b)}
        fakes = {"fake_B": fake_b.detach()}
        if c.one_sided:
            loss = terms["G_A"]
        else:
            simplifier = nets["simplifier"]
            fake_a = simplifier(masked)
            fakes["fake_A"] = fake_a.detach()
            terms["G_B"] = self.generator_term(nets, "D_B", fake_a)
            terms["cycle_A"] = cycle_loss(simplifier(fake_b), worn)
            terms["cycle_B"] = cycle_loss(masker(fake_a), masked)
            loss = terms["G_A"] + terms["G_B"] + c.lambda_cycle * (terms["cycle_A"] + terms["cycle_B"])
        if c.lambda_cycle and c.lambda_identity:
            terms["idt_A"] = identity_loss(masker(masked), masked)
            loss = loss + c.lambda_cycle * c.lambda_identity * terms["idt_A"]
            if not c.one_sided:
                terms["idt_B"] = identity_loss(simplifier(worn), worn)
                loss = loss + c.lambda_cycle * c.lambda_identity * terms["idt_B"]
        terms["nmc"] = non_mask_change_loss(fake_b, worn, region, batch["distance"], c.nmc_reach)
        loss = loss + c.lambda_nmc * terms["nmc"]
        if c.lambda_image:
            terms["image"] = image_loss(fake_b, worn)
            loss = loss + c.lambda_image * terms["image"]
        if c.lambda_attention:
            terms["attention"] = attention_loss(attention, region)
            loss = loss + c.lambda_attention * terms["attention"]
        return loss, terms, fakes

    @torch.no_grad()
    def fakes(self, nets, batch):
        fakes = {"fake_B": nets["masker"](batch["worn"])}
        if not self.config.one_sided:
            fakes["fake_A"] = nets["simplifier"](batch["masked"])
        return fakes

    def discriminator_loss(self, nets, batch, fakes):
        """Each discriminator on its real photos and on the pool of its generator's fakes."""
        terms = self.discriminator_terms(nets, "D_A", batch["masked"], self.pools["fake_B"](fakes["fake_B"]))
        if not self.config.one_sided:
            terms |= self.discriminator_terms(nets, "D_B", batch["worn"], self.pools["fake_A"](fakes["fake_A"]))
        return sum(terms.values()), terms

    def pipeline(self, generators):
        return FaceMaskPipeline(masker=generators["masker"], resolution=self.config.resolution, wear=self.config.style)

    def sample_rows(self, generators, batch):
        """For each face: with the mask drawn on, made real, where the masker looked; beside them real masks."""
        made, attention = generators["masker"](batch["worn"], with_attention=True)
        looked = (1 - 2 * attention[:, -1:]).expand(-1, 3, -1, -1)
        return [[batch["worn"], made, looked], [batch["masked"]]]


def _generator(config, noise):
    if config.generator == "light":
        return light_generator(config, config.light_blocks, residual=True, noise=noise[0])
    return AttentionGenerator(
        width=config.generator_width, blocks=config.blocks, contents=config.contents, norm=config.norm,
        noise=tuple(noise),
    )  # fmt: skip
