"""Training of the mask detector, a small supervised network.

The loss of a batch, where B is the binary cross-entropy:

    L = B(presence)  +  λ_region · (B(region) + 1 − Dice(region))  +  λ_consistency · B(region, teacher's)

Really masked faces have no annotated regions. On them the detector learns from its moving average, which gets the crop
before it is degraded and teaches the pixels it is confident about: a mean teacher (Tarvainen, Valpola: "Mean teachers
are better role models", NeurIPS 2017) with hard labels above a threshold as in FixMatch (Sohn et al., NeurIPS 2020).
Dice loss: Milletari et al., "V-Net", 3DV 2016.
"""

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional as F

from maskhub.data.face_cache import cache_folder
from maskhub.data.mask_detection import MaskDetectionCrops, crops_per_sample, mask_detection_batches
from maskhub.files import write_file
from maskhub.models.mask_detector import MaskDetector
from maskhub.options import FREE, STAGED, Positive, Rate, Share, Weight
from maskhub.training.card import mask_detector_card
from maskhub.training.covered import printed
from maskhub.training.options import DomainOptions, LearningRate, Precision, Schedule
from maskhub.training.task import Task, Update

__all__ = ["MaskDetection", "MaskDetectorOptions", "mask_detector_losses"]

SURE = 0.85
"""Confidence above which the teacher labels a pixel."""
ALONE = 0.2
"""Fraction of the run before the teacher starts."""
MAX_NORM = 5.0
"""Gradients are clipped to this norm."""


class MaskDetectorOptions(DomainOptions):
    """Train the mask detector."""

    masked: Annotated[str, STAGED] = ""
    """Source of aligned crops of really masked faces, in the same form."""
    resolution: Annotated[int, Field(ge=64, le=1024, multiple_of=32)] = 128
    """Side of the crops in pixels; a multiple of 32, 64 to 1024."""
    width: Positive = 16
    """Channels of the first layer."""
    pyramid: Positive = 16
    """Channels of the decoder."""
    batch_size: Positive = 8
    """Samples per process and micro-batch; each has four crops, and two more for every further real face."""
    max_steps: Annotated[Positive, FREE] = 3000
    learning_rate: LearningRate = 2e-3
    """AdamW's peak learning rate."""
    lr_schedule: Schedule = "cosine"
    warmup: Share = 0.02
    beta1: Rate = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """AdamW's weight decay."""
    at_chin: Share = 0.0
    """Share of the drawn masks worn at the chin, under nose and mouth, in addition to those among
    the three in ten that are worn wrongly."""
    prints: Share = 0.0
    """Share of the drawn masks with part of another crop of the batch printed on them."""
    in_front: Share = 0.0
    """Share of the real masks with a hand, hair, a scarf or blobs in front."""
    real_faces: Positive = 1
    """Really masked faces in a sample."""
    lambda_region: Weight = 1.0
    """Weight of the losses on the region."""
    lambda_consistency: Weight = 0.5
    """Weight of the consistency loss with the moving average; it starts after a fifth of the run."""
    ema_decay: Rate = 0.998
    """Decay of the moving average of the weights, which is the teacher and the result."""
    mixed_precision: Precision = "no"
    channels_last: bool = True
    cache: Annotated[str | None, FREE] = None
    """File that caches detected faces; by default next to the photos, or in ~/.cache/maskhub."""
    checkpoint_every: Annotated[Positive, FREE] = 500
    log_every: Annotated[Positive, FREE] = 25


class MaskDetection(Task):
    """See the module. The result is a folder for ``MaskDetector.from_pretrained``."""

    Options = MaskDetectorOptions
    name = "mask-detector"
    result = "detector"
    averaged = ("detector",)

    def __init__(self, options, rank=0):
        # keywords: diffusers' config records positional arguments wrongly when a network is copied
        network = MaskDetector(width=options.width, pyramid=options.pyramid, resolution=options.resolution)
        super().__init__(options, {"detector": network}, rank)

    def optimizers(self):
        return {"detector": self.adam("detector", kind=torch.optim.AdamW, weight_decay=self.options.weight_decay)}

    def dataset(self, seed, load_scale=None, **walk):
        cache = self.options.cache or cache_folder(self.sources["unmasked"]) / "faces.sqlite"
        sources = self.sources["unmasked"], self.sources["masked"]
        c = self.options
        shares = {"at_chin": c.at_chin, "in_front": c.in_front, "real_faces": c.real_faces}
        return MaskDetectionCrops(*sources, c.resolution, seed, **shares, cache=cache, **walk)

    def batches(self, dataset, workers, pin_memory):
        return mask_detection_batches(dataset, workers, pin_memory)

    def fixed_batch(self, count):
        crops = crops_per_sample(self.options.real_faces)
        return {name: values.flatten(0, 1)[: 4 * crops] for name, values in super().fixed_batch(count).items()}

    def step(self, batch, turn):
        """One update with the module's loss; ``batch`` holds the crops of
        :class:`~maskhub.data.mask_detection.MaskDetectionCrops`, flattened into one dimension."""
        c = self.options
        presence, region = self.nets["detector"](self._with_prints(batch))
        taught = None
        if c.lambda_consistency and self.progress >= ALONE:
            taught = torch.zeros_like(region, dtype=torch.float32)
            unknown = batch["known"] == 0
            with torch.no_grad():
                taught[unknown] = self.average("detector")(batch["plain"][unknown])[1].float().sigmoid()
        terms = mask_detector_losses(presence, region, batch, taught)
        weights = {"presence": 1.0, "region": c.lambda_region, "consistency": c.lambda_consistency}
        loss = sum(weights[name] * value for name, value in terms.items())
        right = ((presence > 0) == (batch["presence"] > 0.5)).float().mean()
        yield Update("detector", loss, {**terms, "accuracy": right}, clip=MAX_NORM)

    def _with_prints(self, batch):
        """The crops, some of the drawn masks with a print. Otherwise the detector takes the prints of real masks for
        something in front of them."""
        images = batch["images"]
        if not self.options.prints:
            return images
        drawn = slice(None, None, crops_per_sample(self.options.real_faces))
        worn = images[drawn]
        photos = images[torch.randperm(len(images))[: len(worn)].to(images.device)]
        images = images.clone()
        images[drawn] = printed(worn, batch["region"][drawn], photos, self.options.prints)
        return images

    # ---- what a run leaves ----------------------------------------------------------------------------------------

    def curves(self, names):
        return {"loss": [name for name in names if name != "accuracy"], "accuracy": ["accuracy"]}

    def samples(self, networks, batch):
        """For each crop: the crop, the detected region, the true region if it is known."""
        images = batch["images"]
        _, region = networks["detector"](images)
        return [[images, *(_red(images, found) for found in (region.sigmoid(), batch["region"]))]]

    def write(self, networks, folder, card):
        network = networks["detector"]
        network.save_pretrained(folder)
        copy.deepcopy(network).half().save_pretrained(folder, variant="fp16")
        write_file(folder / "README.md", card)

    def transfer(self, path):
        return self.saved("detector", path, path / "detector")

    card = mask_detector_card


def mask_detector_losses(presence, region, batch, taught=None):
    """The terms of the loss as float32 scalars: ``presence``, ``region`` and, with ``taught``, ``consistency``, from
    the logits, N and N×1×H×W, and a batch of :class:`~maskhub.data.mask_detection.MaskDetectionCrops`. ``taught`` are
    the teacher's probabilities N×1×H×W, or None."""
    presence, region, known = presence.float(), region.float(), batch["known"].float()
    target = batch["region"]
    pixels = F.binary_cross_entropy_with_logits(region, target, reduction="none")
    cross = (pixels.mean((1, 2, 3)) * known).sum() / known.sum().clamp(min=1)
    chance = region.sigmoid()
    overlap, total = (chance * target).sum((1, 2, 3)), (chance + target).sum((1, 2, 3))
    covered = known * (target.sum((1, 2, 3)) > 0)  # Dice says nothing about an empty region
    dice = ((1 - (2 * overlap + 1) / (total + 1)) * covered).sum() / covered.sum().clamp(min=1)
    terms = {
        "presence": F.binary_cross_entropy_with_logits(presence, batch["presence"]),
        "region": cross + dice,
    }
    if taught is not None:
        sure = ((taught - 0.5).abs() > SURE - 0.5).float() * (1 - known)[:, None, None, None]
        labels = (taught > 0.5).float()
        pixels = F.binary_cross_entropy_with_logits(region, labels, reduction="none")
        terms["consistency"] = (pixels * sure).sum() / sure.sum().clamp(min=1)
    return terms


def _red(images, region):
    red = torch.tensor([1.0, -1.0, -1.0], device=images.device).view(1, 3, 1, 1)
    return images + (red - images) * 0.5 * region
