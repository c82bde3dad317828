"""The only place where film files are opened: ordinary containers, and nothing but the file itself.

FFmpeg detects the format from a file's content, not its name. By default it would follow a playlist named ``clip.mp4``
to any other file or host that the playlist names, and treat ``12:30:05.mp4`` as a URL.
"""

from pathlib import Path

from maskhub.errors import VideoError

__all__ = ["film_url", "is_film", "open_film"]

_CONTAINERS = "mov,matroska,avi,flv,mpeg,mpegts,mpegvideo,asf,ogg"
"""FFmpeg's names of the accepted containers: none of them can refer to other files."""

_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)


def is_film(path):
    """Whether a path has a film's suffix and is not a folder; FFmpeg decides what can be read."""
    return Path(path).suffix.lower() in _SUFFIXES and not Path(path).is_dir()


def film_url(path):
    """A path in the form FFmpeg accepts, with any characters, bytes and colons."""
    return f"file:{path}"


def open_film(path):
    """Open a film's file for reading, as ``av.container.InputContainer``. VideoError if it is missing, damaged, or not
    a film in one of the accepted containers."""
    import av  # imported late: it is slow to import, and photos don't need it

    if not Path(path).is_file():
        raise VideoError(f"there is no film {path}.")
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        return av.open(film_url(path), options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise VideoError(
            f"{path} can't be read as a film: it is damaged, cut short or not in a supported container "
            "(MP4, MOV, MKV, WebM, AVI, MPEG, WMV, FLV or Ogg)."
        ) from error
