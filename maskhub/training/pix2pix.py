"""pix2pix: translation learnt from pairs, with a discriminator that sees input and output together.

Isola, Zhu, Zhou, Efros: "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017). The unmasking
study trains it on pairs made by rule and tries cosine distances of the colours in place of L1.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from maskhub.data.given import GivenPairs
from maskhub.data.paired import WornPairs
from maskhub.data.unpaired import LOAD_SCALE
from maskhub.errors import ConfigError
from maskhub.losses import cosine_loss, image_loss
from maskhub.models.patch import PatchDiscriminator
from maskhub.models.unet import UnetGenerator
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.config import WornConfig, check_least
from maskhub.training.cyclegan import check_patches
from maskhub.training.method import Method

__all__ = ["Pix2Pix", "Pix2PixConfig"]


@dataclass
class Pix2PixConfig(WornConfig):
    """Train pix2pix on pairs of masked and unmasked faces (Isola et al., CVPR 2017)."""

    batch_size: int = 4
    """Pairs a process and micro-batch."""
    gan_loss: Literal["lsgan", "vanilla", "wgan-gp"] = "vanilla"
    """Adversarial loss: the paper's is the cross-entropy."""
    direction: Literal["unmask", "mask"] = "unmask"
    """Which way the generator learns."""
    pairs: Literal["worn", "given"] = "worn"
    """worn: masks are put on the unmasked photos as the run goes; given: the two sources hold the same faces in the
    same order (folders with the same file names, or two columns of one dataset)."""
    generator_width: int = 64
    """Channels after the U-Net's first convolution."""
    depth: int = 0
    """Levels of the U-Net; 0: as many as the resolution has factors of two."""
    norm: Literal["batch", "instance"] = "batch"
    """Norm of generator and discriminator."""
    upsampling: Literal["transposed", "resize"] = "transposed"
    """resize (nearest neighbour, then a convolution) leaves no checkerboard."""
    discriminator_width: int = 64
    """Channels after the discriminator's first convolution."""
    discriminator_layers: int = 3
    """3 judges patches of 70×70 pixels; 0 single pixels."""
    reconstruction: Literal["l1", "cosine-mean", "cosine-sum"] = "l1"
    """Distance from the true picture: the paper's L1, or the unmasking study's cosine of the pixels' colours."""
    lambda_reconstruction: float = 100.0
    """Weight of the reconstruction loss."""
    lambda_gan: float = 1.0
    """Weight of the adversarial loss."""
    pool_size: int = 0
    """Older fakes that the discriminator is shown; pix2pix has none."""

    staged: ClassVar[frozenset] = WornConfig.staged | {"lambda_reconstruction", "lambda_gan"}

    def needs(self):
        return ("unmasked",) if self.pairs == "worn" else ("unmasked", "masked")

    def levels(self):
        """The U-Net's depth: the innermost level is a single pixel where the resolution is a power of two."""
        return self.depth or min(8, (self.resolution & -self.resolution).bit_length() - 1)

    def check(self):
        super().check()
        for name in ("lambda_reconstruction", "lambda_gan", "pool_size", "depth", "discriminator_layers"):
            check_least(self, name, 0)
        for name in ("generator_width", "discriminator_width"):
            check_least(self, name, 1)
        if self.resolution % 2 ** self.levels():
            raise ConfigError(
                f"--depth {self.depth} needs a --resolution that is a multiple of {2**self.depth}; "
                f"it is {self.resolution}."
            )
        if self.pairs == "worn" and self.masked:
            raise ConfigError("--masked is not read with --pairs worn: leave it out, or use --pairs given.")
        check_patches(self)


class Pix2Pix(Method):
    """The method as the loop sees it; arguments as in :class:`~maskhub.training.method.Method`."""

    name = "pix2pix"
    paper = "https://arxiv.org/abs/1611.07004"

    def __init__(self, config, seed=0):
        self.part = config.direction + "er"
        self.given, self.wanted = ("masked", "unmasked") if config.direction == "unmask" else ("unmasked", "masked")
        generator = UnetGenerator(
            width=config.generator_width, depth=config.levels(), norm=config.norm, upsampling=config.upsampling
        )
        critic = PatchDiscriminator(
            width=config.discriminator_width, layers=config.discriminator_layers, norm=config.norm, in_channels=6
        )
        super().__init__(config, {self.part: generator}, {"D": critic}, pools=("fake",), seed=seed)

    def dataset(self, sources, seed, load_scale=LOAD_SCALE, **walk):
        c = self.config
        if c.pairs == "given":
            return GivenPairs(sources["unmasked"], sources["masked"], c.resolution, seed, load_scale=load_scale, **walk)
        return WornPairs(sources["unmasked"], c.resolution, seed, load_scale=load_scale, wearing=c.wearing(), **walk)

    def generator_loss(self, nets, batch):
        """Equation 4: the conditional GAN's term and λ times the distance from the true picture."""
        c, given, wanted = self.config, batch[self.given], batch[self.wanted]
        made = nets[self.part](given)
        name = "G_L1" if c.reconstruction == "l1" else "G_cosine"
        terms = {name: self._distance(made, wanted)}
        loss = c.lambda_reconstruction * terms[name]
        if c.lambda_gan:
            terms["G_GAN"] = self.generator_term(nets, "D", made, condition=given)
            loss = loss + c.lambda_gan * terms["G_GAN"]
        return loss, terms, {"fake": torch.cat([given, made.detach().to(given.dtype)], 1)}

    def _distance(self, made, wanted):
        kind = self.config.reconstruction
        return image_loss(made, wanted) if kind == "l1" else cosine_loss(made, wanted, kind.removeprefix("cosine-"))

    @torch.no_grad()
    def fakes(self, nets, batch):
        given = batch[self.given]
        return {"fake": torch.cat([given, nets[self.part](given).to(given.dtype)], 1)}

    def discriminator_loss(self, nets, batch, fakes):
        """The discriminator on true and made pairs of input and output."""
        real = torch.cat([batch[self.given], batch[self.wanted]], 1)
        terms = self.discriminator_terms(nets, "D", real, self.pools["fake"](fakes["fake"]))
        return sum(terms.values()), terms

    def pipeline(self, generators):
        return FaceMaskPipeline(**generators, resolution=self.config.resolution)

    def sample_rows(self, generators, batch):
        """For each face: what the generator is given, what it makes, the truth."""
        return [[batch[self.given], generators[self.part](batch[self.given]), batch[self.wanted]]]
