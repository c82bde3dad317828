"""The optional parts of maskhub, and the packages they need.

The core needs none of them. Code that does calls :func:`require`, or just imports the package; the command line and
``maskhub.__getattr__`` pass the ImportError to :func:`explained`. Both give the same line: what to install.
"""

import gc
from contextlib import contextmanager
from importlib.util import find_spec

from maskhub.errors import MaskHubError

__all__ = ["EXTRAS", "MissingExtraError", "explained", "installed", "large_import", "require"]

EXTRAS = {
    "hub": ("huggingface_hub", "datasets", "fsspec", "pyarrow"),
    "video": ("av",),
    "torch": ("torch", "diffusers", "accelerate", "sklearn"),
    "train": ("matplotlib",),
    "app": ("gradio", "pandas", "httpx", "mcp"),
    "eval": ("scipy", "dlib", "efficientnet_lite_pytorch", "face_recognition_models"),
    "export": ("onnx", "onnx_ir", "onnxscript"),
    "heif": ("pillow_heif",),
    "ray": ("ray",),
}
"""Extra → the packages, by the names they are imported with, that it brings."""


class MissingExtraError(MaskHubError, ImportError):
    """A package that this part of maskhub needs is not installed."""


def require(extra, *packages):
    """Raise :class:`MissingExtraError` unless these packages of an extra, by default all, are installed."""
    for package in packages or EXTRAS[extra]:
        if not installed(package):
            raise _missing(extra, package)


def explained(error):
    """The :class:`MissingExtraError` for an ``ImportError``; any other error unchanged."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    return _missing(extra, package) if extra and not installed(package) else error


def _missing(extra, package):
    return MissingExtraError(f"{package} is missing. Install it with: pip install 'maskhub[{extra}]'", name=package)


def installed(package):
    """Whether a package is installed, without importing it."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def large_import():
    """A block without garbage collection, in which to import torch and diffusers: it takes a third of their time, and
    finds next to nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
