"""pix2pix: translation learnt from pairs, with a discriminator conditioned on the input.

Isola, Zhu, Zhou, Efros: "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017). The unmasking
study trains it on pairs made by rule and compares L1 with cosine distances of the colours.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from maskhub.data.given import GivenPairs
from maskhub.data.masked import MaskOptions
from maskhub.data.paired import WornPairs
from maskhub.direction import Direction
from maskhub.errors import ConfigError
from maskhub.losses import cosine_loss, image_loss
from maskhub.models.unet import UnetGenerator
from maskhub.options import Count, Positive, Weight
from maskhub.training.adversarial import AdversarialTask, PatchOptions, WornOptions
from maskhub.training.task import Update

__all__ = ["Pix2Pix", "Pix2PixOptions"]


class Pix2PixOptions(WornOptions, PatchOptions):
    """Train pix2pix on pairs of masked and unmasked faces (Isola et al., CVPR 2017)."""

    batch_size: Positive = 4
    """Pairs per process and micro-batch."""
    gan_loss: Literal["lsgan", "vanilla", "wgan-gp"] = "vanilla"
    """Adversarial loss; vanilla (cross-entropy) is the paper's."""
    direction: Literal["unmask", "mask"] = "unmask"
    """Direction in which the generator translates."""
    pairs: Literal["worn", "given"] = "worn"
    """worn: masks are put on the unmasked photos during training; given: the two sources hold the same faces in the
    same order (folders with the same file names, or two columns of one dataset)."""
    generator_width: Positive = 64
    """Channels after the U-Net's first convolution."""
    depth: Annotated[int, Field(ge=0, le=16)] = 0
    """Levels of the U-Net; 0: as many as the resolution allows, at most 8."""
    norm: Literal["batch", "instance"] = "batch"
    """Norm of generator and discriminator."""
    upsampling: Literal["transposed", "resize"] = "transposed"
    """resize (nearest neighbour, then a convolution) avoids checkerboard artefacts."""
    reconstruction: Literal["l1", "cosine-mean", "cosine-sum"] = "l1"
    """Reconstruction loss: the paper's L1, or the unmasking study's cosine distance of pixel colours."""
    lambda_reconstruction: Weight = 100.0
    """Weight of the reconstruction loss."""
    lambda_gan: Weight = 1.0
    """Weight of the adversarial loss."""
    pool_size: Count = 0
    """Size of the discriminator's pool of older fakes; 0 (no pool) in the paper."""

    def needs(self):
        return ("unmasked",) if self.pairs == "worn" else ("unmasked", "masked")

    def levels(self):
        """The U-Net's depth; the innermost level is a single pixel if the resolution is a power of two up to 256."""
        return self.depth or min(8, (self.resolution & -self.resolution).bit_length() - 1)

    def check(self):
        super().check()
        if self.resolution % 2 ** self.levels():
            raise ConfigError(
                f"--depth {self.depth} needs a --resolution that is a multiple of {2**self.depth}; "
                f"it is {self.resolution}."
            )
        if self.pairs == "given":
            self.refuse("with --pairs given, which draws no mask", *MaskOptions.model_fields)
        if self.pairs == "worn" and self.masked:
            raise ConfigError("--masked is not used with --pairs worn: leave it out, or use --pairs given.")


class Pix2Pix(AdversarialTask):
    """See the module."""

    Options = Pix2PixOptions
    name = "pix2pix"
    recordable = True
    paper = "https://arxiv.org/abs/1611.07004"

    def __init__(self, options, rank=0):
        c = options
        direction = Direction(c.direction)
        self.part, self.given, self.wanted = direction.role, direction.inverse.past, direction.past
        generator = UnetGenerator(width=c.generator_width, depth=c.levels(), norm=c.norm, upsampling=c.upsampling)
        discriminator = c.discriminator(c.norm, in_channels=6)
        super().__init__(c, {self.part: generator}, {"D": discriminator}, pools=("fake",), rank=rank)

    def dataset(self, seed, load_scale=None, **walk):
        c, how = self.options, {"load_scale": load_scale or self.options.load_scale, **walk}
        if c.pairs == "given":
            return GivenPairs(self.sources["unmasked"], self.sources["masked"], c.resolution, seed, **how)
        return WornPairs(self.sources["unmasked"], c.resolution, seed, wearing=c.wearing(), **how)

    def step(self, batch, turn):
        """Update the generator by equation 4, the conditional GAN loss plus λ times the reconstruction loss; then the
        discriminator on real and generated pairs of input and output."""
        c, given, wanted = self.options, batch[self.given], batch[self.wanted]
        learn_generator, learn_discriminator = self.learning(turn)
        with torch.set_grad_enabled(learn_generator):
            made = self.nets[self.part](given)
        if learn_generator:
            name = "G_L1" if c.reconstruction == "l1" else "G_cosine"
            terms = {name: self._distance(made, wanted)}
            loss = c.lambda_reconstruction * terms[name]
            if c.lambda_gan:
                terms["G_GAN"] = self.generator_term("D", made, condition=given)
                loss = loss + c.lambda_gan * terms["G_GAN"]
            yield Update("generators", loss, terms)
        if learn_discriminator:
            fake = self.pools["fake"](torch.cat([given, made.detach().to(given.dtype)], 1))
            terms = self.discriminator_terms("D", torch.cat([given, wanted], 1), fake)
            yield Update("discriminators", sum(terms.values()), terms)

    def _distance(self, made, wanted):
        kind = self.options.reconstruction
        return image_loss(made, wanted) if kind == "l1" else cosine_loss(made, wanted, kind.removeprefix("cosine-"))

    def input_of(self, name, batch):
        return batch[self.given]

    def samples(self, networks, batch):
        """For each face: input, result, truth."""
        return [[batch[self.given], networks[self.part](batch[self.given]), batch[self.wanted]]]
