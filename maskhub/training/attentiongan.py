"""The two-step method: draw a mask by rule, then make it realistic with an AttentionGAN.

Tang, Liu, Xu, Torr, Sebe: "AttentionGAN: Unpaired Image-to-Image Translation using Attention-Guided Generative
Adversarial Networks" (TNNLS 2021), and the two-step study of masked faces, which adds a loss on changes outside the
mask and noise in the content head. Domain A: faces with a mask drawn by rule; B: really masked faces.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from maskhub.errors import ConfigError
from maskhub.losses import attention_loss, cycle_loss, identity_loss, image_loss, non_mask_change_loss
from maskhub.models.attention import AttentionGenerator
from maskhub.options import STAGED, Positive, Weight
from maskhub.training.adversarial import RefinerOptions, RefinerTask
from maskhub.training.cycle import CycleOptions, CycleTask
from maskhub.training.light import LightChoiceOptions
from maskhub.training.task import Update

__all__ = ["AttentionGAN", "AttentionGANOptions"]


class AttentionGANOptions(RefinerOptions, LightChoiceOptions, CycleOptions):
    """Train the two-step masker: an AttentionGAN that makes rule-based masks realistic."""

    generator: Literal["attention", "light"] = "attention"
    """attention: the paper's generator; light: a fast one for CPUs that predicts a residual to the drawn mask."""
    contents: Positive = 9
    """k, content images; there are k + 1 attention maps."""
    noise: Annotated[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]], STAGED] = (1.0, 0.2)
    """Standard deviations of the noise added to the last two content layers; 0 0 turns it off. The light generator uses
    the first value at all its resolutions."""
    one_sided: bool = False
    """Train without the backward cycle: no second generator, no second discriminator."""
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
        if self.start == "unmasked" and (self.lambda_nmc or self.lambda_attention):
            raise ConfigError("--start unmasked draws no mask: --lambda-nmc and --lambda-attention must be 0.")
        if self.generator == "light":
            self.refuse("with --generator light", "contents")
        if self.generator == "light" and any("noise" in stage for stage in self.stages):
            raise ConfigError("the light generator is built with its noise: no stage can change it.")


class AttentionGAN(RefinerTask, CycleTask):
    """See the module. The second generator, ``simplifier``, takes real masks back to drawn ones; only the masker goes
    into the pipeline."""

    Options = AttentionGANOptions
    name = "AttentionGAN"
    paper = "https://arxiv.org/abs/1911.11897"
    recordable = True
    distances = True

    def __init__(self, options, rank=0):
        generators = {"masker": _generator(options, options.noise)}
        discriminators = {"D_A": options.discriminator(options.norm)}
        if not options.one_sided:
            generators["simplifier"] = _generator(options, (0.0, 0.0))  # drawn masks need no noise
            discriminators["D_B"] = options.discriminator(options.norm)
        super().__init__(options, generators, discriminators, pools=("fake_B", "fake_A"), rank=rank)
        self.domains = (options.start, "masked")

    def step(self, batch, turn):
        """CycleGAN's step plus the non-mask-change loss and the attention loss.

        ``batch`` holds ``worn`` or ``unmasked``, as ``start`` says, and ``masked``, N×3×R×R in [-1, 1], and the
        ``region`` of ``worn`` and the ``distance`` from it, N×1×R×R.
        """
        given, masked = batch[self.options.start], batch["masked"]
        self._set_noise()
        learn_generators, learn_discriminators = self.learning(turn)
        if learn_generators:
            loss, terms, fake_b, fake_a = self._objective(batch)
            yield Update("generators", loss, terms)
        else:
            with torch.no_grad():
                fake_b = self.nets["masker"](given)
                fake_a = None if self.options.one_sided else self.nets["simplifier"](masked)
        if learn_discriminators:
            terms = self.discriminator_terms("D_A", masked, self.pools["fake_B"](fake_b.detach()))
            if fake_a is not None:
                terms |= self.discriminator_terms("D_B", given, self.pools["fake_A"](fake_a.detach()))
            yield Update("discriminators", sum(terms.values()), terms)

    def _objective(self, batch):
        """The generators' loss, its terms and the two fakes."""
        c, masker = self.options, self.nets["masker"]
        given, masked, region = batch[c.start], batch["masked"], batch.get("region")
        fake_b, attention = masker(given, with_attention=True)
        fake_a, terms = None, {"G_A": self.generator_term("D_A", fake_b)}
        if c.one_sided:
            loss = terms["G_A"]
        else:
            simplifier = self.nets["simplifier"]
            fake_a = simplifier(masked)
            terms["G_B"] = self.generator_term("D_B", fake_a)
            terms["cycle_A"] = cycle_loss(simplifier(fake_b), given, c.cycle_distance)
            terms["cycle_B"] = cycle_loss(masker(fake_a), masked, c.cycle_distance)
            loss = terms["G_A"] + terms["G_B"] + c.lambda_cycle * (terms["cycle_A"] + terms["cycle_B"])
        if c.lambda_cycle and c.lambda_identity:
            terms["idt_A"] = identity_loss(masker(masked), masked)
            loss = loss + c.lambda_cycle * c.lambda_identity * terms["idt_A"]
            if not c.one_sided:
                terms["idt_B"] = identity_loss(simplifier(given), given)
                loss = loss + c.lambda_cycle * c.lambda_identity * terms["idt_B"]
        if c.lambda_distance:
            terms["distance_A"] = self.distance_term(given, fake_b)
            loss = loss + c.lambda_distance * terms["distance_A"]
            if not c.one_sided:
                terms["distance_B"] = self.distance_term(masked, fake_a, back=True)
                loss = loss + c.lambda_distance * terms["distance_B"]
        if region is not None:
            terms["nmc"] = non_mask_change_loss(fake_b, given, region, batch["distance"], c.nmc_reach)
            loss = loss + c.lambda_nmc * terms["nmc"]
        if c.lambda_image:
            terms["image"] = image_loss(fake_b, given)
            loss = loss + c.lambda_image * terms["image"]
        if c.lambda_attention:
            terms["attention"] = attention_loss(attention, region)
            loss = loss + c.lambda_attention * terms["attention"]
        return loss, terms, fake_b, fake_a

    def _set_noise(self):
        """Give the masker the noise of the current stage."""
        masker, noise = self.networks["masker"], self.options.noise
        if self.options.generator == "attention" and tuple(masker.config.noise) != noise:
            masker.register_to_config(noise=noise)

    def input_of(self, name, batch):
        return batch[self.options.start if name == "masker" else "masked"]

    def samples(self, networks, batch):
        """For each face: the input, the result, the attention on the mask. In the second group, real masks."""
        given = batch[self.options.start]
        made, attention = networks["masker"](given, with_attention=True)
        mask_attention = (1 - 2 * attention[:, -1:]).expand(-1, 3, -1, -1)
        return [[given, made, mask_attention], [batch["masked"]]]


def _generator(options, noise):
    if options.generator == "light":
        return options.light_generator(options.light_blocks, residual=True, noise=noise[0])
    return AttentionGenerator(
        width=options.generator_width, blocks=options.blocks, contents=options.contents, norm=options.norm,
        noise=tuple(noise),
    )  # fmt: skip
