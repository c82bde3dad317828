"""Files from the Hugging Face Hub, held against the checksums that the Hub gives for them."""

import hashlib
from contextlib import suppress
from pathlib import Path

from maskhub.errors import CheckpointError
from maskhub.hub_errors import hub_errors

__all__ = ["HUB_OPTIONS", "hub_file", "hub_folder"]

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")
"""Options of huggingface_hub's downloads that our functions hand on."""
PIECE = 1 << 20


def hub_file(repo, name, what, **options):
    """The local path of one file of a model repository, downloaded into the cache where it isn't there yet.

    Args:
        repo: ``user/name``.
        name: path in the repository.
        what: what is being tried, as in :func:`~maskhub.hub_errors.hub_errors`.
        options: of :data:`HUB_OPTIONS`.

    Raises:
        CheckpointError: no such repository or file, no right to it, no connection, or not the bytes that the Hub
            promises; these are dropped from the cache.
    """
    from huggingface_hub import hf_hub_download

    with hub_errors(what, CheckpointError):
        path = Path(hf_hub_download(repo, name, **options))
    _verify(path, what)
    return path


def hub_folder(repo, what, allow, ignore=(), **options):
    """The local folder of a model repository with the files that match patterns; otherwise as :func:`hub_file`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import filter_repo_objects

    with hub_errors(what, CheckpointError):
        folder = Path(snapshot_download(repo, allow_patterns=allow, ignore_patterns=list(ignore), **options))
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    for name in filter_repo_objects(names, allow_patterns=allow, ignore_patterns=list(ignore)):
        _verify(folder / name, what)
    return folder


def _verify(path, what):
    """Refuse a file of the cache whose bytes don't have the checksum that it lies there under."""
    stored = path.resolve()
    checksum = stored.name
    if stored.parent.name != "blobs" or len(checksum) not in (40, 64):
        return  # a cache without symbolic links, as on some Windows machines, keeps no checksums
    digest = hashlib.sha256()  # of large files
    if len(checksum) == 40:  # git's own, of small ones
        digest = hashlib.sha1(b"blob %d\0" % stored.stat().st_size)
    with open(stored, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    if digest.hexdigest() != checksum:
        for damaged in (stored, path):
            with suppress(OSError):
                damaged.unlink()
        raise CheckpointError(
            f"{what} failed: {path.name} does not have the checksum that the Hub gives. It was damaged on the way or "
            "on this disk, and is deleted from the cache: run the same command again to download it."
        )
