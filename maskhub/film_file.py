"""The one place where film files are opened: ordinary containers, and nothing but the file itself.

FFmpeg goes by a file's content, not by its name. Left to itself it would follow a playlist named ``clip.mp4`` to any
other file or host that the playlist names, and take ``12:30:05.mp4`` for an address.
"""

from pathlib import Path

from maskhub.errors import VideoError

__all__ = ["film_url", "open_film"]

_CONTAINERS = "mov,matroska,avi,flv,mpeg,mpegts,mpegvideo,asf,ogg"
"""FFmpeg's names of the containers that are read: none of them refers to other files."""


def film_url(path):
    """A path as FFmpeg takes it, whatever letters, bytes and colons are in it."""
    return f"file:{path}"


def open_film(path):
    """Open a film's file for reading.

    Returns:
        ``av.container.InputContainer``.

    Raises:
        VideoError: no such file, damaged, or not a film in one of the containers that are read.
    """
    import av  # late: it takes a while, and photos don't need it

    if not Path(path).is_file():
        raise VideoError(f"there is no film {path}.")
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        return av.open(film_url(path), options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise VideoError(
            f"{path} can't be read as a film: it is damaged, cut short or not in a container that is read "
            "(MP4, MOV, MKV, WebM, AVI, MPEG, WMV, FLV or Ogg)."
        ) from error
