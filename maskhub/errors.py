"""The errors that maskhub raises deliberately: each message says what was wrong and what to do.

All of them are subclasses of :class:`MaskHubError`, so ``except MaskHubError`` catches everything a user can fix. The
command line prints the message as one line and exits with 2 instead of showing a traceback.
"""

__all__ = [
    "CheckpointError", "ConfigError", "DivergenceError", "HubError", "MaskHubError", "NoFaceError", "NothingToDoError",
    "PhotoError", "SourceError", "VideoError", "WriteError", "first_line",
]  # fmt: skip


def first_line(error):
    """The first line of an exception's text, without its full stop; the class name if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__


class MaskHubError(Exception):
    """Base of every error that a user of maskhub can fix."""


class PhotoError(MaskHubError):
    """A photo that can't be read, or whose size is out of bounds."""


class NoFaceError(PhotoError):
    """A photo in which no face was found."""


class NothingToDoError(NoFaceError):
    """A photo with faces, none of which needs the change that was asked for."""


class VideoError(MaskHubError):
    """A film that can't be read or written."""


class WriteError(MaskHubError):
    """A file or folder that can't be written: disk full, no permission, or a missing parent."""


class SourceError(MaskHubError):
    """A training source (folder or Hub dataset) that is missing, empty or of the wrong shape."""


class ConfigError(MaskHubError):
    """An option or a recipe with an impossible value."""


class CheckpointError(MaskHubError):
    """A checkpoint that can't be written, loaded or resumed from."""


class DivergenceError(MaskHubError):
    """A training run whose losses are no longer finite."""


class HubError(MaskHubError):
    """A request to the Hugging Face Hub that failed: no such repository, no access, or no network."""
