"""``maskhub mask``: masks by rule or by a network, on photos, data sets and films."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from maskhub.commands.photos import Output, Translating, check_png, report_line, translate_source
from maskhub.data.masked import Wearing
from maskhub.errors import ConfigError, PhotoError
from maskhub.film_file import is_film
from maskhub.options import Count, OptionSet
from maskhub.pipelines.load import open_pipeline

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
    """Pipeline folder or Hub id of a network that puts the masks on instead."""
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
        """Whether something is asked for that films can't have."""
        return bool(self.regions or self.preview) or self.boxes != "none" or self.workers is not None


MAKING = Making()


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
        wearing: Masks, and how and by how many they are worn; with --model only portion, seed and scores apply.
        making: Outputs, worker processes, and a network instead of the rules.
        force: Also put masks on faces that already wear one, without running the mask detector.
    """
    if making.model is not None:
        used = ("seed", "portion", "scores", "min_quality", "own_boxes")
        if wearing != Wearing(**{name: getattr(wearing, name) for name in used}) or making.workers is not None:
            raise ConfigError("style, colour, wrongly-worn and workers can't be used with --model: leave them out.")
        if wearing.portion == 1 and not wearing.min_quality and not making.extra:
            return translate_source("mask", Path(input), output, making, force, wearing.seed)
    source, wearing = Path(input).expanduser(), wearing.model_copy(update={"bare_only": not force})
    check_png(making.png, source)
    if is_film(source):
        if making.extra or making.model or wearing.min_quality:
            raise ConfigError(
                "regions, boxes, preview, workers and min-quality can't be used with a film: leave them out."
            )
        from maskhub.commands.film import mask_by_rule
        from maskhub.data.batch import check_not_input

        check_not_input(source, output)
        return mask_by_rule(source, output, wearing, force, making.provenance)
    if source.is_file():
        if making.preview:
            raise ConfigError("--preview is for folders and datasets: leave it out.")
        return _mask_one(source, output, wearing, making)
    from maskhub.data.masked_files import mask_source
    from maskhub.data.workers import processors, useful_threads
    from maskhub.faces.photo import PHOTO_SUFFIXES

    on_hub = input.count("/") in (1, 2) and source.suffix.lower() not in PHOTO_SUFFIXES
    if not (source.exists() or input.startswith("builtin:") or on_hub):
        raise PhotoError(f"there is no photo or folder {input}.")
    if making.preview:
        return _preview(input, wearing, making)
    names = ("regions", "boxes", "overwrite", "png", "provenance")
    options = {name: getattr(making, name) for name in names} | {"way": _way(making, single=False)}
    if making.model:  # in threads, which share the network
        running = {"threads": useful_threads()}
    else:
        running = {"workers": processors() if making.workers is None else making.workers}
    return report_line(mask_source(input, output, wearing, **running, **options), output)


def _way(making, single):
    """By rule, or by the network of --model."""
    from maskhub.data.masked_files import BY_RULE

    if making.model is None:
        return BY_RULE
    from maskhub.commands.network_masks import network_way

    return network_way(open_pipeline(making.model, making.device, single))


def _preview(spec, wearing, making):
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
