"""``maskhub dataset build | curate | draw``: datasets made of photos, and drawn ones."""

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
    """What a row and a shard are, and by how many processes they are made."""

    crops: Annotated[int, Field(ge=32, le=2048)] | None = None
    """Side in pixels of aligned crops, a row for each face; whole photos if not given."""
    shard_size: Positive = 1000
    """Source rows a shard."""
    workers: Count | None = None
    """Processes of each rank; one a processor core if not given."""


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

    Under `accelerate launch` or torchrun each process takes its share of the rows; OUTPUT is one folder for all. The
    same command goes on where a run was broken off.

    Args:
        source: A folder, or user/dataset[/config][:split][@revision][#column] on the Hub, which is streamed.
        output: Folder for the dataset.
        wearing: Which masks, how they are worn and by how many.
        shards: What a row and a shard are, and by how many processes they are made.
        push_to_hub: Repository id of the dataset to upload it to, with a card.
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
    """Keep the photos that are fit for training, and report why each other one is not.

    Photos are copied as they are, with their other columns; OUTPUT/report.json and report.csv say what was dropped and
    why. Only the largest face is measured.

    Args:
        source: A folder, or user/dataset[/config][:split][@revision][#column] on the Hub, which is streamed.
        output: Folder for the photos that are kept.
        min_faces: Fewest faces of a photo.
        max_faces: Most faces of a photo; 0 for any number.
        min_size: Smallest width of the face in pixels.
        min_sharpness: Smallest sharpness; see docs/data.md. 0 keeps blurred ones.
        max_yaw: Widest turn to the side in degrees.
        max_pitch: Widest turn up or down in degrees.
        max_roll: Widest tilt in degrees.
        mask: Keep only faces that seem to wear a mask, or none: a rough rule, see docs/data.md.
        crops: Write aligned crops of this side in pixels instead of the photos.
        workers: Processes; one a processor core if not given.
        overwrite: Do everything again.
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
    """Write the built-in pixel faces as a folder: PNG files, and metadata.csv with every attribute.

    Args:
        source: builtin:pixel-faces[/light|/medium|/dark][/mask|/scarf|/covered][/uniform|/varied][:train|:test|:all].
        output: Folder for them.
    """
    from maskhub.data.pixel_faces import write_folder

    print(f"{write_folder(source, output)} faces drawn to {output}")
    return 0


def _number(name, default):
    value = os.environ.get(name) or str(default)
    if not value.isdigit():
        raise ConfigError(f"the environment's {name} is {value!r}; it must be a whole number.")
    return int(value)
