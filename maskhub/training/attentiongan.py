"""The two-step method: draw a mask by rule, then make it realistic with an AttentionGAN.

Tang, Liu, Xu, Torr, Sebe: "AttentionGAN: Unpaired Image-to-Image Translation using Attention-Guided Generative
Adversarial Networks" (TNNLS 2021), and the two-step study of masked faces, which adds a loss on changes outside the
mask and noise in the content head. Domain A: faces with a mask drawn by rule; B: really masked faces.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from maskhub.data.positions import LOAD_SCALE
from maskhub.data.two_step import WornAndMasked
from maskhub.losses import attention_loss, cycle_loss, identity_loss, image_loss, non_mask_change_loss
from maskhub.models.attention import AttentionGenerator
from maskhub.options import Count, Positive, Weight
from maskhub.training.adversarial import AdversarialTask, WornOptions
from maskhub.training.light import LightOptions, fitted_light
from maskhub.training.task import Update

__all__ = ["AttentionGAN", "AttentionGANOptions"]


class AttentionGANOptions(WornOptions, LightOptions):
    """Train the two-step masker: an AttentionGAN that makes rule-based masks realistic."""

    generator: Literal["attention", "light"] = "attention"
    """attention: the paper's generator; light: a fast one for CPUs that predicts a residual to the drawn mask."""
    light_blocks: tuple[Count, ...] = (1, 1, 3)
    """Residual blocks at each resolution of the light generator."""
    generator_width: Positive = 64
    """Channels after the generators' first convolution."""
    blocks: Count = 9
    """Residual blocks: 9 for 256 pixels and up, 6 for 128."""
    contents: Positive = 9
    """k, content images; there are k + 1 attention maps."""
    noise: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (1.0, 0.2)
    """Standard deviations of the noise added to the last two content layers; 0 0 turns it off. The light generator uses
    the first value at all its resolutions."""
    norm: Literal["instance", "batch"] = "instance"
    """Norm of generators and discriminators."""
    one_sided: bool = False
    """Train without the backward cycle: no second generator, no second discriminator."""
    lambda_cycle: Weight = 10.0
    """Weight of the cycle loss (two-sided only)."""
    lambda_identity: Weight = 0.5
    """Weight of the identity loss, relative to lambda_cycle; 0: no identity loss."""
    lambda_nmc: Weight = 10.0
    """Weight of the non-mask-change loss."""
    nmc_reach: Weight = 0.0
    """Distance from the mask, as a fraction of the image side, over which the non-mask-change penalty rises to its full
    weight; 0: full weight everywhere outside."""
    lambda_attention: Weight = 0.0
    """Weight of the attention loss, which supervises the attention maps with the mask's region."""
    lambda_image: Weight = 0.0
    """Weight of SimGAN's self-regularisation: the L1 distance between input and output."""

    def check(self):
        super().check()
        if self.generator == "light":
            self.check_grids()


class AttentionGAN(AdversarialTask):
    """See the module. The second generator, ``simplifier``, takes real masks back to drawn ones; only the masker goes
    into the pipeline."""

    Options = AttentionGANOptions
    name = "AttentionGAN"
    paper = "https://arxiv.org/abs/1911.11897"

    def __init__(self, options, rank=0):
        generators = {"masker": _generator(options, options.noise)}
        discriminators = {"D_A": options.discriminator(options.norm)}
        if not options.one_sided:
            generators["simplifier"] = _generator(options, (0.0, 0.0))  # drawn masks need no noise
            discriminators["D_B"] = options.discriminator(options.norm)
        super().__init__(options, generators, discriminators, pools=("fake_B", "fake_A"), rank=rank)

    def dataset(self, seed, load_scale=None, **walk):
        c = self.options
        return WornAndMasked(
            self.sources["unmasked"], self.sources["masked"], c.resolution, seed,
            load_scale=load_scale or LOAD_SCALE, wearing=c.wearing(), **walk,
        )  # fmt: skip

    def step(self, batch, turn):
        """CycleGAN's step plus the non-mask-change loss and the attention loss.

        ``batch`` holds ``worn`` and ``masked``, N×3×R×R in [-1, 1], and the ``region`` of ``worn`` and the ``distance``
        from it, N×1×R×R.
        """
        worn, masked = batch["worn"], batch["masked"]
        learn_generators, learn_discriminators = self.learning(turn)
        if learn_generators:
            loss, terms, fake_b, fake_a = self._objective(batch)
            yield Update("generators", loss, terms)
        else:
            with torch.no_grad():
                fake_b = self.nets["masker"](worn)
                fake_a = None if self.options.one_sided else self.nets["simplifier"](masked)
        if learn_discriminators:
            terms = self.discriminator_terms("D_A", masked, self.pools["fake_B"](fake_b.detach()))
            if fake_a is not None:
                terms |= self.discriminator_terms("D_B", worn, self.pools["fake_A"](fake_a.detach()))
            yield Update("discriminators", sum(terms.values()), terms)

    def _objective(self, batch):
        """The generators' loss, its terms and the two fakes."""
        c, masker = self.options, self.nets["masker"]
        worn, masked, region = batch["worn"], batch["masked"], batch["region"]
        fake_b, attention = masker(worn, with_attention=True)
        fake_a, terms = None, {"G_A": self.generator_term("D_A", fake_b)}
        if c.one_sided:
            loss = terms["G_A"]
        else:
            simplifier = self.nets["simplifier"]
            fake_a = simplifier(masked)
            terms["G_B"] = self.generator_term("D_B", fake_a)
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
        return loss, terms, fake_b, fake_a

    def fitted(self, loaded, network):
        return fitted_light(loaded, network)

    def pipeline(self, networks):
        from maskhub.pipelines.face_mask import FaceMaskPipeline

        return FaceMaskPipeline(masker=networks["masker"], resolution=self.options.resolution, wear=self.options.style)

    def samples(self, networks, batch):
        """For each face: the drawn mask, the result, the attention on the mask. In the second group, real masks."""
        made, attention = networks["masker"](batch["worn"], with_attention=True)
        mask_attention = (1 - 2 * attention[:, -1:]).expand(-1, 3, -1, -1)
        return [[batch["worn"], made, mask_attention], [batch["masked"]]]


def _generator(options, noise):
    if options.generator == "light":
        return options.light_generator(options.light_blocks, residual=True, noise=noise[0])
    return AttentionGenerator(
        width=options.generator_width, blocks=options.blocks, contents=options.contents, norm=options.norm,
        noise=tuple(noise),
    )  # fmt: skip
