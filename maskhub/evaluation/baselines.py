"""Trivial baselines: a copy of the input, the mean face, and two inpaintings of OpenCV."""

import cv2
import numpy as np

from maskhub.faces import align

__all__ = ["COPY", "INPAINTINGS", "MEAN_FACE", "MeanFace", "inpaint"]

COPY = "copy of the input"
MEAN_FACE = "mean face"
INPAINTINGS = {"inpainting (Telea)": cv2.INPAINT_TELEA, "inpainting (Navier–Stokes)": cv2.INPAINT_NS}
RADIUS = 5
"""Pixels around a hole that OpenCV's inpainting uses."""


def inpaint(picture, region, method):
    """Fill a picture (uint8 H×W×3) from its surroundings wherever the region (H×W) is above 0.

    ``method`` is ``cv2.INPAINT_TELEA`` (Telea, 2004) or ``cv2.INPAINT_NS`` (Bertalmio and others, 2001).
    """
    return cv2.inpaint(picture, (region > 0).astype(np.uint8), RADIUS, method)


class MeanFace:
    """The mean of aligned faces (crops of ``side`` pixels), to paste into the region of another face."""

    def __init__(self, side=256):
        self.side, self.count = side, 0
        self._sum = np.zeros((side, side, 3))

    def add(self, picture, face):
        """Add one face: uint8 RGB, H×W×3, and its :class:`~maskhub.faces.face.Face`."""
        self._sum += self._crop(picture, face)
        self.count += 1

    def fill(self, picture, region, face, left_out=None):
        """The picture (uint8 H×W×3) with the mean face wherever the region (H×W) is above 0; None without another face.

        ``left_out`` is a picture of the same face that was added before and must not count.
        """
        total, count = self._sum, self.count
        if left_out is not None:
            total, count = total - self._crop(left_out, face), count - 1
        if count < 1:
            return None
        mean = np.rint(total / count).clip(0, 255).astype(np.uint8)
        everywhere = np.ones((self.side, self.side), np.float32)
        pasted, _ = align.paste(picture, mean, everywhere, align.alignment(face, self.side))
        return np.where(region[..., None] > 0, pasted, picture)

    def _crop(self, picture, face):
        return align.crop(picture, align.alignment(face, self.side), self.side)
