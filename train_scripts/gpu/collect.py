"""Cut the results of runs into pieces of a limited size, and join them again.

    python train_scripts/gpu/collect.py cut RUNS --output OUT --mib 15         # there
    python train_scripts/gpu/collect.py join OUT --output RUNS                 # here

A machine that is lent may hand back only few, small files.
"""

import hashlib
import io
import sys
import tarfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import tyro

from maskhub.errors import MaskHubError
from maskhub.files import write_file


def cut(
    runs: Annotated[Path, tyro.conf.Positional], output: Path, mib: float = 15.0, skip: tuple[str, ...] = ()
) -> None:
    """Write the folder RUNS as piece-00, piece-01, ... and their hash.

    Args:
        runs: folder of runs.
        output: folder for the pieces.
        mib: size of a piece.
        skip: name patterns of files and folders that are left out, such as "*/checkpoints/*".
    """
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path in sorted(runs.rglob("*")):
            name = path.relative_to(runs).as_posix()
            if path.is_file() and not any(fnmatch(name, pattern) for pattern in skip):
                archive.add(path, name)
    data, size = data.getvalue(), int(mib * 2**20)
    for number, start in enumerate(range(0, len(data), size)):
        write_file(output / f"piece-{number:02}", data[start : start + size])
    write_file(output / "pieces.sha256", hashlib.sha256(data).hexdigest() + "\n")


def join(pieces: Annotated[Path, tyro.conf.Positional], output: Path) -> None:
    """Join the pieces of a folder and unpack them.

    Args:
        pieces: folder with the pieces.
        output: folder for the runs.
    """
    data = b"".join(path.read_bytes() for path in sorted(pieces.glob("piece-*")))
    if hashlib.sha256(data).hexdigest() != (pieces / "pieces.sha256").read_text().strip():
        raise MaskHubError(f"the pieces in {pieces} are damaged or not complete: fetch them again.")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r") as archive:
        archive.extractall(output, filter="data")


if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict({"cut": cut, "join": join}, description=__doc__)
    except MaskHubError as error:
        sys.exit(str(error))
