"""CycleGAN: two generators, two discriminators, and the cycle that ties unpaired domains together.

Zhu, Park, Isola, Efros: "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (ICCV 2017).
In the paper's letters, A is *unmasked* and B is *masked*: G_A = masker, G_B = unmasker; D_A judges what G_A makes (B),
D_B what G_B makes (A). The names of the losses are those of the authors' code, so that curves can be laid side by side.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from maskhub.errors import ConfigError
from maskhub.losses import cycle_loss, identity_loss
from maskhub.models.patch import PatchDiscriminator
from maskhub.models.resnet import ResnetGenerator
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.config import GANConfig, check_least
from maskhub.training.method import Method

__all__ = ["CycleGAN", "CycleGANConfig"]


@dataclass
class CycleGANConfig(GANConfig):
    """Train a CycleGAN between unmasked and masked faces (Zhu et al., ICCV 2017)."""

    generator_width: int = 64
    """Channels after the generators' first convolution."""
    blocks: int = 9
    """Residual blocks: 9 for 256 pixels and up, 6 for 128."""
    norm: Literal["instance", "batch"] = "instance"
    """Norm of generators and discriminators."""
    upsampling: Literal["transposed", "resize"] = "transposed"
    """resize (nearest neighbour, then a convolution) leaves no checkerboard."""
    discriminator_width: int = 64
    """Channels after the discriminators' first convolution."""
    discriminator_layers: int = 3
    """3 judges patches of 70×70 pixels; 0 single pixels."""
    lambda_cycle: float = 10.0
    """Weight of the cycle loss."""
    lambda_identity: float = 0.5
    """Weight of the identity loss, as a share of lambda_cycle; 0 leaves it out."""
    pool_size: int = 50
    """Older fakes that each discriminator is shown."""

    staged: ClassVar[frozenset] = GANConfig.staged | {"lambda_cycle", "lambda_identity"}

    def check(self):
        super().check()
        if self.norm == "batch" and self.batch_size == 1 and self.resolution < 64:
            raise ConfigError("--norm batch needs a --batch-size above 1 at this resolution.")
        for name in ("lambda_cycle", "lambda_identity", "pool_size", "blocks", "discriminator_layers"):
            check_least(self, name, 0)
        for name in ("generator_width", "discriminator_width"):
            check_least(self, name, 1)
        check_patches(self)


def check_patches(config):
    """Raise :class:`ConfigError` where the discriminator's layers leave no patch of an image to judge."""
    least = 3 * 2**config.discriminator_layers
    if config.resolution < least:
        raise ConfigError(
            f"--discriminator-layers {config.discriminator_layers} needs a --resolution of at least {least}."
        )


class CycleGAN(Method):
    """The method as the loop sees it; arguments as in :class:`~maskhub.training.method.Method`."""

    name = "CycleGAN"
    paper = "https://arxiv.org/abs/1703.10593"

    def __init__(self, config, seed=0):
        generator = {
            "width": config.generator_width,
            "blocks": config.blocks,
            "norm": config.norm,
            "upsampling": config.upsampling,
        }
        discriminator = {
            "width": config.discriminator_width,
            "layers": config.discriminator_layers,
            "norm": config.norm,
        }
        super().__init__(
            config,
            {"masker": ResnetGenerator(**generator), "unmasker": ResnetGenerator(**generator)},
            {"D_A": PatchDiscriminator(**discriminator), "D_B": PatchDiscriminator(**discriminator)},
            pools=("fake_B", "fake_A"),
            seed=seed,
        )

    def generator_loss(self, nets, batch):
        """Full objective of the generators, equation 3 with section 5.2's identity term.

        ``batch`` holds ``unmasked`` and ``masked``, each N×3×R×R in [-1, 1].
        """
        masker, unmasker, c = nets["masker"], nets["unmasker"], self.config
        real_a, real_b = batch["unmasked"], batch["masked"]
        fake_b, fake_a = masker(real_a), unmasker(real_b)
        terms = {
            "G_A": self.generator_term(nets, "D_A", fake_b),
            "G_B": self.generator_term(nets, "D_B", fake_a),
            "cycle_A": cycle_loss(unmasker(fake_b), real_a),
            "cycle_B": cycle_loss(masker(fake_a), real_b),
        }
        loss = terms["G_A"] + terms["G_B"] + c.lambda_cycle * (terms["cycle_A"] + terms["cycle_B"])
        if c.lambda_cycle and c.lambda_identity:
            terms["idt_A"] = identity_loss(masker(real_b), real_b)
            terms["idt_B"] = identity_loss(unmasker(real_a), real_a)
            loss = loss + c.lambda_cycle * c.lambda_identity * (terms["idt_A"] + terms["idt_B"])
        return loss, terms, {"fake_A": fake_a.detach(), "fake_B": fake_b.detach()}

    @torch.no_grad()
    def fakes(self, nets, batch):
        return {"fake_A": nets["unmasker"](batch["masked"]), "fake_B": nets["masker"](batch["unmasked"])}

    def discriminator_loss(self, nets, batch, fakes):
        """Each discriminator on its real photos and on the pool of its generator's fakes."""
        terms = self.discriminator_terms(nets, "D_A", batch["masked"], self.pools["fake_B"](fakes["fake_B"]))
        terms |= self.discriminator_terms(nets, "D_B", batch["unmasked"], self.pools["fake_A"](fakes["fake_A"]))
        return sum(terms.values()), terms

    def pipeline(self, generators):
        return FaceMaskPipeline(**generators, resolution=self.config.resolution)

    def sample_rows(self, generators, batch):
        """For each photo, itself, translated, and back again."""
        masker, unmasker = generators["masker"], generators["unmasker"]
        masked, unmasked = masker(batch["unmasked"]), unmasker(batch["masked"])
        return [
            [batch["unmasked"], masked, unmasker(masked)],
            [batch["masked"], unmasked, masker(unmasked)],
        ]
