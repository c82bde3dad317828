"""Base class of the sources of training photos; see :mod:`maskhub.data.sources` for the kinds."""

import warnings
from copy import copy

from maskhub.errors import SourceError

__all__ = ["PhotoSource"]


class PhotoSource:
    """Photos that are read by position, in an endless sequence of samples 0, 1, 2, ... defined by a seed.

    Attributes:
        spec: spec of the source.
        size: number of photos in a pass; None if it is unknown.
        folder: folder of its photos, or None.
        dataset: id on the Hub, or None.
        deal: a stream's :class:`~maskhub.data.lanes.Deal`, else None.
        partner: the source of :meth:`paired`, or None.
        warned: the texts of :meth:`warn`.
        draws_pairs: whether :meth:`pair` gives each photo with and without its mask.
    """

    spec: str
    size = None
    folder = None
    dataset = None
    deal = None
    partner = None
    draws_pairs = False
    warned = frozenset()

    def warn(self, text):
        """Warn, but only once: a photo comes again in each pass. Python's own filter forgets what it has shown whenever
        a library changes the filters, as opening a photo does."""
        if text not in self.warned:
            self.warned |= {text}
            warnings.warn(text, stacklevel=3)

    def shared(self, share):
        """The same source for one of several processes, or for batches that don't take a photo for each sample; only
        streams differ. ``share`` is a :class:`~maskhub.data.lanes.Share`."""
        return self

    def walk(self, positions, seed):
        """Yield ``(position, photo)`` for ascending sample positions; photos are RGB ``PIL.Image``. A photo that can't
        be read is reported in a warning and replaced by the next readable one; SourceError if none can be read."""
        raise NotImplementedError

    def paired(self, other):
        """This source with the photos of ``other``, which has the same :meth:`identity`: its walk yields ``(position,
        (photo, the other's photo))``, and leaves out a face if either can't be read."""
        both = copy(self)
        both.partner = other
        return both

    def pair(self, position, seed):
        """The sample of a position without and with its mask: uint8 R×R×3 twice, and float32 R×R, its region."""
        raise NotImplementedError

    def identity(self):
        """A value that is equal for two sources exactly if a seed gives the same order of faces in both."""
        raise NotImplementedError

    def limited(self, count):
        """The same source with at most ``count`` of its photos, chosen by name; SourceError for a streamed source."""
        raise SourceError(f"{self.spec} is streamed: only the photos of a folder can be limited in number.")

    def describe(self):
        """Its size in words."""
        return "streamed" if self.size is None else f"{self.size:,} photos"
