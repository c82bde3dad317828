"""Options of the light generator, for the methods that can train it."""

from typing import Literal

from maskhub.errors import ConfigError
from maskhub.models.light import LightGenerator
from maskhub.options import Count, Positive
from maskhub.training.adversarial import PatchOptions

__all__ = ["LightChoiceOptions", "LightOptions"]


class LightOptions(PatchOptions):
    """Options of the methods that train a :class:`~maskhub.models.light.LightGenerator`."""

    widths: tuple[Positive, ...] = (64, 128, 192)
    """Channels at each resolution of the light generator, the finest first."""
    fold: Positive = 1
    """Space-to-depth factor of the light generator's last layers: 1 for 128 pixels, 2 for 256."""
    detail: Positive = 12
    """Channels of the light generator's last layers."""
    detail_blocks: Count = 0
    """Residual blocks in the light generator's last layers."""

    def check_grids(self):
        """Raise :class:`ConfigError` if the generator's layers do not fit the resolution."""
        cell = 4 * self.fold << (len(self.widths) - 1)
        if self.resolution % cell:
            raise ConfigError(
                f"--widths {self.widths} with --fold {self.fold} needs a --resolution that is a multiple of {cell}."
            )

    def light_generator(self, blocks, **settings):
        """A new light generator; ``blocks`` are the residual blocks at each of its resolutions."""
        return LightGenerator(
            widths=tuple(self.widths), blocks=tuple(blocks), fold=self.fold, detail=self.detail,
            detail_blocks=self.detail_blocks, **settings,
        )  # fmt: skip


class LightChoiceOptions(LightOptions):
    """Options of the methods that can train a light generator in place of their paper's; they add ``generator``."""

    generator_width: Positive = 64
    """Channels after the generators' first convolution."""
    blocks: Count = 9
    """Residual blocks: 9 for 256 pixels and up, 6 for 128."""
    norm: Literal["instance", "batch"] = "instance"
    """Norm of generators and discriminators."""
    light_blocks: tuple[Count, ...] = (1, 1, 3)
    """Residual blocks at each resolution of the light generator."""

    def check(self):
        super().check()
        if self.generator == "light":
            self.check_grids()
            self.refuse("with --generator light", "generator_width", "blocks")
        else:
            own = [name for name in LightOptions.model_fields if name not in PatchOptions.model_fields]
            self.refuse(f"with --generator {self.generator}", *own, "light_blocks")
