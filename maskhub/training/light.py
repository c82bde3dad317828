"""Options and transfer of the light generator, which two methods can train."""

from maskhub.errors import ConfigError
from maskhub.models.light import LightGenerator
from maskhub.options import Count, Positive
from maskhub.training.adversarial import PatchOptions

__all__ = ["LightOptions", "fitted_light"]


class LightOptions(PatchOptions):
    """Options of the methods that train a :class:`~maskhub.models.light.LightGenerator`."""

    widths: tuple[Positive, ...] = (64, 128, 192)
    """Channels of the light generator's grids, the finest first; each a multiple of 16 pixels in all."""
    fold: Positive = 1
    """How far the picture is folded even for the light generator's last layers: 1 for 128 pixels, 2 for 256."""
    detail: Positive = 12
    """Channels of its last layers."""
    detail_blocks: Count = 0
    """Residual blocks among them."""

    def check_grids(self):
        """Raise :class:`ConfigError` where the grids do not fit the resolution."""
        cell = 4 * self.fold << (len(self.widths) - 1)
        if self.resolution % cell:
            raise ConfigError(
                f"--widths {self.widths} with --fold {self.fold} needs a --resolution that is a multiple of {cell}."
            )

    def light_generator(self, blocks, **settings):
        """A new light generator with these residual blocks on its grids."""
        return LightGenerator(
            widths=tuple(self.widths), blocks=tuple(blocks), fold=self.fold, detail=self.detail,
            detail_blocks=self.detail_blocks, **settings,
        )  # fmt: skip


def fitted_light(loaded, network):
    """A light generator of another run as it can begin this one.

    Args:
        loaded: of the other run.
        network: of this run.

    Returns:
        ``loaded``, grown where ``network`` is made for twice the side, deepened where it has more blocks.
    """
    if not isinstance(network, LightGenerator):
        return loaded
    ours, theirs = network.config, loaded.config
    if ours["fold"] == 2 * theirs["fold"]:
        loaded = loaded.grown(ours["detail"], ours["detail_blocks"])
    if tuple(ours["blocks"]) != tuple(theirs["blocks"]):
        loaded = loaded.deepened(ours["blocks"])
    return loaded
