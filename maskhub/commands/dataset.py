"""``maskhub dataset build | curate | draw``: make datasets from photos, and draw faces."""

import os
import sys
from typing import Annotated, Literal

import tyro
from pydantic import Field

from maskhub.commands.photos import ANY_MASKS, Masking, Output, report_line
from maskhub.errors import ConfigError
from maskhub.options import Count, OptionSet, Positive

__all__ = ["build", "curate", "draw"]

Spec = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]


class Shards(OptionSet):
    """Rows, shards and processes of the dataset."""

    crops: Annotated[int, Field(ge=32, le=2048)] | None = None
    """Write aligned crops of this side in pixels, one row per face; default: whole photos."""
    shard_size: Positive = 1000
    """Source rows per shard."""
    workers: Count | None = None
    """Worker processes per rank; default: one per processor core."""


SHARDS = Shards()


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
    report = build_dataset(
        source,
        output,
        wearing,
        crops=shards.crops,
        shard_size=shards.shard_size,
        workers=workers,
        rank=rank,
        world=world,
    )
    code = report_line(report, output)
    if push_to_hub and report.last:
        from maskhub.hub import push_folder

        print(f"pushed to {push_folder(output, push_to_hub, repo_type='dataset', private=private)}")
    return code


def curate(
    source: Spec,
    output: Output,
    /,
    min_faces: int = 1,
    max_faces: int = 1,
    min_size: int = 64,
    min_sharpness: float = 0.6,
    max_yaw: float = 40.0,
    max_pitch: float = 35.0,
    max_roll: float = 45.0,
    mask: Literal["any", "masked", "unmasked"] = "any",
    crops: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
) -> int:
    """Select the photos that are suitable for training, and report why the others are not.

    Photos are copied unchanged with their metadata; OUTPUT/report.json and report.csv list which were dropped and why.
    Only the largest face is measured.

    Args:
        source: A folder, or user/dataset[/config][:split][@revision][#column] on the Hub, which is streamed.
        output: Folder for the selected photos.
        min_faces: Minimum number of faces in a photo.
        max_faces: Maximum number of faces in a photo; 0 for any number.
        min_size: Minimum width of the face in pixels.
        min_sharpness: Minimum sharpness; see docs/data.md. 0 keeps blurred photos.
        max_yaw: Maximum turn to the side in degrees.
        max_pitch: Maximum turn up or down in degrees.
        max_roll: Maximum tilt in degrees.
        mask: Keep only faces that seem masked, or only unmasked ones; a rough rule, see docs/data.md.
        crops: Write aligned crops of this side in pixels instead of photos.
        workers: Worker processes; default: one per processor core.
        overwrite: Process all photos again.
    """
    from maskhub.data.curate import Criteria, curate_source
    from maskhub.data.workers import processors

    criteria = Criteria(min_faces, max_faces, min_size, min_sharpness, max_yaw, max_pitch, max_roll, mask)
    report = curate_source(
        source, output, criteria, crops=crops, workers=processors() if workers is None else workers, overwrite=overwrite
    )
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
