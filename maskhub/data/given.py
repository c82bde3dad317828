"""Existing training pairs: two sources with the same faces in the same order."""

import numpy as np

from maskhub.data.positions import PositionDataset
from maskhub.data.unpaired import augment
from maskhub.errors import SourceError

__all__ = ["GivenPairs"]


class GivenPairs(PositionDataset):
    """Endless pairs ``{"unmasked": 3×R×R, "masked": 3×R×R}``, with the same crop and mirroring.

    Args:
        unmasked, masked: sources of :func:`maskhub.data.sources.open_source`: folders whose photos have the same names,
            or two columns of one dataset; else SourceError.
        resolution, seed, walk: as in :class:`~maskhub.data.positions.PositionDataset`.
    """

    def __init__(self, unmasked, masked, resolution, seed, **walk):
        super().__init__(resolution, seed, **walk)
        _check_pairs(unmasked, masked)
        self.source = self.shared(unmasked.paired(masked))

    def __iter__(self):
        for position, photos in self.source.walk(self.positions(), self.seed):
            yield {
                name: augment(photo, self.resolution, np.random.default_rng((self.seed, position)), self.load_scale)
                for name, photo in zip(("unmasked", "masked"), photos, strict=True)
            }


def _check_pairs(unmasked, masked):
    here, there = unmasked.identity(), masked.identity()
    if here == there:
        return
    how = "Give two folders with the same file names, or two image columns of one dataset (user/dataset:split#column)."
    if type(unmasked) is not type(masked):
        raise SourceError(f"{unmasked.spec} and {masked.spec} can't be paired. {how}")
    if not isinstance(here, list):
        raise SourceError(f"{unmasked.spec} and {masked.spec} are not columns of the same dataset. {how}")
    alone = ", ".join(sorted(set(here) ^ set(there))[:3]) or "names that differ only in their suffix"
    raise SourceError(f"some photos of {unmasked.spec} and {masked.spec} have no pair: {alone}. {how}")
