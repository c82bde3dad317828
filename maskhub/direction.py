"""The two directions of translation and the names derived from them."""

from enum import StrEnum

from maskhub.errors import ConfigError

__all__ = ["ROLES", "Direction"]


class Direction(StrEnum):
    """``"mask"`` puts masks on, ``"unmask"`` takes them off. A member equals its string."""

    MASK = "mask"
    UNMASK = "unmask"

    @classmethod
    def _missing_(cls, value):
        raise ConfigError(f"the direction is {value!r}; it must be 'mask' or 'unmask'.")

    @property
    def role(self):
        """The name of the generator for this direction: ``"masker"`` or ``"unmasker"``."""
        return f"{self}er"

    @property
    def past(self):
        """The target domain: ``"masked"`` or ``"unmasked"``."""
        return f"{self}ed"

    @property
    def inverse(self):
        """The opposite direction."""
        return Direction.UNMASK if self is Direction.MASK else Direction.MASK

    @property
    def source(self):
        """The source domain: ``"unmasked"`` or ``"masked"``."""
        return self.inverse.past


ROLES = tuple(direction.role for direction in Direction)
"""The names of a pipeline's two generators."""
