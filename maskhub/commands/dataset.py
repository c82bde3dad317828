"""``maskhub dataset build | curate | draw``: make datasets from photos, and draw faces."""

import os
from typing import Annotated

import tyro

from maskhub.commands.mask import ANY_MASKS, Masking, Previewing
from maskhub.commands.photos import Output, exit_code
from maskhub.data.criteria import Criteria
from maskhub.data.work import Shards, Work
from maskhub.errors import ConfigError
from maskhub.options import refuse
from maskhub.source_spec import hub_dataset, shard_folder

__all__ = ["build", "curate", "draw"]

Spec = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
Target = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]


class Building(Previewing, Shards):
    """Shards and processes of the dataset."""


WORK, BUILDING, CRITERIA = Work(), Building(), Criteria()


def build(
    source: Spec,
    output: Target,
    /,
    wearing: Masking = ANY_MASKS,
    shards: tyro.conf.OmitArgPrefixes[Building] = BUILDING,
    push_to_hub: Annotated[str | None, tyro.conf.arg(metavar="USER/NAME")] = None,
    private: bool = False,
) -> int:
    """Write pairs of unmasked and masked photos as parquet shards, for datasets.load_dataset.

    Any number of processes on any machines can run this command together: under `accelerate launch`, torchrun or Slurm,
    with --engine ray, or started by hand. Run the same command again to continue an interrupted run.

    Args:
        source: A folder, or user/dataset[/config][:split][@revision][#column] on the Hub, which is streamed.
        output: Folder for the dataset, hf://datasets/user/name, or another address of fsspec, such as s3://bucket/name.
        wearing: Masks, and how and by how many they are worn.
        shards: Shards and processes.
        push_to_hub: Also upload the shards of a folder to this repository, user/name, as they are made.
        private: Make a new repository private.
    """
    from maskhub.data.shards import build_dataset
    from maskhub.data.workers import processors

    if hub_dataset(source) or shard_folder(source):
        shards.refuse("with a dataset that has shards of its own", "shard_size")
    if push_to_hub is None and not output.startswith("hf://"):
        refuse("without --push-to-hub", ["private"] if private else [])
    if shards.preview:
        return _preview(source, wearing, shards)
    rank, world, neighbours = _ranks()
    workers = shards.workers
    if workers is None:
        workers = 1 if shards.engine == "ray" else max(1, processors() // neighbours)
    options = {"crops": shards.crops, "shard_size": shards.shard_size, "workers": workers, "engine": shards.engine}
    where = {"rank": rank, "world": world, "push_to_hub": push_to_hub, "private": private or None}
    report = build_dataset(source, output, wearing, **options, **where)
    print(report.describe())
    if report.missing:
        missing = "1 shard is" if report.missing == 1 else f"{report.missing} shards are"
        print(f"{missing} still missing: run the same command again to continue.")
    elif report.url:
        print(f"pushed to {report.url}")
    return exit_code(report, output)


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
    return exit_code(report, output)


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


def _preview(source, wearing, shards):
    from functools import partial

    from maskhub.data.plan import plan_build
    from maskhub.data.preview import paired_pictures

    plan = plan_build(source, wearing, shards.crops, shards.shard_size)
    return shards.write_preview(plan.rows, partial(paired_pictures, plan.work), wearing.seed)


def _ranks():
    """The rank (None without ranks), the number of ranks, and how many of them share this machine."""
    if os.environ.get("WORLD_SIZE"):  # accelerate and torchrun
        return _number("RANK", 0), _number("WORLD_SIZE", 1), _number("LOCAL_WORLD_SIZE", 1)
    tasks, jobs = _number("SLURM_NTASKS", 1), _number("SLURM_ARRAY_TASK_COUNT", 1)
    if tasks * jobs == 1:
        return None, 1, 1
    step = max(1, _number("SLURM_ARRAY_TASK_STEP", 1))
    job = (_number("SLURM_ARRAY_TASK_ID", 0) - _number("SLURM_ARRAY_TASK_MIN", 0)) // step
    return job * tasks + _number("SLURM_PROCID", 0), jobs * tasks, 1  # processors() are those of a Slurm task


def _number(name, default):
    value = os.environ.get(name) or str(default)
    if not value.isdigit():
        raise ConfigError(f"the environment variable {name} is {value!r}; it must be a whole number.")
    return int(value)
