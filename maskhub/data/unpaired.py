"""Unpaired training batches: one photo of each domain, drawn independently, with CycleGAN's augmentation."""

import numpy as np
from PIL import Image

from maskhub.data.positions import LOAD_SCALE, PositionDataset
from maskhub.image_file import middle_square
from maskhub.tensors import to_tensor

__all__ = ["UnpairedPhotos", "augment", "cut_out"]


def augment(photo, resolution, rng, load_scale=LOAD_SCALE):
    """:func:`cut_out` as float32 3×resolution×resolution in [-1, 1]."""
    return to_tensor(cut_out(photo, resolution, rng, load_scale))


def cut_out(photo, resolution, rng, load_scale=LOAD_SCALE):
    """Scale the centred square of an RGB ``PIL.Image`` to ``load_scale × resolution``, crop a random square, and
    mirror every other one; a ``PIL.Image``."""
    loaded = max(resolution, round(resolution * load_scale))
    scaled = photo.resize((loaded, loaded), Image.Resampling.BICUBIC, box=middle_square(*photo.size))
    x, y = rng.integers(0, loaded - resolution + 1, 2)
    cut = scaled.crop((x, y, x + resolution, y + resolution))
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return cut


class UnpairedPhotos(PositionDataset):
    """Endless samples of unrelated photos, one of each domain: ``{"unmasked": 3×R×R, ...}``. ``sources`` is domain →
    source of :func:`maskhub.data.sources.open_source`; the rest is as in
    :class:`~maskhub.data.positions.PositionDataset`."""

    def __init__(self, sources, resolution, seed, **walk):
        super().__init__(resolution, seed, **walk)
        self.sources = {name: self.shared(source) for name, source in sources.items()}

    def __iter__(self):
        streams = [self._stream(number, name) for number, name in enumerate(self.sources)]
        for samples in zip(*streams, strict=True):
            yield dict(zip(self.sources, samples, strict=True))

    def _stream(self, number, name):
        for position, photo in self.sources[name].walk(self.positions(), self.seed + number):
            rng = np.random.default_rng((self.seed, number, position))
            yield augment(photo, self.resolution, rng, self.load_scale)
