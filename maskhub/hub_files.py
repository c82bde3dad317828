"""Download files from the Hugging Face Hub and verify their checksums."""

import hashlib
from contextlib import suppress
from pathlib import Path

from maskhub.errors import CheckpointError
from maskhub.hub_errors import hub_errors

__all__ = ["HUB_OPTIONS", "hub_file", "hub_folder"]

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")
"""Options that our functions pass on to huggingface_hub's downloads."""
PIECE = 1 << 20


def hub_file(repo, name, what, **options):
    """The local path of one file in a model repository ``user/name``, downloaded to the cache if needed.

    ``what`` is being attempted, as in :func:`~maskhub.hub_errors.hub_errors`; ``options`` are of :data:`HUB_OPTIONS`.
    CheckpointError if there is no such repository or file, no access, no connection, or a wrong checksum; a wrong file
    is deleted from the cache.
    """
    with hub_errors(what, CheckpointError):
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(repo, name, **options))
    _verify(path, what)
    return path


def hub_folder(repo, what, allow, ignore=(), **options):
    """The local folder of a model repository with the files that match patterns; otherwise like :func:`hub_file`."""
    with hub_errors(what, CheckpointError):
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import filter_repo_objects

        folder = Path(snapshot_download(repo, allow_patterns=allow, ignore_patterns=list(ignore), **options))
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    for name in filter_repo_objects(names, allow_patterns=allow, ignore_patterns=list(ignore)):
        _verify(folder / name, what)
    return folder


def _verify(path, what):
    """Refuse a cached file whose checksum differs from the one in its cache name."""
    stored = path.resolve()
    checksum = stored.name
    if stored.parent.name != "blobs" or len(checksum) not in (40, 64):
        return  # caches without symbolic links, as on some Windows machines, store no checksums
    digest = hashlib.sha256()  # for large files
    if len(checksum) == 40:  # git's hash, for small ones
        digest = hashlib.sha1(b"blob %d\0" % stored.stat().st_size)
    with open(stored, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    if digest.hexdigest() != checksum:
        for damaged in (stored, path):
            with suppress(OSError):
                damaged.unlink()
        raise CheckpointError(
            f"{what} failed: {path.name} does not have the checksum that the Hub gives. It was damaged in transfer or "
            "on this disk and has been deleted from the cache. Run the same command again to download it."
        )
