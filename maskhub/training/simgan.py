"""SimGAN: a refiner makes simulated pictures look real without changing what they show.

Shrivastava, Pfister, Tuzel, Susskind, Wang, Webb: "Learning from Simulated and Unsupervised Images through Adversarial
Training" (CVPR 2017); the mask study uses it beside CycleGAN to make masked faces. A is the refiner's input (faces with
a mask drawn on by rule, or bare ones), B really masked faces.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from maskhub.data.two_step import WornAndMasked
from maskhub.data.unpaired import LOAD_SCALE
from maskhub.errors import ConfigError
from maskhub.losses import image_loss
from maskhub.models.simgan import SimDiscriminator, SimGenerator
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.config import WornConfig, check_least
from maskhub.training.method import Method

__all__ = ["SimGAN", "SimGANConfig"]


@dataclass
class SimGANConfig(WornConfig):
    """Train SimGAN's refiner to make masks real (Shrivastava et al., CVPR 2017)."""

    resolution: int = 128
    """Side of the training crops in pixels; a multiple of 16, at least 32."""
    batch_size: int = 8
    """Samples of each domain a process and micro-batch; batch norm needs several."""
    gan_loss: Literal["lsgan", "vanilla", "wgan-gp"] = "vanilla"
    """Adversarial loss: the paper's is the cross-entropy."""
    start: Literal["worn", "unmasked"] = "worn"
    """What the refiner is given: faces with a mask drawn on by rule, or bare faces."""
    generator_width: int = 64
    """Channels of the refiner's blocks."""
    blocks: int = 4
    """Residual blocks of the refiner: 4 or 8 in the study."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Norm of the refiner."""
    discriminator_width: int = 96
    """Channels of the discriminator's first convolution."""
    lambda_image: float = 1.0
    """β, weight of the image loss ‖G(x) - x‖₁."""
    lambda_gan: float = 1.0
    """Weight of the adversarial loss."""
    pretrain_generator: int = 500
    """First steps, in which the refiner alone learns, from the image loss alone."""
    pretrain_discriminator: int = 100
    """Steps after those, in which the discriminator alone learns."""
    pool_size: int = 50
    """Older fakes that the discriminator is shown."""

    staged: ClassVar[frozenset] = WornConfig.staged | {"lambda_image", "lambda_gan"}

    def check(self):
        super().check()
        for name in (
            "lambda_image",
            "lambda_gan",
            "pretrain_generator",
            "pretrain_discriminator",
            "pool_size",
            "blocks",
        ):
            check_least(self, name, 0)
        for name in ("generator_width", "discriminator_width"):
            check_least(self, name, 1)
        if self.resolution % 16:
            raise ConfigError(f"--resolution is {self.resolution}; SimGAN's discriminator needs a multiple of 16.")
        if self.batch_size == 1:
            raise ConfigError("--batch-size is 1; SimGAN's discriminator ends in a batch norm, which needs several.")

    def timeline(self):
        """The stages, after those of the paper's pre-training."""
        first = {
            "steps": self.pretrain_generator,
            "lambda_gan": 0.0,
            "discriminator_updates": 0,
            "lr_schedule": "constant",
        }
        second = {"steps": self.pretrain_discriminator, "generator_updates": 0, "lr_schedule": "constant"}
        before = [stage for stage in (first, second) if stage["steps"]]
        done = sum(stage["steps"] for stage in before)
        return before + (list(self.stages) or [{"steps": max(1, self.max_steps - done)}])


class SimGAN(Method):
    """The method as the loop sees it; arguments as in :class:`~maskhub.training.method.Method`."""

    name = "SimGAN"
    paper = "https://arxiv.org/abs/1612.07828"

    def __init__(self, config, seed=0):
        masker = SimGenerator(width=config.generator_width, blocks=config.blocks, norm=config.norm)
        critic = SimDiscriminator(resolution=config.resolution, width=config.discriminator_width)
        super().__init__(config, {"masker": masker}, {"D": critic}, pools=("fake_B",), seed=seed)

    def dataset(self, sources, seed, load_scale=LOAD_SCALE, **walk):
        if self.config.start == "unmasked":
            return super().dataset(sources, seed, load_scale, **walk)
        wearing = self.config.wearing()
        return WornAndMasked(
            sources["unmasked"], sources["masked"], self.config.resolution, seed, load_scale=load_scale,
            wearing=wearing, **walk,
        )  # fmt: skip

    def generator_loss(self, nets, batch):
        """Equation 1 with the adversarial term of equation 3 (its non-saturating form) and β‖G(x) - x‖₁."""
        c = self.config
        simulated = batch[c.start]
        refined = nets["masker"](simulated)
        terms = {"image": image_loss(refined, simulated)}
        loss = c.lambda_image * terms["image"]
        if c.lambda_gan:
            terms["G"] = self.generator_term(nets, "D", refined)
            loss = loss + c.lambda_gan * terms["G"]
        return loss, terms, {"fake_B": refined.detach()}

    @torch.no_grad()
    def fakes(self, nets, batch):
        return {"fake_B": nets["masker"](batch[self.config.start])}

    def discriminator_loss(self, nets, batch, fakes):
        """Equation 2, on the history of refined pictures (section 2.3)."""
        terms = self.discriminator_terms(nets, "D", batch["masked"], self.pools["fake_B"](fakes["fake_B"]))
        return sum(terms.values()), terms

    def pipeline(self, generators):
        wear = self.config.style if self.config.start == "worn" else None
        return FaceMaskPipeline(**generators, resolution=self.config.resolution, wear=wear)

    def sample_rows(self, generators, batch):
        """For each face: as it is, refined; beside them really masked faces, and what the refiner makes of those."""
        start, masker = batch[self.config.start], generators["masker"]
        return [[start, masker(start)], [batch["masked"], masker(batch["masked"])]]
