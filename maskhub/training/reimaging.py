"""The small GANs of the re-imaging paper: one generator for each set of faces, so that it guarantees its attributes.

Paper 3's order of steps, each with Adam's update at once:

    1. the discriminator on real faces, labelled ``real_label``:              loss_real
    2. the discriminator on as many generated ones, labelled ``fake_label``:  loss_fake
    3. the generator through the frozen discriminator, on fresh random
       numbers, labelled ``generator_label`` (the combined model):            loss_combined

Losses are binary cross-entropy. The accuracies are the shares of real faces judged real, of generated ones judged
generated, and of step 3's judged real. The label values are not stated in our copy of the paper: ours are 0.9
(one-sided smoothing, Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016, section 3.4), 0 and 1.
Nor are the optimizer's; ours are DCGAN's. The moving average of the generator, norm statistics included, is our
addition.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F

from maskhub.data.labelled import LabelledPhotos, parse_attributes
from maskhub.errors import CheckpointError, ConfigError
from maskhub.models.dcgan import DcganDiscriminator, DcganGenerator
from maskhub.models.dense import DenseDiscriminator, DenseGenerator
from maskhub.training.curves import gan_curves
from maskhub.training.report import sample_sheet
from maskhub.training.small import SmallConfig, SmallTrainer, write_aside

__all__ = ["ReimagingConfig", "ReimagingTrainer"]

SAMPLES = 64
"""Generated faces on a sample sheet, always from the same random numbers."""


@dataclass
class ReimagingConfig(SmallConfig):
    """Train a generator of small faces that all share some attributes (the re-imaging paper)."""

    source: str = "builtin:pixel-faces"
    """Faces: builtin:pixel-faces, a folder with metadata.csv, or user/dataset on the Hub."""
    attributes: list[str] = field(default_factory=list)
    """column=value of the faces to learn, such as tone=light: what the generator then guarantees."""
    name: str = ""
    """What the generator is called; by default the values of its attributes."""
    architecture: Literal["dense", "dcgan"] = "dense"
    """dense: the paper's; dcgan: for 32, 64 or 128 pixels."""
    latent: int = 100
    """Random numbers a face."""
    hidden: list[int] = field(default_factory=lambda: [512, 512, 1024])
    """Hidden layers of the dense generator."""
    discriminator_hidden: list[int] = field(default_factory=lambda: [1024, 256, 64])
    """Hidden layers of the dense discriminator."""
    discriminator_dropout: float = 0.0
    """Dropout in the dense discriminator; 0.3 keeps it from learning a few faces by heart."""
    width: int = 64
    """Channels of DCGAN's outermost layers."""
    upsampling: Literal["transposed", "resize"] = "transposed"
    """DCGAN's; resize leaves no checkerboard."""
    real_label: float = 0.9
    """What the discriminator is to say of real faces."""
    fake_label: float = 0.0
    """What it is to say of generated ones."""
    generator_label: float = 1.0
    """What the generator wants it to say."""
    ema_decay: float = 0.999
    """Decay of the moving average of the generator that the pipeline gets; 0 turns it off."""

    def check(self):
        super().check()
        parse_attributes(self.attributes)
        for name in ("real_label", "fake_label", "generator_label"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be from 0 to 1.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"--ema-decay is {self.ema_decay}; it must be at least 0 and below 1.")
        if not 0 <= self.discriminator_dropout < 1:
            raise ConfigError("--discriminator-dropout must be at least 0 and below 1.")
        if self.latent < 1 or self.width < 1:
            raise ConfigError("--latent and --width must be at least 1.")

    @property
    def model_name(self):
        return self.name or "-".join(parse_attributes(self.attributes).values()) or "generator"


class ReimagingTrainer(SmallTrainer):
    """See the module; writes an ordinary folder for :class:`~maskhub.pipelines.reimaging.ReimagingPipeline`."""

    name = "reimaging"

    def build(self):
        c = self.config
        self.attributes = parse_attributes(c.attributes)
        self.photos = LabelledPhotos.open(c.source, c.resolution, c.holdout).where(self.attributes)
        if c.architecture == "dense":
            # by name: diffusers takes what is given by place for default values, and forgets it in a copy
            generator = DenseGenerator(resolution=c.resolution, latent=c.latent, hidden=tuple(c.hidden))
            discriminator = DenseDiscriminator(
                resolution=c.resolution, hidden=tuple(c.discriminator_hidden), dropout=c.discriminator_dropout
            )
        else:
            generator = DcganGenerator(resolution=c.resolution, latent=c.latent, width=c.width, upsampling=c.upsampling)
            discriminator = DcganDiscriminator(resolution=c.resolution, width=c.width)
        self.networks = {"generator": generator, "discriminator": discriminator}
        self.optimizers = {name: self.adam(network) for name, network in self.networks.items()}

    def describe(self):
        yield from super().describe()
        attributes = ", ".join(f"{key}={value}" for key, value in self.attributes.items()) or "none asked for"
        yield f"source: {self.photos.spec}, {len(self.photos):,} faces; guaranteed attributes: {attributes}"

    def transfer(self, path):
        generators = sorted(Path(path).glob("generators/*/config.json"))
        folder = generators[0].parent if len(generators) == 1 else Path(path)
        if not (folder / "config.json").is_file():
            what = "a pipeline of several generators: name one, PIPELINE/generators/NAME" if generators else "no model"
            raise CheckpointError(f"--init-from {path} is {what}.")
        return {"generator": type(self.networks["generator"]).from_pretrained(folder).state_dict()}

    # ---- a step ---------------------------------------------------------------------------------------------------

    def train_step(self):
        c, generator, discriminator = self.config, self.networks["generator"], self.networks["discriminator"]
        real = self.photos.tensor(self.batch_places(len(self.photos))).to(self.device)
        loss_real, logits_real = self._discriminate(real, c.real_label)
        with torch.no_grad():
            fake = generator(self._latents(0))
        loss_fake, logits_fake = self._discriminate(fake, c.fake_label)
        discriminator.requires_grad_(False)
        logits = discriminator(generator(self._latents(1))).float()
        loss_combined = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, c.generator_label))
        self._update("generator", loss_combined)
        discriminator.requires_grad_(True)
        if c.ema_decay:
            self._average()
        return {
            "loss_real": loss_real, "loss_fake": loss_fake, "loss_combined": loss_combined,
            "accuracy_real": (logits_real > 0).float().mean(), "accuracy_fake": (logits_fake < 0).float().mean(),
            "accuracy_combined": (logits > 0).float().mean(),
        }  # fmt: skip

    def _discriminate(self, faces, label):
        logits = self.networks["discriminator"](faces).float()
        loss = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
        self._update("discriminator", loss)
        return loss.detach(), logits.detach()

    def _update(self, name, loss):
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def _latents(self, what):
        return torch.randn(self.config.batch_size, self.config.latent, generator=self.random(what)).to(self.device)

    @torch.no_grad()
    def _average(self):
        now = self.networks["generator"].state_dict()
        if not self.averages:
            self.averages = {"generator": {name: tensor.clone() for name, tensor in now.items()}}
            return
        decay = min(self.config.ema_decay, (1 + self.step) / (4 + self.step))  # of at most a third of the run so far
        for name, average in self.averages["generator"].items():
            if average.is_floating_point():
                average.lerp_(now[name], 1 - decay)
            else:
                average.copy_(now[name])

    # ---- what it leaves -------------------------------------------------------------------------------------------

    def finished_generator(self):
        """A copy of the generator in eval mode, with the moving averages as weights if there are any."""
        generator = self.networks["generator"]
        copy = type(generator).from_config(generator.config).to(self.device)
        copy.load_state_dict(self.averages.get("generator") or generator.state_dict())
        return copy.eval().requires_grad_(False)

    @torch.inference_mode()
    def look(self, line):
        latents = torch.randn(SAMPLES, self.config.latent, generator=torch.Generator().manual_seed(0))
        faces = self.finished_generator()(latents.to(self.device)).unflatten(0, (8, -1))
        zoom = max(1, 128 // self.config.resolution)
        sheet = sample_sheet([list(faces)])
        folder = self.output / "samples"
        folder.mkdir(exist_ok=True)
        png = io.BytesIO()
        sheet.resize((sheet.width * zoom, sheet.height * zoom), 0).save(png, "PNG")
        write_aside(folder / f"step-{self.step:08d}.png", png.getvalue())  # the app may be looking
        gan_curves(self.output)

    def write(self):
        from maskhub.hub import save_pipeline
        from maskhub.pipelines.reimaging import ReimagingPipeline
        from maskhub.training.small_cards import generator_card

        pipeline = ReimagingPipeline(resolution=self.config.resolution)
        pipeline.add(self.config.model_name, self.finished_generator(), self.attributes)
        save_pipeline(pipeline, self.output / "pipeline", generator_card(self), variants=())
        return self.output / "pipeline"
