"""Base of the adversarial methods: losses, gradient penalties, image pool, DiffAugment."""

from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch.nn.utils.parametrizations import spectral_norm

from maskhub.data.masked import MaskOptions, Wearing
from maskhub.data.positions import LOAD_SCALE
from maskhub.data.two_step import WornAndMasked, finished
from maskhub.data.unpaired import UnpairedPhotos
from maskhub.direction import ROLES
from maskhub.errors import ConfigError
from maskhub.hub import write_pipeline
from maskhub.losses import GANLoss, gradient_penalty, r1_penalty
from maskhub.models.patch import PatchDiscriminator
from maskhub.options import STAGED, Count, Positive, Weight
from maskhub.pipelines.face_mask import FaceMaskPipeline
from maskhub.training.card import face_mask_card
from maskhub.training.diffaugment import check_policies, diff_augment, policies
from maskhub.training.muon import Muon
from maskhub.training.options import DomainOptions
from maskhub.training.task import Task, frozen, stored

__all__ = [
    "AdversarialTask", "GANOptions", "ImagePool", "PatchOptions", "RefinerOptions", "RefinerTask", "WornOptions",
]  # fmt: skip

OPTIMIZERS = {"adam": torch.optim.Adam, "muon": Muon}


class GANOptions(DomainOptions):
    """Options that every adversarial method shares."""

    resolution: Annotated[int, Field(ge=32, multiple_of=4)] = 256
    """Side of the training crops in pixels; a multiple of 4, at least 32."""
    gan_loss: Literal["lsgan", "vanilla", "wgan-gp"] = "lsgan"
    """Adversarial loss: least squares, cross-entropy, or Wasserstein with gradient penalty."""
    optimizer: Literal["adam", "muon"] = "adam"
    """Optimizer of the generators. muon: orthogonalised momentum for all kernels, with Adam's learning rates."""
    lambda_gp: Weight = 10.0
    """Weight of wgan-gp's gradient penalty."""
    r1: Weight = 0.0
    """γ of the R1 penalty on the discriminators' gradients at real photos; 0: no penalty."""
    spectral_norm: bool = False
    """Divide every weight of the discriminators by its largest singular value (Miyato et al., ICLR 2018)."""
    diffaugment: Annotated[str, AfterValidator(check_policies)] = ""
    """DiffAugment policies for the discriminators' input, separated by commas: color, translation, cutout."""
    generator_updates: Annotated[Count, STAGED] = 1
    """Generator updates per step."""
    discriminator_updates: Annotated[Count, STAGED] = 1
    """Discriminator updates per step, each after the first on a new batch (5 in the WGAN-GP paper)."""
    pool_size: Count = 50
    """Size of each discriminator's pool of older fakes; 0: no pool."""
    load_scale: Annotated[float, Field(ge=1)] = LOAD_SCALE
    """How much larger than the resolution photos are loaded before a random crop; 1: no cropping."""

    @property
    def rounds(self):
        return max(self.generator_updates, self.discriminator_updates)

    def check(self):
        super().check()
        if self.gan_loss != "wgan-gp":
            self.refuse(f"with --gan-loss {self.gan_loss}", "lambda_gp")
        if self.cuda_graph and self.pool_size:
            raise ConfigError("--cuda-graph can't be used with a pool, which draws on the CPU: use --pool-size 0.")
        if not self.rounds:
            raise ConfigError("--generator-updates and --discriminator-updates are both 0: nothing would be trained.")


class WornOptions(MaskOptions, GANOptions):
    """Options of the methods that put rule-based masks on faces during training."""

    def wearing(self):
        """The :class:`~maskhub.data.masked.Wearing` of these options."""
        return Wearing(**{name: getattr(self, name) for name in (*MaskOptions.model_fields, "holdout")})


class RefinerOptions(WornOptions):
    """Options of the methods that make rule-based masks realistic."""

    start: Literal["worn", "unmasked"] = "worn"
    """Input of the masker: faces with a mask drawn by rule, or unmasked faces."""

    def check(self):
        super().check()
        if self.start == "unmasked":
            self.refuse("with --start unmasked, which draws no mask", *MaskOptions.model_fields)


class PatchOptions(GANOptions):
    """Options of the methods with patch discriminators."""

    discriminator_width: Positive = 64
    """Channels after the discriminators' first convolution."""
    discriminator_layers: Count = 3
    """Downsampling layers. 3: patches of 70×70 pixels, 4: 142×142, 0: single pixels."""

    def check(self):
        super().check()
        least = 3 * 2**self.discriminator_layers
        if self.resolution < least:
            raise ConfigError(
                f"--discriminator-layers {self.discriminator_layers} needs a --resolution of at least {least}."
            )

    def discriminator(self, norm, in_channels=3):
        """A new patch discriminator with these options."""
        return PatchDiscriminator(
            width=self.discriminator_width, layers=self.discriminator_layers, norm=norm, in_channels=in_channels
        )


class AdversarialTask(Task):
    """Base of the adversarial methods; ``generators`` and ``discriminators`` are dicts of name → network.

    Generators that go into the pipeline are named ``masker`` and ``unmasker``. ``pools`` are the names of the image
    pools; every process (``rank``) has separate ones.
    """

    def __init__(self, options, generators, discriminators, pools=(), rank=0):
        super().__init__(options, {**generators, **discriminators}, rank)
        self.generators, self.discriminators, self.averaged = generators, discriminators, tuple(generators)
        seed = options.seed * 1000 + rank
        self.pools = {
            name: ImagePool(options.pool_size, seed=len(pools) * seed + number) for number, name in enumerate(pools)
        }
        self.gan, self.augmentations = GANLoss(options.gan_loss), policies(options.diffaugment)
        if options.spectral_norm:
            for network in discriminators.values():
                _add_spectral_norm(network)

    def optimizers(self):
        return {
            "generators": self.adam(*self.generators, kind=OPTIMIZERS[self.options.optimizer]),
            "discriminators": self.adam(*self.discriminators),
        }

    def dataset(self, seed, load_scale=None, **walk):
        c = self.options
        return UnpairedPhotos(self.sources, c.resolution, seed, load_scale=load_scale or c.load_scale, **walk)

    def learning(self, turn):
        """Whether the generators and the discriminators are updated in this turn of a step, as two booleans."""
        return turn < self.options.generator_updates, turn < self.options.discriminator_updates

    def generator_term(self, name, fake, condition=None):
        """The generator's adversarial loss on a ``fake`` with discriminator ``name``, whose weights get no gradients.

        A conditional discriminator also gets the image ``condition``. Both are N×C×R×R.
        """
        discriminator = self.networks[name]  # not through DDP, which would expect gradients for it
        with frozen(discriminator):
            return self.gan.generator(discriminator(self._discriminator_input(fake, condition)))

    def discriminator_terms(self, name, real, fake, condition=None):
        """The loss of discriminator ``name`` as a dict: the adversarial term and the penalties, if turned on.

        The penalties need second derivatives, which neither distributed wrappers nor compiled code support: they use
        the unwrapped network in float32.
        """
        c, critic = self.options, self.networks[name]
        critic = getattr(critic, "_original_forward", critic.forward)  # accelerate's forward runs under autocast
        real, fake = self._discriminator_input(real, condition), self._discriminator_input(fake.detach(), condition)
        terms = {name: self.gan.discriminator(self.nets[name](real), self.nets[name](fake))}
        if self.gan.kind == "wgan-gp" and c.lambda_gp:
            terms[f"{name}_gp"] = c.lambda_gp * gradient_penalty(critic, real, fake)
        if c.r1:
            terms[f"{name}_r1"] = c.r1 / 2 * r1_penalty(critic, real)
        return terms

    def _discriminator_input(self, image, condition):
        image = image if condition is None else torch.cat([condition.to(image.dtype), image], 1)
        return diff_augment(image, self.augmentations)

    def curves(self, names):
        adversarial = [name for name in names if name.split("_")[0] in ("D", "G") and name not in ("G_L1", "G_cosine")]
        return {"adversarial": adversarial, "loss": [name for name in names if name not in adversarial]}

    # ---- the result -----------------------------------------------------------------------------------------------

    def pipeline(self, networks):
        """The :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline` of the finished networks."""
        parts = {name: network for name, network in networks.items() if name in ROLES}
        return FaceMaskPipeline(**parts, resolution=self.options.resolution)

    def write(self, networks, folder, card):
        write_pipeline(self.pipeline(networks), folder, card)

    def transfer(self, path):
        if not (path / "model_index.json").is_file():
            return {}
        return {
            name: stored(type(network), path / name).fitted(network.config).state_dict()
            for name, network in self.generators.items()
            if (path / name).is_dir()
        }

    card = face_mask_card


class RefinerTask(AdversarialTask):
    """Base of the methods with :class:`RefinerOptions`; ``distances``: samples have each pixel's from the mask."""

    distances = False

    def dataset(self, seed, load_scale=None, **walk):
        c = self.options
        if c.start == "unmasked":
            return super().dataset(seed, load_scale, **walk)
        return WornAndMasked(
            self.sources["unmasked"], self.sources["masked"], c.resolution, seed,
            load_scale=load_scale or c.load_scale, wearing=c.wearing(), distance=self.distances, **walk,
        )  # fmt: skip

    def prepared(self, batch):
        return finished(batch, self.memory_format) if self.options.start == "worn" else batch

    def pipeline(self, networks):
        wear = self.options.style if self.options.start == "worn" else None
        return FaceMaskPipeline(masker=networks["masker"], resolution=self.options.resolution, wear=wear)


class ImagePool:
    """A buffer of ``size`` older fakes of one generator, so that the discriminator trains on a history of them; 0:
    none.

    Shrivastava et al.: "Learning from Simulated and Unsupervised Images through Adversarial Training" (SimGAN, CVPR
    2017), section 2.3; CycleGAN keeps 50 images and swaps with probability 0.5. The pool's own random generator gets
    the ``seed``.
    """

    def __init__(self, size=50, seed=0):
        self.size = size
        self.images = []
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, fakes):
        """Pass a batch N×C×H×W through the pool: with probability 0.5, an image is swapped for an older one."""
        if self.size == 0:
            return fakes
        out = []
        for fake in fakes.detach():
            if len(self.images) < self.size:
                self.images.append(fake.clone())
                out.append(fake)
            elif torch.rand((), generator=self.generator) < 0.5:
                place = int(torch.randint(self.size, (), generator=self.generator))
                out.append(self.images[place])
                self.images[place] = fake.clone()
            else:
                out.append(fake)
        return torch.stack(out)

    def state_dict(self):
        """The images N×C×H×W and the state of the random generator, both tensors."""
        images = torch.stack(self.images) if self.images else torch.empty(0)
        return {"images": images, "generator": self.generator.get_state()}

    def load_state_dict(self, state):
        self.images = list(state["images"].unbind()) if state["images"].numel() else []
        self.generator.set_state(state["generator"].cpu())


def _add_spectral_norm(network):
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            spectral_norm(module)
