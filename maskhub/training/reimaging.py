"""The small GANs of the re-imaging thesis: each generator learns from faces that share the attributes it guarantees.

Derek Desentz: "Partial Facial Re-imaging Using Generative Adversarial Networks" (Wright State University, 2021),
section 5.3. One step ("epoch" there) is one batch and three updates:

    1. the combined model: the generator through the frozen discriminator, label ``generator_label``:  loss_combined
    2. the discriminator on what the generator now makes of the same random numbers, ``fake_label``:   loss_fake
    3. the discriminator on as many real faces, ``real_label``:                                        loss_real

Losses are binary cross-entropy. The accuracies are the shares of generated faces classified as real (1), of generated
ones as generated (2), and of real ones as real (3). The fakes of update 2 are made in eval mode, as Keras' ``predict``
makes them. The thesis does not give the optimizer; ours is DCGAN's. The moving average of the weights is our addition.
"""

from typing import Literal

import torch
from pydantic import Field
from torch.nn import functional as F

from maskhub.data.labelled import LabelledPhotos, parse_attributes
from maskhub.errors import CheckpointError
from maskhub.hub import write_pipeline
from maskhub.models.dcgan import DcganDiscriminator, DcganGenerator
from maskhub.models.dense import DenseDiscriminator, DenseGenerator
from maskhub.options import Positive, Rate, Share
from maskhub.pipelines.reimaging import ReimagingPipeline
from maskhub.training.card import generator_card
from maskhub.training.labelled import LabelledOptions, LabelledTask, Sources
from maskhub.training.task import Update, frozen

__all__ = ["Reimaging", "ReimagingOptions"]

SAMPLES = 64
"""Generated faces on a sample sheet, always from the same latents."""


class ReimagingOptions(LabelledOptions):
    """Train a generator of small faces that all share some attributes (the re-imaging paper)."""

    source: Sources = Field(default_factory=lambda: ["builtin:pixel-faces"])
    """Faces: builtin:pixel-faces, builtin:portraits, folders with metadata.csv, user/dataset on the Hub; several
    sources are combined."""
    attributes: list[str] = Field(default_factory=list)
    """Train only on faces with these column=value pairs, such as tone=light; the generator then guarantees them."""
    name: str = ""
    """Name of the generator; by default the values of its attributes."""
    architecture: Literal["dense", "dcgan"] = "dense"
    """dense: the paper's generator; dcgan: DCGAN, for 32, 64 or 128 pixels."""
    latent: Positive = 100
    """Dimensions of the latent."""
    hidden: list[Positive] = Field(default_factory=lambda: [512, 512, 1024])
    """Widths of the dense generator's hidden layers."""
    discriminator_hidden: list[Positive] = Field(default_factory=lambda: [1024, 256, 64])
    """Widths of the dense discriminator's hidden layers."""
    discriminator_dropout: Rate = 0.0
    """Dropout in the dense discriminator; 0.3 keeps it from memorising small data sets."""
    width: Positive = 64
    """Channels of DCGAN's outermost layers."""
    upsampling: Literal["transposed", "resize"] = "transposed"
    """Upsampling in DCGAN's generator; resize avoids checkerboard artefacts."""
    real_label: Share = 1.0
    """Target of the discriminator for real faces."""
    fake_label: Share = 0.0
    """Target of the discriminator for generated faces."""
    generator_label: Share = 1.0
    """Target of the generator's loss."""

    def check(self):
        super().check()
        parse_attributes(self.attributes)
        others = {
            "dense": ("width", "upsampling"),
            "dcgan": ("hidden", "discriminator_hidden", "discriminator_dropout"),
        }
        self.refuse(f"with --architecture {self.architecture}", *others[self.architecture])

    @property
    def model_name(self):
        return self.name or "-".join(parse_attributes(self.attributes).values()) or "generator"


class Reimaging(LabelledTask):
    """See the module. The result is a folder for :class:`~maskhub.pipelines.reimaging.ReimagingPipeline`."""

    Options = ReimagingOptions
    name = "reimaging"
    recordable = True
    averaged = ("generator",)

    def __init__(self, options, rank=0):
        c = options
        self.attributes = parse_attributes(c.attributes)
        self.faces = LabelledPhotos.open(c.source, c.resolution, c.holdout, c.limit_photos).where(self.attributes)
        if c.architecture == "dense":
            # keywords: diffusers' config records positional arguments wrongly when a network is copied
            generator = DenseGenerator(resolution=c.resolution, latent=c.latent, hidden=tuple(c.hidden))
            discriminator = DenseDiscriminator(
                resolution=c.resolution, hidden=tuple(c.discriminator_hidden), dropout=c.discriminator_dropout
            )
        else:
            generator = DcganGenerator(resolution=c.resolution, latent=c.latent, width=c.width, upsampling=c.upsampling)
            discriminator = DcganDiscriminator(resolution=c.resolution, width=c.width)
        super().__init__(c, {"generator": generator, "discriminator": discriminator}, rank)

    def optimizers(self):
        return {name: self.adam(name, fused=True) for name in self.networks}

    def step(self, batch, turn):
        """The thesis's three updates; ``batch`` holds ``image``, N×3×R×R in [-1, 1]."""
        c, generator, discriminator = self.options, self.nets["generator"], self.nets["discriminator"]
        faces = batch["image"]
        latents = torch.randn(len(faces), c.latent, device=faces.device)

        with frozen(self.networks["discriminator"]):
            logits = self.networks["discriminator"](generator(latents)).float()
        loss = _cross_entropy(logits, c.generator_label)
        yield Update("generator", loss, {"loss_combined": loss, "accuracy_combined": _share(logits > 0)})

        with torch.no_grad():
            generated = generator.eval()(latents)
        generator.train()
        logits = discriminator(generated).float()
        loss = _cross_entropy(logits, c.fake_label)
        yield Update("discriminator", loss, {"loss_fake": loss, "accuracy_fake": _share(logits < 0)})

        logits = discriminator(faces).float()
        loss = _cross_entropy(logits, c.real_label)
        yield Update("discriminator", loss, {"loss_real": loss, "accuracy_real": _share(logits > 0)})

    # ---- what a run leaves ----------------------------------------------------------------------------------------

    def describe(self, named=str):
        attributes = ", ".join(f"{key}={value}" for key, value in self.attributes.items()) or "none"
        source = " ".join(map(named, self.options.source))
        yield f"source: {source}, {len(self.faces):,} faces; guaranteed attributes: {attributes}"

    def input_of(self, name, batch):
        return torch.randn(len(batch["image"]), self.options.latent, device=batch["image"].device)

    def samples(self, networks, batch):
        generator = networks["generator"]
        latents = torch.randn(SAMPLES, self.options.latent, generator=torch.Generator().manual_seed(0))
        return [list(generator(latents.to(generator.device)).unflatten(0, (8, -1)))]

    def write(self, networks, folder, card):
        pipeline = ReimagingPipeline(resolution=self.options.resolution)
        pipeline.add(self.options.model_name, networks["generator"], self.attributes)
        write_pipeline(pipeline, folder, card, variants=())

    def transfer(self, path):
        generators = sorted(path.glob("generators/*/config.json"))
        if len(generators) > 1:
            raise CheckpointError(
                f"--init-from {path} is a pipeline of several generators: choose one, PIPELINE/generators/NAME."
            )
        return self.saved("generator", generators[0].parent if generators else path)

    card = generator_card


def _cross_entropy(logits, label):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _share(correct):
    return correct.float().mean()
