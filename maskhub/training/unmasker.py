"""The light unmasker: pairs made by rule tell what is under a mask, really masked photos how masks look.

Pairs, made as the run goes, give a region-weighted L1, a perceptual loss (LPIPS, VGG16), an identity loss
(MobileFaceNet) and the attention's supervision. Beside them come a few really masked faces, of which nobody knows what
is under the mask: for these there are only the discriminator, which sees whole results and real unmasked faces, and
the mask detector's region for the attention. Some pairs wear such a real mask, cut out by its region: their truth is
known, and their cloth is no rule's. Some faces wear no mask at all: nothing is to change there.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from maskhub.data.two_step import WornAndMasked
from maskhub.errors import ConfigError
from maskhub.losses import attention_loss
from maskhub.masks.detector import bundled_mask_detector
from maskhub.models.light import LightGenerator
from maskhub.models.patch import PatchDiscriminator
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.config import WornConfig, check_least
from maskhub.training.covered import covered, mask_alone, widened
from maskhub.training.cyclegan import check_patches
from maskhub.training.method import Method
from maskhub.training.perceptual import IdentityLoss, PerceptualLoss

__all__ = ["Unmasker", "UnmaskerConfig"]

OUTSIDE = 0.25
"""What a pixel outside the region weighs in the L1, beside 1 inside."""
LOAD_SCALE = 1.04
"""How much larger than the resolution faces are loaded before the random cut: they come aligned, and a network that
learns where on the face it is should see them nearly where they will be."""
LEAST = 0.04
"""Share of the picture that a mask must cover to be worn by another face."""


@dataclass
class UnmaskerConfig(WornConfig):
    """Train the light unmasker on pairs made by rule and on really masked faces."""

    batch_size: int = 8
    """Pairs a process and micro-batch."""
    widths: tuple[int, ...] = (64, 128, 192)
    """Channels of the generator's grids, the finest first; each a multiple of 16 pixels in all."""
    blocks: tuple[int, ...] = (1, 1, 3)
    """Residual blocks on each of them."""
    fold: int = 1
    """By how much the picture is folded even for the last layers: 1 for 128 pixels, 2 for 256."""
    detail: int = 12
    """Channels of the last layers."""
    detail_blocks: int = 0
    """Residual blocks among them."""
    real_faces: int = 2
    """Really masked faces beside the pairs of each micro-batch."""
    bare_faces: int = 1
    """Pairs of each micro-batch whose face wears no mask."""
    transplanted: int = 2
    """Pairs of each micro-batch that wear the mask of a really masked face instead of one by rule."""
    coarse_faces: float = 0.25
    """Share of the faces that have as few pixels as small ones in large photos, enlarged."""
    moved_faces: float = 0.5
    """Share of the faces that are not aligned as well as can be: up to 18 % smaller, turned and shifted a little."""
    recoloured_faces: float = 0.0
    """Share of the faces, and of the really masked ones, whose exposure, white balance and contrast are changed."""
    discriminator_width: int = 32
    """Channels after the discriminator's first convolution."""
    discriminator_layers: int = 4
    """3 judges patches of 70×70 pixels, 4 of 142×142."""
    spectral_norm: bool = True
    """Divide every weight of the discriminator by its largest singular value (Miyato et al., ICLR 2018)."""
    lambda_l1: float = 10.0
    """Weight of the region-weighted L1."""
    lambda_perceptual: float = 10.0
    """Weight of the perceptual loss; 0: its network is not needed."""
    lambda_identity: float = 2.0
    """Weight of the identity loss; 0: its network is not needed."""
    lambda_attention: float = 2.0
    """Weight of the attention's supervision, by the rule's region and by the mask detector's."""
    lambda_gan: float = 1.0
    """Weight of the adversarial loss."""
    compared_faces: int = 4
    """Pairs of each micro-batch that the perceptual and the identity loss look at: their networks cost more than the
    generator."""
    perceptual_stages: int = 5
    """Stages of VGG16 that the perceptual loss looks at, 1 to 5."""
    perceptual_crop: int = 0
    """Side in pixels of the square that it looks at, another one each time; 0: the whole region."""
    weights_dir: str | None = None
    """Folder or Hub repository with vgg16_lpips.safetensors and mobilefacenet.safetensors; else MASKHUB_WEIGHTS."""
    pool_size: int = 0
    """Older fakes that the discriminator is shown."""

    staged: ClassVar[frozenset] = WornConfig.staged | {
        "lambda_l1", "lambda_perceptual", "lambda_identity", "lambda_attention", "lambda_gan", "real_faces",
        "transplanted",
    }  # fmt: skip

    def check(self):
        super().check()
        for name in (
            "lambda_l1", "lambda_perceptual", "lambda_identity", "lambda_attention", "lambda_gan", "pool_size",
            "real_faces", "bare_faces", "transplanted", "discriminator_layers", "perceptual_crop",
        ):  # fmt: skip
            check_least(self, name, 0)
        for name in ("discriminator_width", "compared_faces"):
            check_least(self, name, 1)
        if self.real_faces > self.batch_size or self.bare_faces >= self.batch_size:
            raise ConfigError("--real-faces must not be above --batch-size, and --bare-faces must be below it.")
        if self.transplanted > self.batch_size - self.bare_faces:
            raise ConfigError("--transplanted and --bare-faces must not be above --batch-size together.")
        for name in ("coarse_faces", "moved_faces", "recoloured_faces"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must lie between 0 and 1.")
        if not 1 <= self.perceptual_stages <= 5:
            raise ConfigError(f"--perceptual-stages is {self.perceptual_stages}; it must be from 1 to 5.")
        check_grids(self)
        check_patches(self)


def check_grids(config):
    """Raise :class:`ConfigError` where the light generator can't be made, or its grids do not fit the resolution."""
    for name, low in {"fold": 1, "detail": 1, "detail_blocks": 0}.items():
        check_least(config, name, low)
    cell = 4 * config.fold << (len(config.widths) - 1)
    if config.resolution % cell:
        raise ConfigError(
            f"--widths {config.widths} with --fold {config.fold} needs a --resolution that is a multiple of {cell}."
        )


def light_generator(config, blocks, **options):
    """The :class:`~maskhub.models.light.LightGenerator` of a method's options, with these blocks on its grids."""
    return LightGenerator(
        widths=tuple(config.widths), blocks=tuple(blocks), fold=config.fold, detail=config.detail,
        detail_blocks=config.detail_blocks, **options,
    )  # fmt: skip


class Unmasker(Method):
    """The method as the loop sees it; arguments as in :class:`~maskhub.training.method.Method`."""

    name = "light unmasker"
    paper = "https://arxiv.org/abs/1911.11897"

    def __init__(self, config, seed=0):
        generator = light_generator(config, config.blocks)
        critic = PatchDiscriminator(
            width=config.discriminator_width, layers=config.discriminator_layers,
            norm="none" if config.spectral_norm else "instance",
        )  # fmt: skip
        super().__init__(config, {"unmasker": generator}, {"D": critic}, pools=("fake",), seed=seed)
        self.perceptual = self.identity = None
        if _ever(config, "lambda_perceptual"):
            self.perceptual = PerceptualLoss(config.perceptual_stages, config.weights_dir, config.perceptual_crop)
        if _ever(config, "lambda_identity"):
            self.identity = IdentityLoss(config.weights_dir)
        bundled_mask_detector()  # not in mid-run: loading draws random numbers
        losses = {"vgg16": self.perceptual, "mobilefacenet": self.identity}
        self.trained_against = tuple(name for name, loss in losses.items() if loss)

    def dataset(self, sources, seed, load_scale=LOAD_SCALE, **walk):
        return WornAndMasked(
            sources["unmasked"], sources["masked"], self.config.resolution, seed, load_scale=load_scale,
            wearing=self.config.wearing(), coarse=self.config.coarse_faces, moved=self.config.moved_faces,
            recoloured=self.config.recoloured_faces, **walk,
        )  # fmt: skip

    def generator_loss(self, nets, batch):
        """The pairs' losses, the attention's supervision and the adversarial loss.

        ``batch`` holds ``unmasked``, ``worn`` and ``masked``, N×3×R×R in [-1, 1], and the ``region`` of ``worn``,
        N×1×R×R.
        """
        c, wanted = self.config, batch["unmasked"]
        given, region = self._given(batch)
        worn_there, pairs = covered(batch["masked"][: c.real_faces]), len(wanted)
        made, attention = nets["unmasker"](given, with_attention=True)
        weight = region + OUTSIDE * (1 - region)
        terms = {"L1": ((made[:pairs] - wanted).float().abs().mean(1, keepdim=True) * weight).sum() / weight.sum()}
        loss = c.lambda_l1 * terms["L1"]
        worn = slice(c.bare_faces, min(c.bare_faces + c.compared_faces, pairs))  # bare ones have nothing to compare
        if c.lambda_perceptual:
            terms["perceptual"] = self.perceptual.to(made.device)(made[worn], wanted[worn], region[worn])
            loss = loss + c.lambda_perceptual * terms["perceptual"]
        if c.lambda_identity:
            terms["identity"] = self.identity.to(made.device)(made[worn], wanted[worn])
            loss = loss + c.lambda_identity * terms["identity"]
        if c.lambda_attention:
            terms["attention"] = attention_loss(attention, widened(torch.cat([region, worn_there])))
            loss = loss + c.lambda_attention * terms["attention"]
        if c.lambda_gan:
            terms["G_GAN"] = self.generator_term(nets, "D", made[c.bare_faces :])
            loss = loss + c.lambda_gan * terms["G_GAN"]
        return loss, terms, {"fake": made[c.bare_faces :].detach()}

    def _given(self, batch):
        """What the generator is given, first bare faces and last really masked ones, and the region of its pairs."""
        c = self.config
        bare = torch.arange(len(batch["worn"]), device=batch["worn"].device).view(-1, 1, 1, 1) < c.bare_faces
        worn = torch.where(bare, batch["unmasked"], batch["worn"])
        region = batch["region"] * ~bare
        if c.transplanted:
            at = slice(c.bare_faces, c.bare_faces + c.transplanted)
            worn[at], region[at] = self._transplant(batch["unmasked"][at], batch["masked"][at], worn[at], region[at])
        return torch.cat([worn, batch["masked"][: c.real_faces]]), region

    def _transplant(self, faces, masked, worn, region):
        """``faces`` with the masks of ``masked``, and their regions; ``worn`` and ``region`` where there is no mask.

        All are aligned by their eyes, so that a mask comes to lie where a mask does.
        """
        alpha = mask_alone(masked)
        found = alpha.mean((1, 2, 3), keepdim=True) > LEAST
        return torch.where(found, faces.lerp(masked, alpha), worn), torch.where(found, (alpha > 0).float(), region)

    @torch.no_grad()
    def fakes(self, nets, batch):
        return {"fake": nets["unmasker"](self._given(batch)[0])[self.config.bare_faces :]}

    def discriminator_loss(self, nets, batch, fakes):
        """The discriminator on unmasked faces and on the results, of made and of real masks."""
        terms = self.discriminator_terms(nets, "D", batch["unmasked"], self.pools["fake"](fakes["fake"]))
        return sum(terms.values()), terms

    def pipeline(self, generators):
        return FaceMaskPipeline(**generators, resolution=self.config.resolution)

    def sample_rows(self, generators, batch):
        """For each face: worn, unmasked, where the generator looked, the truth; beside them a really masked one."""
        made, attention = generators["unmasker"](batch["worn"], with_attention=True)
        looked = (2 * attention[:, :1] - 1).expand(-1, 3, -1, -1)
        real = generators["unmasker"](batch["masked"])
        return [[batch["worn"], made, looked, batch["unmasked"]], [batch["masked"], real]]


def _ever(config, name):
    """Whether an option is on in the run or in any of its stages."""
    return bool(getattr(config, name) or any(stage.get(name) for stage in config.stages))
