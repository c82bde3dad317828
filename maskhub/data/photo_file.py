"""Write pictures: encoded in memory, written atomically."""

from pathlib import Path, PurePosixPath

from maskhub.data.folder import free_name
from maskhub.errors import PhotoError, first_line
from maskhub.faces.photo import JPEG, rgb_profile
from maskhub.files import write_file
from maskhub.image_file import encoded
from maskhub.provenance import save_options

__all__ = ["encode_photo", "result_names", "result_path", "save_photo", "side_names"]

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_TO_JPEG = (".heic", ".heif", ".hif", ".mpo")


def save_photo(image, path):
    """Write a picture atomically, encoded by :func:`encode_photo`. WriteError if it can't be written."""
    write_file(path, encode_photo(image, path))


def encode_photo(image, path):
    """A picture as the bytes of a file, in the format of a path's suffix.

    A JPEG gets the quantization tables and chroma subsampling of its photo if that was one too, so that it keeps its
    quality and size; else quality 95 without subsampling. Colour profile and :mod:`~maskhub.provenance` are kept, other
    metadata are not. PhotoError for an unknown suffix, or a picture that the format can't hold.
    """
    kind = _FORMATS.get(PurePosixPath(path).suffix.lower())
    if kind is None:
        raise PhotoError(f"{path} can't be written: its suffix must be one of {', '.join(sorted(_FORMATS))}.")
    settings = {"JPEG": image.info.get(JPEG) or {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    options = {**settings.get(kind, {}), "icc_profile": rgb_profile(image)}
    if kind in ("JPEG", "BMP") and image.mode == "RGBA":
        image = image.convert("RGB")
    try:
        return encoded(image, kind, **options, **save_options(image, kind))
    except (OSError, ValueError) as error:  # a side above 65,535 pixels of a JPEG, for instance
        raise PhotoError(f"{path} can't be written as {kind}: {first_line(error)}.") from error


def result_path(path, png=False):
    """Where a photo's result goes: HEIC and MPO become JPEG, others that can't be written (GIF, AVIF) PNG;
    ``png``: all."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in _FORMATS and (not png or suffix == ".png"):
        return path
    return path.with_suffix(".jpg" if suffix in _TO_JPEG and not png else ".png")


def result_names(names, png=False):
    """The name of each photo's result: :func:`result_path`, or with both suffixes if two would be equal."""
    targets, taken = {}, set()
    for name in sorted(names, key=lambda name: (result_path(name, png).as_posix() != name, name)):
        target = result_path(name, png).as_posix()
        targets[name] = target if target not in taken else free_name(name + PurePosixPath(target).suffix, taken)
        taken.add(targets[name])
    return targets


def side_names(names, suffix):
    """The name of a file beside each photo, such as its region: the photo's with ``suffix`` instead of its own, or with
    both if another photo has that name or that file."""
    sides, taken = {}, set(names)
    for name in sorted(names):
        side = PurePosixPath(name).with_suffix(suffix).as_posix()
        sides[name] = side if side == name or side not in taken else free_name(name + suffix, taken)
        taken.add(sides[name])
    return sides
