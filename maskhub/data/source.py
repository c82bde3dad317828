"""What every source of training photos can do; see :mod:`maskhub.data.sources` for the kinds."""

from maskhub.errors import SourceError

__all__ = ["PhotoSource"]


class PhotoSource:
    """Photos that are walked by position: the endless sequence of samples 0, 1, 2, ... that one seed defines.

    Attributes:
        spec: the text that names it.
        size: photos of one pass; None where only reading tells.
        folder: the folder that its photos lie in, or None.
        dataset: its id on the Hub, or None.
        draws_pairs: whether :meth:`pair` knows each photo with and without its mask.
    """

    spec: str
    size = None
    folder = None
    dataset = None
    draws_pairs = False

    def walk(self, positions, seed):
        """Yield ``(position, photo)`` for ascending sample positions; photos are RGB ``PIL.Image``.

        A photo that can't be read is named in a warning and replaced by the next one that can.

        Raises:
            SourceError: no photo can be read.
        """
        raise NotImplementedError

    def pair(self, position, seed):
        """The sample of a position without and with its mask: uint8 R×R×3 twice, and float32 R×R, its region."""
        raise NotImplementedError

    def identity(self):
        """What two sources have in common if one seed walks them through the same faces, and nothing else has."""
        raise NotImplementedError

    def limited(self, count):
        """The same source with only ``count`` of its photos (all where it has fewer), chosen by their names.

        Raises:
            SourceError: it is streamed, and its photos are not known beforehand.
        """
        raise SourceError(f"{self.spec} is streamed: only the photos of a folder can be limited in number.")

    def describe(self):
        """Its size in words."""
        return "streamed" if self.size is None else f"{self.size:,} photos"
