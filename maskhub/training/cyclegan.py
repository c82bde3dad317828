"""CycleGAN: two generators, two discriminators, and the cycle that ties unpaired domains together.

Zhu, Park, Isola, Efros: "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (ICCV 2017).
In the paper's letters, A is *unmasked* and B is *masked*: G_A = masker, G_B = unmasker; D_A judges what G_A makes (B),
D_B what G_B makes (A). The names of the losses are those of the authors' code, so that curves can be laid side by side.
"""

from maskhub.losses import GANLoss, cycle_loss, identity_loss
from maskhub.models.patch import PatchDiscriminator
from maskhub.models.resnet import ResnetGenerator
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.pool import ImagePool

__all__ = ["CycleGAN"]


class CycleGAN:
    """The method as the loop sees it: its networks, and what each side minimises.

    Args:
        config: a :class:`~maskhub.training.config.CycleGANConfig`.
        seed: of the image pools; another one on every process.
    """

    name = "CycleGAN"
    paper = "https://arxiv.org/abs/1703.10593"

    def __init__(self, config, seed=0):
        self.config = config
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
        self.generators = {"masker": ResnetGenerator(**generator), "unmasker": ResnetGenerator(**generator)}
        self.discriminators = {"D_A": PatchDiscriminator(**discriminator), "D_B": PatchDiscriminator(**discriminator)}
        self.pools = {
            "fake_B": ImagePool(config.pool_size, seed=2 * seed),
            "fake_A": ImagePool(config.pool_size, seed=2 * seed + 1),
        }
        self.gan = GANLoss(config.gan_loss)

    def generator_loss(self, nets, batch):
        """Full objective of the generators, equation 3 with section 5.2's identity term.

        Args:
            nets: name → network, as the loop has wrapped them; discriminators are frozen.
            batch: ``unmasked`` and ``masked``, each N×3×R×R in [-1, 1].

        Returns:
            the loss, each of its terms by name before weighting, and what the discriminators will need.
        """
        masker, unmasker, c = nets["masker"], nets["unmasker"], self.config
        real_a, real_b = batch["unmasked"], batch["masked"]
        fake_b, fake_a = masker(real_a), unmasker(real_b)
        terms = {
            "G_A": self.gan.generator(nets["D_A"](fake_b)),
            "G_B": self.gan.generator(nets["D_B"](fake_a)),
            "cycle_A": cycle_loss(unmasker(fake_b), real_a),
            "cycle_B": cycle_loss(masker(fake_a), real_b),
        }
        loss = terms["G_A"] + terms["G_B"] + c.lambda_cycle * (terms["cycle_A"] + terms["cycle_B"])
        if c.lambda_identity:
            terms["idt_A"] = identity_loss(masker(real_b), real_b)
            terms["idt_B"] = identity_loss(unmasker(real_a), real_a)
            loss = loss + c.lambda_cycle * c.lambda_identity * (terms["idt_A"] + terms["idt_B"])
        return loss, terms, {"fake_A": fake_a.detach(), "fake_B": fake_b.detach()}

    def discriminator_loss(self, nets, batch, fakes):
        """Each discriminator on its real photos and on the pool of its generator's fakes."""
        terms = {
            "D_A": self.gan.discriminator(
                nets["D_A"](batch["masked"]), nets["D_A"](self.pools["fake_B"](fakes["fake_B"]))
            ),
            "D_B": self.gan.discriminator(
                nets["D_B"](batch["unmasked"]), nets["D_B"](self.pools["fake_A"](fakes["fake_A"]))
            ),
        }
        return terms["D_A"] + terms["D_B"], terms

    def pipeline(self, generators):
        """The pipeline of these generators (name → network in float32)."""
        return FaceMaskPipeline(**generators, resolution=self.config.resolution)

    def sample_rows(self, generators, batch):
        """For the sample sheet: for each photo, itself, translated, and back again. N×3×R×R tensors, in columns."""
        masker, unmasker = generators["masker"], generators["unmasker"]
        masked, unmasked = masker(batch["unmasked"]), unmasker(batch["masked"])
        return [
            [batch["unmasked"], masked, unmasker(masked)],
            [batch["masked"], unmasked, masker(unmasked)],
        ]
