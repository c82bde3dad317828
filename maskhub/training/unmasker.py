"""The light unmasker, trained on pairs with rule-based masks and on really masked faces.

Pairs are made during training. They have a region-weighted L1, a perceptual loss (LPIPS, VGG16), an identity loss
(MobileFaceNet) and an attention loss. A few really masked faces are added, for which the covered part is unknown: they
have only the adversarial loss, and the mask detector's region for the attention loss. Some pairs wear a real mask, cut
out of a masked face: their truth is known and their fabric is real. Some faces wear no mask: they should not change.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from maskhub.data.two_step import WornAndMasked, finished
from maskhub.errors import ConfigError
from maskhub.losses import attention_loss
from maskhub.masks.detector import bundled_mask_detector
from maskhub.options import FREE, STAGED, Count, Positive, Share, Weight
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.adversarial import AdversarialTask, WornOptions
from maskhub.training.covered import EDGE, covered, mask_alone, printed, widened
from maskhub.training.light import LightOptions
from maskhub.training.perceptual import IdentityLoss, PerceptualLoss
from maskhub.training.task import Update

__all__ = ["Unmasker", "UnmaskerOptions"]

OUTSIDE = 0.25
"""L1 weight of pixels outside the region; inside it is 1."""
PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16}
LEAST = 0.04
"""Fraction of the picture that a mask must cover to be put on another face."""


class UnmaskerOptions(WornOptions, LightOptions):
    """Train the light unmasker on pairs with rule-based masks and on really masked faces."""

    batch_size: Positive = 8
    """Pairs per process and micro-batch."""
    blocks: tuple[Count, ...] = (1, 1, 3)
    """Residual blocks at each resolution of the generator."""
    real_faces: Annotated[Count, STAGED] = 2
    """Really masked faces added to the pairs of each micro-batch."""
    bare_faces: Count = 1
    """Pairs of each micro-batch without a mask."""
    transplanted: Annotated[Count, STAGED] = 2
    """Pairs of each micro-batch with a mask cut out of a really masked face instead of a rule-based one."""
    teacher: Annotated[str | None, FREE] = None
    """Pipeline (folder or Hub id) with a better unmasker, such as a larger one: its results are the target for the
    really masked faces, whose true faces are unknown."""
    coarse_faces: Share = 0.25
    """Fraction of the faces that are reduced to a low resolution and enlarged, like small faces in photos."""
    moved_faces: Share = 0.5
    """Fraction of the faces that are aligned less exactly: up to 18 % smaller, slightly rotated and shifted."""
    printed_masks: Share = 0.0
    """Fraction of the masks that get a print: part of another photo of the batch, on the whole mask or a spot of it."""
    attention_margin: Share = EDGE
    """How far the attention should reach beyond the mask's region, as a fraction of the side: a change that ends
    exactly at the mask's edge leaves a seam."""
    real_margin: Share = EDGE
    """The same for real masks, whose edge and shadow the mask detector's region may miss; also the largest margin
    around transplanted masks."""
    recoloured_faces: Share = 0.0
    """Fraction of all faces whose exposure, white balance and contrast are changed."""
    load_scale: Annotated[float, Field(ge=1)] = 1.04
    """How much larger than the resolution faces are loaded before a random crop; little, since they are aligned in use
    too, so that the network can rely on their position."""
    repeats: Positive = 1
    """Samples in a row that show the same photo and mask, cut, mirrored, moved and recoloured differently: saves
    CPU time if a GPU waits for its data."""
    discriminator_width: Positive = 32
    discriminator_layers: Count = 4
    spectral_norm: bool = True
    lambda_l1: Weight = 10.0
    """Weight of the region-weighted L1."""
    lambda_perceptual: Weight = 10.0
    """Weight of the perceptual loss; 0: none, and its network is not needed."""
    lambda_identity: Weight = 2.0
    """Weight of the identity loss; 0: none, and its network is not needed."""
    lambda_attention: Weight = 2.0
    """Weight of the attention loss, with the regions of rule-based masks and those of the mask detector."""
    lambda_gan: Weight = 1.0
    """Weight of the adversarial loss."""
    compared_faces: Positive = 4
    """Pairs of each micro-batch that the perceptual and the identity loss compare, slower than the generator."""
    perceptual_stages: Annotated[int, Field(ge=1, le=5)] = 5
    """Stages of VGG16 in the perceptual loss, 1 to 5."""
    perceptual_crop: Count = 0
    """Side in pixels of a random square that the perceptual loss compares; 0: the whole region."""
    vgg_precision: Literal["no", "bf16"] = "no"
    """Precision of VGG16 in the perceptual loss, which takes half of a step on a GPU. no: float32."""
    weights_dir: Annotated[str | None, FREE] = None
    """Folder or Hub repository with vgg16_lpips.safetensors and mobilefacenet.safetensors; default: MASKHUB_WEIGHTS."""
    pool_size: Count = 0

    def check(self):
        super().check()
        if self.real_faces > self.batch_size or self.bare_faces >= self.batch_size:
            raise ConfigError("--real-faces must be at most --batch-size, and --bare-faces must be below it.")
        if self.cuda_graph and self.perceptual_crop:
            raise ConfigError("--cuda-graph can't be used with --perceptual-crop, which looks for the covered rows.")
        if self.transplanted > self.batch_size - self.bare_faces:
            raise ConfigError("--transplanted plus --bare-faces must be at most --batch-size.")
        if self.teacher and not self.ever("real_faces"):
            raise ConfigError("--teacher needs --real-faces, for which its results are the targets.")
        self.check_grids()

    def ever(self, name):
        """Whether an option is nonzero in the run or in any of its stages."""
        return bool(getattr(self, name) or any(stage.get(name) for stage in self.stages))


class Unmasker(AdversarialTask):
    """See the module."""

    Options = UnmaskerOptions
    name = "light unmasker"
    recordable = True
    paper = "https://arxiv.org/abs/1911.11897"

    def __init__(self, options, rank=0):
        generator = options.light_generator(options.blocks)
        discriminator = options.discriminator("none" if options.spectral_norm else "instance")
        super().__init__(options, {"unmasker": generator}, {"D": discriminator}, pools=("fake",), rank=rank)
        self.perceptual = self.identity = None
        if options.ever("lambda_perceptual"):
            precision = PRECISIONS[options.vgg_precision]
            self.perceptual = PerceptualLoss(
                options.perceptual_stages, options.weights_dir, options.perceptual_crop, precision
            )
        if options.ever("lambda_identity"):
            self.identity = IdentityLoss(options.weights_dir)
        self.teacher = _teacher(options) if options.teacher else None
        # masked faces that a batch needs, in any stage; the sample sheet shows them even if no step does
        stages = [options.model_dump(), *options.stages]
        most = [max(stage.get(name, 0) for stage in stages) for name in ("real_faces", "transplanted")]
        self.masked_faces = min(max(1, sum(most)), options.batch_size)
        bundled_mask_detector()  # load it now: loading draws random numbers
        losses = {"vgg16": self.perceptual, "mobilefacenet": self.identity}
        self.trained_against = tuple(name for name, loss in losses.items() if loss)

    def dataset(self, seed, load_scale=None, **walk):
        c = self.options
        return WornAndMasked(
            self.sources["unmasked"], self.sources["masked"], c.resolution, seed,
            load_scale=load_scale or c.load_scale, wearing=c.wearing(), coarse=c.coarse_faces, repeats=c.repeats,
            moved=c.moved_faces, recoloured=c.recoloured_faces, masked_faces=self.masked_faces, **walk,
        )  # fmt: skip

    def prepared(self, batch):
        return finished(batch, self.memory_format)

    def step(self, batch, turn):
        """Update the generator with the losses on pairs, the attention loss and the adversarial loss, then the
        discriminator on unmasked faces and on the results.

        ``batch`` holds ``unmasked``, ``worn`` and ``masked``, N×3×R×R in [-1, 1], and the ``region`` of ``worn``,
        N×1×R×R.
        """
        learn_generator, learn_discriminator = self.learning(turn)
        given, region = self._given(batch)
        if learn_generator:
            loss, terms, made = self._objective(batch, given, region)
            yield Update("generators", loss, terms)
        else:
            with torch.no_grad():
                made = self.nets["unmasker"](given)
        if learn_discriminator:
            fake = self.pools["fake"](made[self.options.bare_faces :].detach())
            terms = self.discriminator_terms("D", batch["unmasked"], fake)
            yield Update("discriminators", sum(terms.values()), terms)

    def _objective(self, batch, given, region):
        """The generator's loss, its terms and its output for ``given``."""
        c, wanted = self.options, batch["unmasked"]
        worn_there, pairs = covered(batch["masked"][: c.real_faces]), len(wanted)
        made, attention = self.nets["unmasker"](given, with_attention=True)
        compared = region
        if self.teacher is not None and c.real_faces:
            with torch.no_grad():
                taught = self.teacher.to(made.device)(given[pairs:])
            wanted, compared = torch.cat([wanted, taught]), torch.cat([region, worn_there])
        weight = compared + OUTSIDE * (1 - compared)
        distance = (made[: len(wanted)] - wanted).float().abs().mean(1, keepdim=True)
        terms = {"L1": (distance * weight).sum() / weight.sum()}
        loss = c.lambda_l1 * terms["L1"]
        worn = self._compared(len(wanted), made.device)
        if c.lambda_perceptual:
            terms["perceptual"] = self.perceptual.to(made.device)(made[worn], wanted[worn], compared[worn])
            loss = loss + c.lambda_perceptual * terms["perceptual"]
        if c.lambda_identity:
            terms["identity"] = self.identity.to(made.device)(made[worn], wanted[worn])
            loss = loss + c.lambda_identity * terms["identity"]
        if c.lambda_attention:
            reached = [widened(region, c.attention_margin), widened(worn_there, c.real_margin)]
            terms["attention"] = attention_loss(attention, torch.cat(reached))
            loss = loss + c.lambda_attention * terms["attention"]
        if c.lambda_gan:
            terms["G_GAN"] = self.generator_term("D", made[c.bare_faces :])
            loss = loss + c.lambda_gan * terms["G_GAN"]
        return loss, terms, made

    def _compared(self, pairs, device):
        """Indices, int64, of the pairs that the perceptual and the identity loss compare: spread evenly over the
        transplanted, the rule-based and, with a teacher, the real masks. Pairs without a mask have nothing to
        compare."""
        c = self.options
        count = min(c.compared_faces, pairs - c.bare_faces)
        return c.bare_faces + torch.arange(count, device=device) * (pairs - c.bare_faces) // count

    def _given(self, batch):
        """The generator's input, first unmasked faces, at the end really masked ones, and the pairs' regions."""
        c = self.options
        bare = torch.arange(len(batch["worn"]), device=batch["worn"].device).view(-1, 1, 1, 1) < c.bare_faces
        worn = torch.where(bare, batch["unmasked"], batch["worn"])
        region = batch["region"] * ~bare
        if c.transplanted:
            at = slice(c.bare_faces, c.bare_faces + c.transplanted)
            masked = batch["masked"][-c.transplanted :]  # others than the first, which are shown whole
            worn[at], region[at] = self._transplant(batch["unmasked"][at], masked, worn[at], region[at])
        if c.printed_masks:
            worn = printed(worn, region, batch["unmasked"].roll(1, 0), c.printed_masks)
        return torch.cat([worn, batch["masked"][: c.real_faces]]), region

    def _transplant(self, faces, masked, worn, region):
        """Put the masks of ``masked`` on ``faces``; all are aligned by their eyes, so the masks fit.

        A mask fits best on a face that is turned the same way. The further a head is turned, the further its mask is
        from the middle of the picture, so masks go to faces in this order.

        Returns faces and regions: ``worn`` and ``region`` unchanged where ``masked`` has no mask.
        """
        alpha = mask_alone(masked, self.options.real_margin)
        taken = torch.empty_like(_middle(alpha), dtype=torch.long)
        taken[_middle(region).argsort(stable=True)] = _middle(alpha).argsort(stable=True)
        masked, alpha = masked[taken], alpha[taken]
        found = alpha.mean((1, 2, 3), keepdim=True) > LEAST
        return torch.where(found, faces.lerp(masked, alpha), worn), torch.where(found, (alpha > 0).float(), region)

    def samples(self, networks, batch):
        """For each face: masked by rule, result, attention, truth; in the second group, real masks and results."""
        made, attention = networks["unmasker"](batch["worn"], with_attention=True)
        where = (2 * attention[:, :1] - 1).expand(-1, 3, -1, -1)
        real = networks["unmasker"](batch["masked"])
        return [[batch["worn"], made, where, batch["unmasked"]], [batch["masked"], real]]


def _teacher(options):
    """The frozen unmasker of the teacher's pipeline. ConfigError if it has none, or of another resolution."""
    pipeline = FaceMaskPipeline.from_pretrained(options.teacher)
    if pipeline.unmasker is None or pipeline.config.resolution != options.resolution:
        raise ConfigError(f"--teacher {options.teacher} must have an unmasker for {options.resolution} pixels.")
    return pipeline.unmasker.requires_grad_(False)


def _middle(region):
    """How far each region's centre of mass is to the right of the picture's middle, in half sides, N."""
    columns = region.sum((1, 2))
    places = torch.linspace(-1, 1, region.shape[3], device=region.device)
    return (columns * places).sum(1) / columns.sum(1).clamp(min=1)
