"""Find the weights of feature networks: in a file, a folder, or a repository on the Hugging Face Hub.

They are too large to be bundled, or their licence forbids it. Each has a known file name. Set its location with
``given``, ``--weights-dir`` on the command line, or the environment variable ``MASKHUB_WEIGHTS``.
"""

import os
from pathlib import Path

from maskhub.errors import CheckpointError
from maskhub.hub_files import hub_file

__all__ = ["VARIABLE", "find_weights"]

VARIABLE = "MASKHUB_WEIGHTS"


def find_weights(file_name, given=None):
    """The path of a weights file such as ``"mobilefacenet.safetensors"``; files from the Hub are downloaded to its
    cache.

    ``given`` is the file itself, a folder that contains it, or a Hub repository ``user/name[@revision]`` that does; by
    default the environment variable ``MASKHUB_WEIGHTS``. If the file is not found, a CheckpointError names it and the
    ways to provide it.
    """
    place = given if given is not None else os.environ.get(VARIABLE)
    if not place:
        raise CheckpointError(
            f"the weights {file_name} are missing. Give the folder or Hub repository that contains them with "
            f"--weights-dir or the environment variable {VARIABLE}."
        )
    path = Path(place).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        if (path / file_name).is_file():
            return path / file_name
        raise CheckpointError(
            f"the weights {file_name} are not in {path}. Put them there, or give another folder or Hub repository with "
            f"--weights-dir or the environment variable {VARIABLE}."
        )
    if path.is_absolute() or len(path.parts) != 2:
        raise CheckpointError(
            f"the weights {file_name} are missing: there is no folder {place}, and a Hub id has the form user/name."
        )
    repo, _, revision = str(place).partition("@")
    what = f"the weights {file_name} are missing: their download from {repo} on the Hub"
    return hub_file(repo, file_name, what, revision=revision or None)
