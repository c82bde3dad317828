"""SimGAN: a refiner makes simulated pictures realistic without changing what they show.

Shrivastava, Pfister, Tuzel, Susskind, Wang, Webb: "Learning from Simulated and Unsupervised Images through Adversarial
Training" (CVPR 2017); the mask study uses it and CycleGAN to make masked faces. Domain A: the refiner's
input (faces with a mask drawn by rule, or unmasked faces); B: really masked faces.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from maskhub.errors import ConfigError
from maskhub.losses import image_loss
from maskhub.models.simgan import SimDiscriminator, SimGenerator
from maskhub.options import Count, Positive, Weight
from maskhub.training.adversarial import RefinerOptions, RefinerTask
from maskhub.training.task import Update

__all__ = ["SimGAN", "SimGANOptions"]


class SimGANOptions(RefinerOptions):
    """Train SimGAN's refiner to make masks realistic (Shrivastava et al., CVPR 2017)."""

    resolution: Annotated[int, Field(ge=32, multiple_of=16)] = 128
    """Side of the training crops in pixels; a multiple of 16, at least 32."""
    batch_size: Annotated[int, Field(ge=2)] = 8
    """Samples per domain, process and micro-batch; the discriminator's last batch norm needs at least 2."""
    gan_loss: Literal["lsgan", "vanilla", "wgan-gp"] = "vanilla"
    """Adversarial loss; vanilla (cross-entropy) is the paper's."""
    generator_width: Positive = 64
    """Channels of the refiner's blocks."""
    blocks: Count = 4
    """Residual blocks of the refiner: 4 or 8 in the study."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Norm of the refiner."""
    discriminator_width: Positive = 96
    """Channels of the discriminator's first convolution."""
    discriminator_convolutions: Annotated[int, Field(ge=5, le=32)] = 5
    """Convolutions of the discriminator: 5, or 7 in the study's last phase."""
    lambda_image: Weight = 1.0
    """β, weight of the image loss ‖G(x) - x‖₁."""
    image_distance: Literal["mean", "norm"] = "mean"
    """The image loss as the mean over all values, or as the norm of each image: the sum over its values."""
    lambda_gan: Weight = 1.0
    """Weight of the adversarial loss."""
    pretrain_generator: Count = 500
    """Number of first steps that train only the refiner, with the image loss alone."""
    pretrain_discriminator: Count = 100
    """Number of steps after those that train only the discriminator."""

    def check(self):
        super().check()
        if self.stages and (self.pretrain_generator or self.pretrain_discriminator):
            raise ConfigError(
                "the stages of a recipe are the whole run: set pretrain_generator and pretrain_discriminator to 0, and "
                "write the pre-training as stages with lambda_gan: 0, discriminator_updates: 0 and with "
                "generator_updates: 0."
            )

    def timeline(self):
        """The stages; without any, those of the paper's pre-training and one for the rest of the run."""
        if self.stages:
            return super().timeline()
        generator = {"lambda_gan": 0.0, "discriminator_updates": 0, "lr_schedule": "constant"}
        discriminator = {"generator_updates": 0, "lr_schedule": "constant"}
        before = [
            {"steps": self.pretrain_generator, **generator},
            {"steps": self.pretrain_discriminator, **discriminator},
        ]
        before = [stage for stage in before if stage["steps"]]
        done = sum(stage["steps"] for stage in before)
        return [*before, {"steps": max(1, self.max_steps - done)}]


class SimGAN(RefinerTask):
    """See the module."""

    Options = SimGANOptions
    name = "SimGAN"
    paper = "https://arxiv.org/abs/1612.07828"

    def __init__(self, options, rank=0):
        masker = SimGenerator(width=options.generator_width, blocks=options.blocks, norm=options.norm)
        critic = SimDiscriminator(
            resolution=options.resolution, width=options.discriminator_width,
            convolutions=options.discriminator_convolutions,
        )  # fmt: skip
        super().__init__(options, {"masker": masker}, {"D": critic}, pools=("fake_B",), rank=rank)

    def begin_with(self, name, weights):
        """Load another run's state dict; blocks and convolutions that it lacks begin as the identity."""
        self.networks[name].load_shallower(weights)

    def step(self, batch, turn):
        """Update the refiner by equation 1, with the adversarial loss in its non-saturating form and β‖G(x) - x‖₁, then
        the discriminator by equation 2, on the history of refined pictures (section 2.3)."""
        c, simulated = self.options, batch[self.options.start]
        learn_refiner, learn_discriminator = self.learning(turn)
        with torch.set_grad_enabled(learn_refiner):
            refined = self.nets["masker"](simulated)
        if learn_refiner:
            terms = {"image": image_loss(refined, simulated, c.image_distance)}
            loss = c.lambda_image * terms["image"]
            if c.lambda_gan:
                terms["G"] = self.generator_term("D", refined)
                loss = loss + c.lambda_gan * terms["G"]
            yield Update("generators", loss, terms)
        if learn_discriminator:
            terms = self.discriminator_terms("D", batch["masked"], self.pools["fake_B"](refined.detach()))
            yield Update("discriminators", sum(terms.values()), terms)

    def input_of(self, name, batch):
        return batch[self.options.start]

    def samples(self, networks, batch):
        """For each face: input, result. In the second group, really masked faces and the refiner's results on them."""
        start, masker = batch[self.options.start], networks["masker"]
        return [[start, masker(start)], [batch["masked"], masker(batch["masked"])]]
