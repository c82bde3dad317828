"""``maskhub mask``: masks by rule or by a network, on photos, data sets and films."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from maskhub.commands.photos import Output, Translating, check_png, report_line, translate_source
from maskhub.data.masked import Wearing
from maskhub.errors import ConfigError, PhotoError
from maskhub.faces.photo import PHOTO_SUFFIXES
from maskhub.film_file import is_film
from maskhub.options import Count, OptionSet, flag, refuse
from maskhub.pipelines.load import open_pipeline
from maskhub.source_spec import hub_dataset, shard_folder

__all__ = ["ANY_MASKS", "Masking", "Previewing", "mask"]

Source = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
Masking = tyro.conf.OmitArgPrefixes[Wearing]
ANY_MASKS = Wearing()


class Previewing(OptionSet):
    """A preview of the result before a long run."""

    preview: Path | None = None
    """Mask only some of the photos, and write them into this one picture: each without and with its mask."""
    preview_photos: Annotated[int, Field(ge=1, le=200)] = 16
    """Number of photos in the preview, drawn at random."""

    @model_validator(mode="after")
    def _check_preview(self):
        if self.preview is None:
            self.refuse("without --preview", "preview_photos")
        return self

    def write_preview(self, rows, pictures, seed):
        """Write the picture, and print how many photos failed; returns the exit code."""
        from maskhub.data.photo_file import save_photo
        from maskhub.data.preview import preview

        sheet, processed, failed = preview(rows, pictures, self.preview_photos, seed)
        save_photo(sheet, self.preview)
        print(f"wrote {self.preview}: {processed - failed} of {processed} photos masked")
        return 0


class Making(Previewing, Translating):
    """Outputs, worker processes, and a network instead of the rules."""

    model: str | None = None
    """Pipeline folder, Hub id or name (`maskhub models list`) of a network that puts the masks on instead."""
    regions: Path | None = None
    """Folder for the regions, an 8-bit PNG per photo: 255 under the mask, 0 where nothing changed."""
    boxes: Literal["coco", "voc", "yolo", "none"] = "none"
    """Boxes of faces and masks: coco (OUTPUT/annotations.json), voc (OUTPUT/annotations/*.xml; in Annotations if the
    photos are in JPEGImages), or yolo (*.txt next to the photos, or in labels if they are in images, and
    OUTPUT/data.yaml)."""
    workers: Count | None = None
    """Worker processes; default: one per processor core."""

    @property
    def extra(self):
        """Names of the given options that films can't have."""
        given = [name for name in ("regions", "preview", "workers") if getattr(self, name) is not None]
        return given + (["boxes"] if self.boxes != "none" else [])


MAKING = Making()
BY_NETWORK = ("seed", "portion", "scores", "min_quality", "own_boxes")
"""Options of masks that a network has, too."""


def mask(
    input: Source,
    output: Output,
    /,
    wearing: Masking = ANY_MASKS,
    making: tyro.conf.OmitArgPrefixes[Making] = MAKING,
    force: bool = False,
) -> int:
    """Put face masks on a photo, a folder of photos, a Hub dataset, or a film.

    Masks are drawn by rule, or with --model by a trained network. Existing results are kept, so an interrupted run
    continues when it is started again; photos that fail are listed in OUTPUT/failures.csv.

    Args:
        input: A photo, a folder, user/dataset[/config][:split][@revision][#column] on the Hub, builtin:portraits, or a
            film such as clip.mp4.
        output: A file for a photo or a film, else a folder.
        wearing: Masks, and how and by how many they are worn; with --model only portion, seed, own-boxes,
            scores and min-quality apply.
        making: Outputs, worker processes, and a network instead of the rules.
        force: Also put masks on faces that already wear one, without running the mask detector.
    """
    source, film = Path(input).expanduser(), is_film(input)
    missing = film or source.suffix.lower() in PHOTO_SUFFIXES  # if there is no such file
    dataset = not missing and bool(hub_dataset(input) or shard_folder(input))
    if making.model is not None:
        drawn = [name for name in Wearing.model_fields if getattr(wearing, name) != getattr(ANY_MASKS, name)]
        workers = ["workers"] if making.workers is not None else []
        refuse("with --model", [name for name in drawn if name not in BY_NETWORK] + workers)
        recorded = dataset or making.extra or _selecting(wearing) or wearing.scores == "fast"
        if wearing.portion == 1 and not recorded:
            return translate_source("mask", source, output, making, force, wearing.seed)
    else:
        making.refuse("without --model", "device")
    wearing = wearing.model_copy(update={"bare_only": not force})
    check_png(making.png, source)
    if film:
        return _mask_film(source, output, wearing, making, force)
    if source.is_file():
        return _mask_one(source, output, wearing, making)
    if not (source.exists() or input.startswith("builtin:") or dataset):
        raise PhotoError(f"there is no photo or folder {input}.")
    return (_preview if making.preview else _mask_many)(input, output, wearing, making)


def _selecting(wearing):
    """Names of the given options that choose among faces and results."""
    own_boxes = ["own_boxes"] if wearing.own_boxes not in ("auto", "none") else []
    return own_boxes + (["min_quality"] if wearing.min_quality else [])


def _way(making, single):
    """By rule, or by the network of --model."""
    from maskhub.data.masked_files import BY_RULE

    if making.model is None:
        return BY_RULE
    from maskhub.commands.network_masks import network_way

    return network_way(open_pipeline(making.model, making.device, single))


def _mask_film(source, output, wearing, making, force):
    from maskhub.commands.film import mask_by_rule
    from maskhub.data.batch import check_not_input

    scores = ["scores"] if wearing.scores != "all" else []
    refuse("with a film", making.extra + _selecting(wearing) + scores)
    refuse("with a film and --model", ["portion"] if making.model else [])
    check_not_input(source, output)
    return mask_by_rule(source, output, wearing, force, making.provenance)


def _mask_many(spec, output, wearing, making):
    from maskhub.data.masked_files import mask_source
    from maskhub.data.workers import processors, useful_threads

    names = ("regions", "boxes", "overwrite", "png", "provenance")
    options = {name: getattr(making, name) for name in names} | {"way": _way(making, single=False)}
    if making.model:  # in threads, which share the network
        running = {"threads": useful_threads()}
    else:
        running = {"workers": processors() if making.workers is None else making.workers}
    return report_line(mask_source(spec, output, wearing, **running, **options), output)


def _preview(spec, output, wearing, making):
    from functools import partial

    from maskhub.data.column_boxes import open_own_boxes
    from maskhub.data.preview import masked_pictures
    from maskhub.data.rows import open_rows

    way, rows = _way(making, single=False), open_rows(spec)

    def mask(pixels, name, own=None):
        return way.mask(pixels, wearing, name, own=own)

    own = open_own_boxes(rows, wearing.own_boxes, wanted=making.boxes != "none")
    return making.write_preview(rows, partial(masked_pictures, mask, own), wearing.seed)


def _mask_one(source, output, wearing, making):
    from maskhub.data.boxes import box_files
    from maskhub.data.masked_files import mask_photo
    from maskhub.files import write_file

    for name in ("preview", "own_boxes", "workers"):
        if name in making.extra + _selecting(wearing):
            raise ConfigError(f"{flag(name)} is for folders and datasets: leave it out.")
    region = making.regions and making.regions / output.with_suffix(".png").name
    way = _way(making, single=True)
    record = mask_photo(source, output, wearing, source.name, region, making.provenance, way)
    if making.boxes != "none":
        suffix = {"coco": ".json", "voc": ".xml", "yolo": ".txt"}[making.boxes]
        write_file(output.with_suffix(suffix), next(iter(box_files({output.name: record}, making.boxes).values())))
    masked = sum(bool(face["style"]) for face in record["faces"])
    already = sum(face["worn"] == "already masked" for face in record["faces"])
    left = f", {already} left with the mask that {'it wears' if already == 1 else 'they wear'}" if already else ""
    print(f"wrote {output}: {masked} of {len(record['faces'])} faces masked{left}")
    return 0
