"""A picture that one face fills, the covered pixels in it, and the result put back into it (document 3)."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from maskhub.errors import ConfigError, PhotoError
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.masks.find_covering import by_colour, by_contrast, find_covering

__all__ = ["CoveredFace"]


@dataclass(frozen=True)
class CoveredFace:
    """One covered face on its way through :class:`~maskhub.pipelines.reimaging.ReimagingPipeline`.

    Attributes:
        pixels: uint8 RGB S×S×3, the picture.
        alpha: its alpha channel as ``PIL.Image``, or None.
        face: uint8 RGB R×R×3, the picture at the pipeline's resolution.
        region: bool R×R, the pixels to replace.
        whole: the same in the picture's own size, bool S×S, if they are known that exactly, or None.
    """

    pixels: np.ndarray
    alpha: Image.Image | None
    face: np.ndarray
    region: np.ndarray
    whole: np.ndarray | None

    @classmethod
    def read(cls, photo, what, resolution, region=None, covering="auto", colours=None):
        """Open a picture (``what`` in messages) and find what is covered; options as for ``ReimagingPipeline``.
        PhotoError if it can't be read, or is not square; ConfigError for a bad option."""
        rgb, alpha = split_alpha(open_photo(photo))
        if rgb.width != rgb.height:
            raise PhotoError(f"{what} is {rgb.width}×{rgb.height}. First crop it to a square that the face fills.")
        pixels = np.asarray(rgb)
        face = _resized(pixels, resolution)
        return cls(pixels, alpha, face, *_region(pixels, face, region, covering, colours))

    def clipping(self):
        """The covered pixels of the face, RGBA R×R; everything else is transparent."""
        covered = np.where(self.region[..., None], self.face, 0).astype(np.uint8)
        return Image.fromarray(np.dstack([covered, self.region.astype(np.uint8) * 255]))

    def put_back(self, result):
        """A changed face (uint8 R×R×3) at the picture's original size and with its alpha channel, ``PIL.Image``; pixels
        that were not replaced are unchanged."""
        picture = Image.fromarray(result if len(self.pixels) == len(result) else self._enlarged(result))
        if self.alpha is not None:
            picture.putalpha(self.alpha)
        return picture

    def _enlarged(self, result):
        pixels, side = self.pixels, len(self.pixels)

        def enlarged(small, how):
            return np.asarray(Image.fromarray(small).resize((side, side), how))

        where = enlarged(self.region, Image.Resampling.NEAREST)
        if np.array_equal(enlarged(self.face, Image.Resampling.NEAREST), pixels):  # magnified pixel art
            return np.where(where[..., None], enlarged(result, Image.Resampling.NEAREST), pixels)
        # a photo: smooth, and blended into it over one pixel of the result
        where = np.ascontiguousarray(where if self.whole is None else self.whole)
        depth = cv2.distanceTransform(np.pad(where, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        weight = np.clip(depth * len(result) / side, 0, 1)[..., None]
        larger = enlarged(result, Image.Resampling.BICUBIC)
        return (pixels + (larger.astype(np.float32) - pixels) * weight).round().astype(np.uint8)


def _resized(pixels, side):
    if pixels.shape[0] == side:
        return pixels
    exact = pixels.shape[0] % side == 0 or side % pixels.shape[0] == 0
    how = Image.Resampling.BOX if exact else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((side, side), how))


def _region(pixels, face, region, covering, colours):
    """``region`` and ``whole`` of a :class:`CoveredFace`."""
    if region is None and covering == "learned":
        from maskhub.masks.detector import detect_mask_on_crop

        found = detect_mask_on_crop(np.ascontiguousarray(pixels))
        region = (found.region > 0.5) & found.masked
    if region is not None:
        region = np.asarray(region)
        if region.ndim != 2 or region.shape[0] != region.shape[1]:
            raise ConfigError(f"a region must be a square boolean array, not {'×'.join(map(str, region.shape))}.")
        return _scaled(region, face.shape[0]), _scaled(region, pixels.shape[0])
    if covering == "colour" and colours is None:
        raise ConfigError("covering='colour' needs colours.")
    if colours is not None and covering in ("auto", "colour"):
        try:
            return by_colour(face, colours), None
        except (TypeError, ValueError) as error:
            raise ConfigError("colours must be three numbers from 0 to 255 for each colour.") from error
    if covering not in ("auto", "contrast"):
        raise ConfigError(f"covering is {covering!r}; it must be 'auto', 'colour', 'contrast' or 'learned'.")
    return (find_covering(face) if covering == "auto" else by_contrast(face)), None


def _scaled(region, side):
    """A region in another size: every pixel that it touches."""
    if region.shape[0] == side:
        return region > 0
    picture = Image.fromarray((region > 0).astype(np.uint8) * 255)
    return np.asarray(picture.resize((side, side), Image.Resampling.BOX)) > 0
