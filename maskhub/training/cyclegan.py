"""CycleGAN: two generators, two discriminators, and the cycle that ties unpaired domains together.

Zhu, Park, Isola, Efros: "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (ICCV 2017).
In the paper's letters, A is *unmasked* and B is *masked*: G_A = masker, G_B = unmasker; D_A gets the results of G_A
(domain B), D_B those of G_B (domain A). Losses are named as in the authors' code, so that curves can be compared.
"""

from typing import Literal

import torch

from maskhub.errors import ConfigError
from maskhub.losses import cycle_loss, identity_loss
from maskhub.models.resnet import ResnetGenerator
from maskhub.training.cycle import CycleOptions, CycleTask
from maskhub.training.light import LightChoiceOptions
from maskhub.training.task import Update

__all__ = ["CycleGAN", "CycleGANOptions"]


class CycleGANOptions(LightChoiceOptions, CycleOptions):
    """Train a CycleGAN between unmasked and masked faces (Zhu et al., ICCV 2017)."""

    generator: Literal["resnet", "light"] = "resnet"
    """resnet: the paper's generator; light: a fast one for CPUs that changes only where its attention is."""
    upsampling: Literal["transposed", "resize"] = "transposed"
    """resize (nearest neighbour, then a convolution) avoids checkerboard artefacts."""

    def check(self):
        super().check()
        if self.generator == "light":
            self.refuse("with --generator light", "upsampling")
        if self.norm == "batch" and self.batch_size == 1 and self.resolution < 64:
            raise ConfigError("--norm batch needs a --batch-size above 1 at this resolution.")


class CycleGAN(CycleTask):
    """See the module."""

    Options = CycleGANOptions
    name = "CycleGAN"
    paper = "https://arxiv.org/abs/1703.10593"
    recordable = True

    def __init__(self, options, rank=0):
        c = options
        generators = {"masker": _generator(c), "unmasker": _generator(c)}
        discriminators = {"D_A": c.discriminator(c.norm), "D_B": c.discriminator(c.norm)}
        super().__init__(c, generators, discriminators, pools=("fake_B", "fake_A"), rank=rank)

    def step(self, batch, turn):
        """Update the generators by equation 3 with section 5.2's identity loss, then the discriminators on pools of
        fakes. ``batch`` holds ``unmasked`` and ``masked``, each N×3×R×R in [-1, 1]."""
        c, masker, unmasker = self.options, self.nets["masker"], self.nets["unmasker"]
        real_a, real_b = batch["unmasked"], batch["masked"]
        learn_generators, learn_discriminators = self.learning(turn)
        with torch.set_grad_enabled(learn_generators):
            fake_b, fake_a = masker(real_a), unmasker(real_b)
        if learn_generators:
            terms = {
                "G_A": self.generator_term("D_A", fake_b),
                "G_B": self.generator_term("D_B", fake_a),
                "cycle_A": cycle_loss(unmasker(fake_b), real_a, c.cycle_distance),
                "cycle_B": cycle_loss(masker(fake_a), real_b, c.cycle_distance),
            }
            loss = terms["G_A"] + terms["G_B"] + c.lambda_cycle * (terms["cycle_A"] + terms["cycle_B"])
            if c.lambda_cycle and c.lambda_identity:
                terms["idt_A"] = identity_loss(masker(real_b), real_b)
                terms["idt_B"] = identity_loss(unmasker(real_a), real_a)
                loss = loss + c.lambda_cycle * c.lambda_identity * (terms["idt_A"] + terms["idt_B"])
            if c.lambda_distance:
                terms["distance_A"] = self.distance_term(real_a, fake_b)
                terms["distance_B"] = self.distance_term(real_b, fake_a, back=True)
                loss = loss + c.lambda_distance * (terms["distance_A"] + terms["distance_B"])
            yield Update("generators", loss, terms)
        if learn_discriminators:
            terms = self.discriminator_terms("D_A", real_b, self.pools["fake_B"](fake_b.detach()))
            terms |= self.discriminator_terms("D_B", real_a, self.pools["fake_A"](fake_a.detach()))
            yield Update("discriminators", sum(terms.values()), terms)

    def input_of(self, name, batch):
        return batch["unmasked" if name == "masker" else "masked"]

    def samples(self, networks, batch):
        """For each photo: the photo, its translation, and the reconstruction."""
        masker, unmasker = networks["masker"], networks["unmasker"]
        masked, unmasked = masker(batch["unmasked"]), unmasker(batch["masked"])
        return [[batch["unmasked"], masked, unmasker(masked)], [batch["masked"], unmasked, masker(unmasked)]]


def _generator(options):
    c = options
    if c.generator == "light":
        return c.light_generator(c.light_blocks)
    return ResnetGenerator(width=c.generator_width, blocks=c.blocks, norm=c.norm, upsampling=c.upsampling)
