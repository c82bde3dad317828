"""Feature maps of a classifier's convolutions as one picture, as in figures 21 and 22 of the re-imaging thesis."""

import numpy as np
from PIL import Image

from maskhub.tensors import to_tensor

__all__ = ["MAPS", "feature_sheet"]

MAPS = 64
"""Number of maps on a sheet; those of the first two convolutions of the thesis's classifier are twice as many."""
GAP = 1


def feature_sheet(classifier, pixels, convolution=0, count=MAPS, columns=16):
    """Draw the first ``count`` maps that a convolution (0 is the first, -1 the last) makes of a face, uint8 R×R×3, as a
    grey ``PIL.Image`` in which all maps have the size of the convolution's output. Each is scaled to its own range,
    black to white, so that weak ones can be seen as well. ConfigError if there is no such convolution."""
    maps = classifier.feature_maps(to_tensor(pixels)[None], convolution)[0].numpy()[:count]
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    maps = np.rint((maps - low) / np.maximum(high - low, 1e-9) * 255).astype(np.uint8)
    side, across = maps.shape[1], min(columns, len(maps))
    step = side + GAP
    sheet = np.full((-(-len(maps) // across) * step + GAP, across * step + GAP), 255, np.uint8)
    for place, one in enumerate(maps):
        top, left = (GAP + step * n for n in divmod(place, across))
        sheet[top : top + side, left : left + side] = one
    return Image.fromarray(sheet)
