"""The errors that maskhub raises on purpose: each message says what was wrong and what to do.

Every one is a :class:`MaskHubError`, so that ``except MaskHubError`` catches all that a user can mend, and the
command line prints one line and exits with 2 instead of showing a traceback.
"""

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DivergenceError",
    "HubError",
    "MaskHubError",
    "NoFaceError",
    "PhotoError",
    "SourceError",
    "VideoError",
    "WriteError",
    "first_line",
]


def first_line(error):
    """The first line of any exception's text, without its full stop; the name of its class where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__


class MaskHubError(Exception):
    """Base of every error that a user of maskhub can mend."""


class PhotoError(MaskHubError):
    """A photo that can't be read, or whose size is out of bounds."""


class NoFaceError(PhotoError):
    """A photo in which no face was found."""


class VideoError(MaskHubError):
    """A film that can't be read or written."""


class WriteError(MaskHubError):
    """A file or folder that can't be written: no room, no permission, or no such place."""


class SourceError(MaskHubError):
    """A training source (folder or Hub dataset) that is missing, empty or of the wrong shape."""


class ConfigError(MaskHubError):
    """An option or a recipe with an impossible value."""


class CheckpointError(MaskHubError):
    """A checkpoint that can't be written, read or resumed from."""


class DivergenceError(MaskHubError):
    """A training run whose losses are no numbers any more."""


class HubError(MaskHubError):
    """A request to the Hugging Face Hub that failed: no such repository, no right to it, or no network."""
