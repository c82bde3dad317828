"""Where the weights of feature networks come from: a file, a folder, or a repository on the Hugging Face Hub.

They are too large, or under too narrow a licence, to come with the package. Each is known by its file name; tell where
it lies with ``given``, with ``--weights-dir`` on the command line, or with the environment's ``MASKHUB_WEIGHTS``.
"""

import os
from pathlib import Path

from maskhub.errors import CheckpointError
from maskhub.hub_files import hub_file

__all__ = ["VARIABLE", "find_weights"]

VARIABLE = "MASKHUB_WEIGHTS"


def find_weights(file_name, given=None):
    """The path of a weights file.

    Args:
        file_name: such as ``"mobilefacenet.safetensors"``.
        given: the file itself, a folder that holds it, or a Hub repository ``user/name[@revision]`` that does; the
            environment's ``MASKHUB_WEIGHTS`` if not given.

    Returns:
        ``pathlib.Path``; files of the Hub are downloaded into its cache.

    Raises:
        CheckpointError: it is in none of these; the message names the file and the ways to give it.
    """
    place = given if given is not None else os.environ.get(VARIABLE)
    if not place:
        raise CheckpointError(
            f"the weights {file_name} are missing: give the folder or Hub repository that holds them with "
            f"--weights-dir, or in the environment's {VARIABLE}."
        )
    path = Path(place).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        if (path / file_name).is_file():
            return path / file_name
        raise CheckpointError(
            f"the weights {file_name} are not in {path}: put them there, or give another folder or Hub repository with "
            f"--weights-dir or the environment's {VARIABLE}."
        )
    if path.is_absolute() or len(path.parts) != 2:
        raise CheckpointError(
            f"the weights {file_name} are missing: there is no folder {place}, and a Hub id looks like user/name."
        )
    repo, _, revision = str(place).partition("@")
    what = f"the weights {file_name} are missing: their download from {repo} on the Hub"
    return hub_file(repo, file_name, what, revision=revision or None)
