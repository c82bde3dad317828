"""The folder for user data that must persist: uploads, trained models and survey answers."""

import os
from pathlib import Path

__all__ = ["home_folder"]


def home_folder():
    """``MASKHUB_HOME``, by default ``~/.local/share/maskhub`` (or ``maskhub`` in ``XDG_DATA_HOME``).

    Not a cache, which may be deleted at any time. The folder is not created here.
    """
    home = os.environ.get("MASKHUB_HOME")
    # the XDG base directory specification says to ignore relative paths
    data = os.environ.get("XDG_DATA_HOME", "")
    data = Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share"
    return Path(home).expanduser() if home else data / "maskhub"
