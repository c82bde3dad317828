"""``maskhub mask | unmask | translate | cycle | outline``: the commands on photos."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from maskhub.data.masked import Wearing
from maskhub.errors import ConfigError, PhotoError
from maskhub.film_file import is_film
from maskhub.options import Count, OptionSet
from maskhub.pipelines.load import OnDevice, open_pipeline

__all__ = [
    "ANY_MASKS", "Input", "Masking", "Output", "Previewing", "cycle", "mask", "outline", "report_line", "translate",
    "unmask",
]  # fmt: skip

Input = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
Masking = tyro.conf.OmitArgPrefixes[Wearing]
ANY_MASKS = Wearing()
ESTIMATED = ("expected_error", "likely_poor")
"""Columns that taking masks off adds to the metadata: the estimate of each result, largest face first, separated by
";", and the number of results that are likely poor."""


class Running(OnDevice):
    """The network, and the pictures that it makes."""

    model: str | None = None
    """Pipeline folder or Hub id; default: the bundled checkpoint."""
    provenance: bool = True
    """Record maskhub, the direction and the model in the metadata of each picture."""


class Translating(Running):
    """The network, and the pictures that it makes."""

    overwrite: bool = False
    """Replace existing results."""
    png: bool = False
    """In a folder, write PNG files instead of the photos' own formats."""


class Previewing(OptionSet):
    """A look at the result before a long run."""

    preview: Path | None = None
    """Mask only some of the photos, and write them into this one picture: each without and with its mask."""
    preview_photos: Annotated[int, Field(ge=1, le=200)] = 16
    """Photos of the preview, drawn at random."""

    def write_preview(self, rows, pictures, seed):
        """Write the picture, and print how many photos failed; returns the exit code."""
        from maskhub.data.photo_file import save_photo
        from maskhub.data.preview import preview

        sheet, worked, failed = preview(rows, pictures, self.preview_photos, seed)
        save_photo(sheet, self.preview)
        print(f"wrote {self.preview}: {worked - failed} of {worked} photos masked")
        return 0


class Making(Previewing, Translating):
    """Outputs, worker processes, and a network instead of the rules."""

    model: str | None = None
    """Pipeline folder or Hub id of a network that puts the masks on instead."""
    regions: Path | None = None
    """Folder for the regions, an 8-bit PNG per photo: 255 under the mask, 0 where nothing changed."""
    boxes: Literal["coco", "voc", "yolo", "none"] = "none"
    """Boxes of faces and masks: coco (OUTPUT/annotations.json), voc (OUTPUT/annotations/*.xml), or yolo (*.txt next to
    the photos and OUTPUT/data.yaml)."""
    workers: Count | None = None
    """Worker processes; default: one per processor core."""

    @property
    def extra(self):
        """Whether something is asked for that films can't have."""
        return bool(self.regions or self.preview) or self.boxes != "none" or self.workers is not None


RUNNING, TRANSLATING, MAKING = Running(), Translating(), Making()
Output = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
Source = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]


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
            return _translate("mask", Path(input), output, making, force, wearing.seed)
    source, wearing = Path(input).expanduser(), wearing.model_copy(update={"bare_only": not force})
    _check_png(making.png, source)
    if _is_film(source):
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


def unmask(
    input: Input,
    output: Output,
    /,
    how: tyro.conf.OmitArgPrefixes[Translating] = TRANSLATING,
    force: bool = False,
) -> int:
    """Take the masks off the faces in a photo, a folder of photos, or a film.

    Args:
        input: A photo, a folder, builtin:portraits[/masked], or a film such as clip.mp4.
        output: A file for a photo or a film, a folder for a folder.
        how: The network, and the pictures that it makes.
        force: Also translate faces on which no mask is detected.
    """
    return _translate("unmask", input, output, how, force)


def translate(
    input: Input,
    output: Output,
    /,
    how: tyro.conf.OmitArgPrefixes[Translating] = TRANSLATING,
    seed: int = 0,
) -> int:
    """Take masks off masked faces and put them on unmasked ones, in a photo, a folder of photos, or a film.

    Args:
        input: A photo, a folder, builtin:portraits[/masked], or a film such as clip.mp4.
        output: A file for a photo or a film, a folder for a folder.
        how: The network, and the pictures that it makes.
        seed: For a model that draws random masks: the same seed gives the same masks.
    """
    return _translate("auto", input, output, how, seed=seed)


def cycle(
    input: Input,
    output: Output,
    /,
    start: Literal["mask", "unmask"] = "mask",
    how: tyro.conf.OmitArgPrefixes[Running] = RUNNING,
    force: bool = False,
) -> int:
    """Translate a photo and back: writes photo | translation | reconstruction side by side and prints the cycle error.

    Args:
        input: A photo.
        output: The picture to write.
        start: Direction of the first translation.
        how: The network, and the picture that it makes.
        force: Also translate faces that already wear a mask (with --start unmask: that wear none).
    """
    from maskhub.data.batch import check_not_input, save_photo
    from maskhub.faces.photo import open_photo
    from maskhub.image_file import side_by_side
    from maskhub.provenance import mark

    check_not_input(input, output)
    photo, pipeline = open_photo(input), open_pipeline(how.model, how.device, single=True)
    result = pipeline.cycle(photo, start=start, force=force, details=True)
    sheet = side_by_side([picture.convert("RGB") for picture in (photo, result.there[0], result.images[0])])
    save_photo(mark(sheet, pipeline.provenance("cycle") if how.provenance else None), output)
    errors = ", ".join(f"{error:.2f}" for error in result.cycle_errors[0])
    print(f"wrote {output}; cycle error of each face (mean change, 0 to 255): {errors}")
    return 0


def outline(
    before: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BEFORE")],
    after: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="AFTER")],
    output: Output,
    /,
    regions: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Draw the contour of the changed region on a photo, or on each photo of a folder.

    Args:
        before: The original photo, or a folder.
        after: The result, or a folder with files of the same names; the contour is drawn on these.
        output: The picture to write, or a folder.
        regions: 8-bit region of the photo, or a folder of them, as written by `maskhub mask --regions`; default: found
            by comparing the pictures.
        overwrite: Replace existing results.
    """
    import numpy as np

    from maskhub.data.batch import check_not_input, process_folder, result_path, save_photo
    from maskhub.faces.photo import open_photo, split_alpha
    from maskhub.pipelines.outline import changed
    from maskhub.pipelines.outline import outline as draw

    def compared(path):
        inside = path.relative_to(before) if before.is_dir() else Path()
        made = after
        if before.is_dir():
            names = [result_path(after / inside, png) for png in (False, True)]
            made = next((name for name in names if name.exists()), names[0])
        if regions is None:
            return [made]
        return [made, (regions / inside).with_suffix(".png") if regions.is_dir() and inside.name else regions]

    def drawn(path):
        made, *covers = map(open_photo, compared(path))
        if not covers:
            return draw(made, changed(split_alpha(open_photo(path))[0], split_alpha(made)[0]))
        cover = covers[0]
        if cover.size != made.size:
            raise PhotoError(
                f"the region of {path.name} is {cover.width}×{cover.height}, but the photo has another size."
            )
        return draw(made, np.asarray(cover.convert("L"), np.float32) / 255)

    if before.is_dir():
        check_not_input(after, output)
        options = {"command": "outline", "regions": regions is not None}
        report = process_folder(before, output, drawn, options=options, compared=compared, overwrite=overwrite)
        return report_line(report, output)
    for path in (before, *compared(before)):
        check_not_input(path, output)
    save_photo(drawn(before), output)
    print(f"wrote {output}")
    return 0


def report_line(report, output):
    """Print the summary of a folder run; returns the exit code."""
    print(f"{report.made} made, {report.kept} already there, {len(report.failures)} failed")
    if report.failures:
        print(f"see {output / 'failures.csv'}", file=sys.stderr)
    return 2 if report.failures else 0


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


def _check_png(png, source):
    if png and source.is_file():
        raise ConfigError("--png is for folders: the format of a single result is that of its suffix, such as out.png.")


def _is_film(source):
    return is_film(source) and not source.is_dir()


def _translate(direction, source, output, how, force=False, seed=0):
    import threading
    from collections import Counter

    from maskhub.data.batch import check_not_input, process_folder, save_photo
    from maskhub.data.masked import seed_of
    from maskhub.data.portraits import FOLDER, are_portraits, masked_portrait, portraits
    from maskhub.data.workers import useful_threads
    from maskhub.pipelines.outcomes import described, tally

    spec, worn = source, False
    if are_portraits(spec):
        source, worn = FOLDER, portraits(spec)[0].masked
    if not source.exists():
        raise PhotoError(f"there is no photo or folder {source}.")
    check_not_input(source, output)
    film, counts, lock = _is_film(source), Counter(), threading.Lock()
    columns = ESTIMATED if direction != "mask" and source.is_dir() else ()
    _check_png(how.png, source)
    pipeline = open_pipeline(how.model, how.device, single=source.is_file() and not film)
    if film:
        from maskhub.commands.film import translate_film

        return translate_film(direction, source, output, pipeline, seed, force, how.provenance)

    def translated(path, seed):
        done = pipeline(path, direction, force=force, seed=seed, provenance=how.provenance, details=True)
        with lock:
            counts.update(tally(done.faces[0]))
        faces = [face for face in done.faces[0] if face.changed and face.estimate]
        errors = ";".join(f"{face.expected_error:.3f}" for face in faces)
        values = {"expected_error": errors, "likely_poor": sum(face.likely_poor for face in faces)}
        return (done.images[0], values) if columns else done.images[0]

    if source.is_file():
        save_photo(translated(source, seed), output)
        print(f"wrote {output}; {described(counts)}")
        return 0

    def named(path):  # depends on the name, so that masks differ between photos but not between runs
        photo = masked_portrait(path.name) if worn else path
        return translated(photo, seed_of(seed, path.relative_to(source).as_posix()))

    used = str(Path(how.model).resolve()) if how.model and Path(how.model).exists() else how.model
    options = {"direction": direction, "model": used, "seed": seed, "force": force, "provenance": how.provenance}
    writing = {"overwrite": how.overwrite, "png": how.png, "columns": columns, "threads": useful_threads()}
    report = process_folder(spec, output, named, options=options, **writing)
    if report.made:
        print(described(counts))
    return report_line(report, output)
