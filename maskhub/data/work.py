"""Options of ``maskhub dataset build`` and ``curate``, on the command line and in Python alike."""

from typing import Annotated, Literal

from pydantic import Field

from maskhub.options import Count, OptionSet, Positive

__all__ = ["Shards", "Work"]


class Work(OptionSet):
    """Crops and processes."""

    crops: Annotated[int | None, Field(ge=32, le=2048)] = None
    """Write aligned crops of faces of this side in pixels instead of whole photos."""
    workers: Count | None = None
    """Worker processes, per rank or Ray task; default: one per processor core, with Ray one per task."""


class Shards(Work):
    """Shards and processes of the dataset."""

    shard_size: Positive = 1000
    """Photos of a folder per shard; a dataset on the Hub has a shard per file, or several of a large file."""
    engine: Literal["local", "ray"] = "local"
    """local: processes of this machine. ray: a task per shard on a Ray cluster, the one of RAY_ADDRESS or a new one."""
