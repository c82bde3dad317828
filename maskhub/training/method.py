"""What the loop asks of a method, and the game between a generator and a discriminator, the same in all of them.

A new method is one new file with a subclass of :class:`Method`: its networks, its losses in the order of the paper's
formula, its pipeline.
"""

import torch
from torch.nn.utils.parametrizations import spectral_norm

from maskhub.data.unpaired import LOAD_SCALE, UnpairedPhotos
from maskhub.losses import GANLoss, gradient_penalty, r1_penalty
from maskhub.training.diffaugment import diff_augment, policies
from maskhub.training.pool import ImagePool

__all__ = ["Method"]


class Method:
    """The base of every method.

    Args:
        config: the method's options; the loop puts those of the stage in its place as the run goes on.
        seed: of the image pools; another one on every process.

    Attributes:
        name, paper: of the method, for people.
        generators, discriminators: name → network. The generators that are parts of the pipeline bear its names,
            ``masker`` and ``unmasker``.
        trained_against: names of the encoders and feature networks in the losses; no figure by them counts.
        pools: name → :class:`~maskhub.training.pool.ImagePool`; what they hold goes into the checkpoint.
    """

    name = ""
    paper = ""
    trained_against = ()

    def __init__(self, config, generators, discriminators, pools=(), seed=0):
        self.config = config
        self.generators, self.discriminators = generators, discriminators
        self.pools = {
            name: ImagePool(config.pool_size, seed=len(pools) * seed + number) for number, name in enumerate(pools)
        }
        self.gan = GANLoss(config.gan_loss)
        self.augmentations = policies(config.diffaugment)
        if config.spectral_norm:
            for network in discriminators.values():
                _normalise_spectrally(network)

    # ---- what a method says ---------------------------------------------------------------------------------------

    def dataset(self, sources, seed, load_scale=LOAD_SCALE, **walk):
        """The endless samples of a run: an ``IterableDataset`` of dicts of tensors, walked by position.

        Args:
            sources: name → source, those that the config needs.
            seed: fixes everything random in them.
            load_scale: how much larger than the resolution photos are loaded before the random cut.
            walk: ``start``, ``rank``, ``world``, ``batch_size`` of :class:`~maskhub.data.unpaired.UnpairedPhotos`.
        """
        return UnpairedPhotos(sources, self.config.resolution, seed, load_scale=load_scale, **walk)

    def generator_loss(self, nets, batch):
        """What the generators minimise.

        Args:
            nets: name → network, as the loop has wrapped them; discriminators are frozen.
            batch: of the dataset's samples, stacked.

        Returns:
            the loss, each of its terms by name before weighting, and what the discriminators will need.
        """
        raise NotImplementedError

    def fakes(self, nets, batch):
        """What the discriminators need where the generators have not just been updated on the same batch."""
        raise NotImplementedError

    def discriminator_loss(self, nets, batch, fakes):
        """What the discriminators minimise, and its terms by name."""
        raise NotImplementedError

    def pipeline(self, generators):
        """The pipeline of these generators (name → network in float32)."""
        raise NotImplementedError

    def sample_rows(self, generators, batch):
        """For the sample sheet: groups of columns, each N×3×R×R; a group's second column is what is being learnt."""
        raise NotImplementedError

    # ---- the game -------------------------------------------------------------------------------------------------

    def generator_term(self, nets, name, fake, condition=None):
        """The generator's adversarial loss by discriminator ``name``; a conditional one also sees ``condition``."""
        return self.gan.generator(nets[name](self._discriminator_input(fake, condition)))

    def discriminator_terms(self, nets, name, real, fake, condition=None):
        """The loss of discriminator ``name`` as a dict: its own term, and the penalties that the options ask for.

        The penalties' second derivatives go through the bare network in float32: neither distributed wrappers nor
        compiled code can do them.
        """
        c, critic = self.config, self.discriminators[name]
        critic = getattr(critic, "_original_forward", critic.forward)  # accelerate's own has autocast about it
        real, fake = self._discriminator_input(real, condition), self._discriminator_input(fake.detach(), condition)
        terms = {name: self.gan.discriminator(nets[name](real), nets[name](fake))}
        if self.gan.kind == "wgan-gp" and c.lambda_gp:
            terms[f"{name}_gp"] = c.lambda_gp * gradient_penalty(critic, real, fake)
        if c.r1:
            terms[f"{name}_r1"] = c.r1 / 2 * r1_penalty(critic, real)
        return terms

    def _discriminator_input(self, image, condition):
        image = image if condition is None else torch.cat([condition.to(image.dtype), image], 1)
        return diff_augment(image, self.augmentations)


def _normalise_spectrally(network):
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            spectral_norm(module)
