"""Training pairs that someone else made: two sources with the same faces in the same order."""

import numpy as np
from torch.utils.data import IterableDataset

from maskhub.data.unpaired import LOAD_SCALE, UnpairedPhotos, augment
from maskhub.errors import SourceError

__all__ = ["GivenPairs"]


class GivenPairs(IterableDataset):
    """Endless pairs ``{"unmasked": 3×R×R, "masked": 3×R×R}``, cut and mirrored alike, walked by position.

    Args:
        unmasked, masked: sources of :func:`maskhub.data.sources.open_source`: folders whose photos have the same names,
            or two columns of one dataset.
        resolution, seed, start, rank, world, batch_size, load_scale: as in
            :class:`~maskhub.data.unpaired.UnpairedPhotos`.

    Raises:
        SourceError: the two are not of the same faces.
    """

    def __init__(
        self, unmasked, masked, resolution, seed, start=0, rank=0, world=1, batch_size=1, load_scale=LOAD_SCALE
    ):
        _check_pairs(unmasked, masked)
        self.sources = {"unmasked": unmasked, "masked": masked}
        self.resolution, self.seed, self.start, self.load_scale = resolution, seed, start, load_scale
        self.rank, self.world, self.batch_size = rank, world, batch_size

    _positions = UnpairedPhotos._positions

    def __iter__(self):
        # one seed for both: the same permutation, the same rows
        walks = [source.walk(self._positions(), self.seed) for source in self.sources.values()]
        for (position, unmasked), (_, masked) in zip(*walks, strict=True):
            yield {
                name: augment(photo, self.resolution, np.random.default_rng((self.seed, position)), self.load_scale)
                for name, photo in (("unmasked", unmasked), ("masked", masked))
            }


def _check_pairs(unmasked, masked):
    how = "Give two folders with the same file names, or two image columns of one dataset (user/dataset:split#column)."
    if hasattr(unmasked, "faces") and hasattr(masked, "faces"):  # drawn ones
        if [face.name for face in unmasked.faces] != [face.name for face in masked.faces]:
            raise SourceError(f"{unmasked.spec} and {masked.spec} are not the same faces.")
        return
    if hasattr(unmasked, "paths") != hasattr(masked, "paths") or hasattr(unmasked, "faces") or hasattr(masked, "faces"):
        raise SourceError(f"{unmasked.spec} and {masked.spec} can't be paired. {how}")
    if hasattr(unmasked, "paths"):
        names = [
            [path.relative_to(source.folder).with_suffix("").as_posix() for path in source.paths]
            for source in (unmasked, masked)
        ]
        alone = sorted(set(names[0]) ^ set(names[1]))
        if alone or names[0] != names[1]:
            some = ", ".join(alone[:3]) or "names that differ only in their suffix"
            raise SourceError(f"not every photo of {unmasked.spec} and {masked.spec} has its pair: {some}. {how}")
    elif (unmasked.dataset, unmasked.split, unmasked.revision) != (masked.dataset, masked.split, masked.revision):
        raise SourceError(f"{unmasked.spec} and {masked.spec} are not columns of the same dataset. {how}")
