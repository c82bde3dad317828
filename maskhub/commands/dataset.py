"""``maskhub dataset build | curate | draw``: make datasets from photos, and draw faces."""

import os
import sys
from typing import Annotated

import tyro
from pydantic import Field

from maskhub.commands.photos import ANY_MASKS, Masking, Output, report_line
from maskhub.data.criteria import Criteria
from maskhub.errors import ConfigError
from maskhub.options import Count, OptionSet, Positive

__all__ = ["build", "curate", "draw"]

Spec = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]


class Work(OptionSet):
    """Crops and processes."""

    crops: Annotated[int, Field(ge=32, le=2048)] | None = None
    """Write aligned crops of faces of this side in pixels instead of whole photos."""
    workers: Count | None = None
    """Worker processes, per rank; default: one per processor core."""


class Shards(Work):
    """Rows, shards and processes of the dataset."""

    shard_size: Positive = 1000
    """Source rows per shard."""


WORK, SHARDS, CRITERIA = Work(), Shards(), Criteria()


def build(
    source: Spec,
    output: Output,
    /,
    wearing: Masking = ANY_MASKS,
    shards: tyro.conf.OmitArgPrefixes[Shards] = SHARDS,
    push_to_hub: Annotated[str | None, tyro.conf.arg(metavar="USER/NAME")] = None,
    private: bool = False,
) -> int:
    """Write pairs of unmasked and masked photos as parquet shards, for datasets.load_dataset.

    Under `accelerate launch` or torchrun each process takes its share of the rows; all use the same OUTPUT folder. Run
    the same command again to continue an interrupted run.

    Args:
        source: A folder, or user/dataset[/config][:split][@revision][#column] on the Hub, which is streamed.
        output: Folder for the dataset.
        wearing: Masks, and how and by how many they are worn.
        shards: Rows, shards and processes.
        push_to_hub: Upload the dataset with a card to this repository, user/name.
        private: Make a new repository private.
    """
    from maskhub.data.shards import build_dataset
    from maskhub.data.workers import processors

    rank, world = _number("RANK", 0), _number("WORLD_SIZE", 1)
    workers = shards.workers
    if workers is None:
        workers = max(1, processors() // _number("LOCAL_WORLD_SIZE", 1))
    options = {"crops": shards.crops, "shard_size": shards.shard_size, "workers": workers}
    report = build_dataset(source, output, wearing, **options, rank=rank, world=world)
    code = report_line(report, output)
    if push_to_hub and report.last:
        from maskhub.hub import push_folder

        print(f"pushed to {push_folder(output, push_to_hub, repo_type='dataset', private=private)}")
    return code


def curate(
    source: Spec,
    output: Output,
    /,
    criteria: tyro.conf.OmitArgPrefixes[Criteria] = CRITERIA,
    work: tyro.conf.OmitArgPrefixes[Work] = WORK,
    overwrite: bool = False,
) -> int:
    """Select the photos that are suitable for training, and report why the others are not.

    Photos are copied unchanged with their metadata; OUTPUT/report.json and report.csv list which were dropped and why.
    Only the largest face is measured.

    Args:
        source: A folder, or user/dataset[/config][:split][@revision][#column] on the Hub, which is streamed.
        output: Folder for the selected photos.
        criteria: Criteria for photos; only the largest face is measured.
        work: Crops and processes.
        overwrite: Process all photos again.
    """
    from maskhub.data.curate import curate_source
    from maskhub.data.workers import processors

    workers = processors() if work.workers is None else work.workers
    report = curate_source(source, output, criteria, crops=work.crops, workers=workers, overwrite=overwrite)
    print(f"{report.kept_photos} kept, {sum(report.dropped.values())} dropped, {len(report.failures)} failed")
    for reason, count in sorted(report.dropped.items(), key=lambda item: -item[1]):
        print(f"{count:>8} {reason}")
    if report.failures:
        print(f"see {output / 'failures.csv'}", file=sys.stderr)
    return 2 if report.failures else 0


def draw(source: Spec, output: Output, /) -> int:
    """Write one of the built-in sets of faces to a folder, with all attributes in metadata.csv.

    Args:
        source: builtin:portraits[/masked][:train|:test|:all], or
            builtin:pixel-faces[/light|/medium|/dark][/mask|/scarf|/covered][/uniform|/varied][:train|:test|:all].
        output: Folder to write.
    """
    from maskhub.data.pixel_faces import write_folder
    from maskhub.data.portraits import are_portraits, write_portraits

    write = write_portraits if are_portraits(source) else write_folder
    print(f"{write(source, output)} faces written to {output}")
    return 0


def _number(name, default):
    value = os.environ.get(name) or str(default)
    if not value.isdigit():
        raise ConfigError(f"the environment variable {name} is {value!r}; it must be a whole number.")
    return int(value)
