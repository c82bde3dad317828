"""The folder for what people bring, train and answer, which they expect to find again."""

import os
from pathlib import Path

__all__ = ["home_folder"]


def home_folder():
    """``MASKHUB_HOME``, by default ``~/.local/share/maskhub`` (or ``maskhub`` in ``XDG_DATA_HOME``).

    No cache, which may be wiped at any time. It is not made here.
    """
    home = os.environ.get("MASKHUB_HOME")
    # the XDG base directory specification: a relative path is none
    data = os.environ.get("XDG_DATA_HOME", "")
    data = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    return Path(home).expanduser() if home else data / "maskhub"
