"""The two directions of translation, and what goes by each one's name."""

from enum import StrEnum

from maskhub.errors import ConfigError

__all__ = ["Direction"]


class Direction(StrEnum):
    """``"mask"`` puts masks on, ``"unmask"`` takes them off. A member equals its string."""

    MASK = "mask"
    UNMASK = "unmask"

    @classmethod
    def _missing_(cls, value):
        raise ConfigError(f"the direction is {value!r}; it must be 'mask' or 'unmask'.")

    @property
    def role(self):
        """The name of the generator that does it: ``"masker"`` or ``"unmasker"``."""
        return f"{self}er"

    @property
    def past(self):
        """What its results are: ``"masked"`` or ``"unmasked"``, the domain that it translates to."""
        return f"{self}ed"

    @property
    def inverse(self):
        """The way back."""
        return Direction.UNMASK if self is Direction.MASK else Direction.MASK

    @property
    def source(self):
        """The domain that it translates from: ``"unmasked"`` or ``"masked"``."""
        return self.inverse.past
