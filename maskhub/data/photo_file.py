"""Write pictures: encoded in memory, written atomically."""

import io
from pathlib import Path, PurePosixPath

from maskhub.data.folder import free_name
from maskhub.errors import PhotoError, first_line
from maskhub.faces.photo import rgb_profile
from maskhub.files import write_file
from maskhub.provenance import save_options

__all__ = ["encode_photo", "result_names", "result_path", "save_photo"]

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def save_photo(image, path):
    """Write a picture atomically, encoded by :func:`encode_photo`.

    Raises:
        PhotoError: an unknown suffix, or a picture that its format can't hold. WriteError: no room, no permission.
    """
    write_file(path, encode_photo(image, path))


def encode_photo(image, path):
    """A picture as the bytes of a file, in the format of a path's suffix (JPEG at quality 95, no chroma subsampling).

    Colour profile and :mod:`~maskhub.provenance` are kept, other metadata are not.

    Raises:
        PhotoError: an unknown suffix, or a picture that the format can't hold.
    """
    kind = _FORMATS.get(PurePosixPath(path).suffix.lower())
    if kind is None:
        raise PhotoError(f"{path} can't be written: its suffix must be one of {', '.join(sorted(_FORMATS))}.")
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    options["icc_profile"] = rgb_profile(image)
    if kind in ("JPEG", "BMP") and image.mode == "RGBA":
        image = image.convert("RGB")
    file = io.BytesIO()
    try:
        image.save(file, kind, **options, **save_options(image, kind))
    except (OSError, ValueError) as error:  # a side above 65,535 pixels of a JPEG, for instance
        raise PhotoError(f"{path} can't be written as {kind}: {first_line(error)}.") from error
    return file.getvalue()


def result_path(path):
    """Where a photo's result goes: formats that can't be written as they were (GIF) become PNG."""
    path = Path(path)
    return path if path.suffix.lower() in _FORMATS else path.with_suffix(".png")


def result_names(names):
    """The name of each photo's result: :func:`result_path`, or with both suffixes if two would be equal."""
    targets, taken = {}, set()
    for name in sorted(names, key=lambda name: (result_path(name).as_posix() != name, name)):
        target = result_path(name).as_posix()
        targets[name] = target if target not in taken else free_name(f"{name}.png", taken)
        taken.add(targets[name])
    return targets
