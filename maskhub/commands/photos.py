"""``maskhub mask | unmask | translate | cycle``: from photos to photos."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from maskhub.data.masked import Wearing
from maskhub.errors import ConfigError, PhotoError
from maskhub.options import Count, OptionSet
from maskhub.pipelines.load import load_pipeline

__all__ = ["ANY_MASKS", "Input", "Masking", "Output", "cycle", "mask", "outline", "report_line", "translate", "unmask"]

Input = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
Masking = tyro.conf.OmitArgPrefixes[Wearing]
ANY_MASKS = Wearing()


class Making(OptionSet):
    """What is written besides, and by how many processes."""

    boxes: Literal["coco", "voc", "none"] = "none"
    """Boxes of faces and masks, as OUTPUT/annotations.json (coco) or OUTPUT/annotations/*.xml (voc)."""
    workers: Count | None = None
    """Processes; one a processor core if not given."""


PLAIN = Making()
Output = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
Source = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]


def mask(
    input: Source,
    output: Output,
    /,
    wearing: Masking = ANY_MASKS,
    making: tyro.conf.OmitArgPrefixes[Making] = PLAIN,
    regions: Path | None = None,
    model: str | None = None,
    device: str = "auto",
    force: bool = False,
    overwrite: bool = False,
    provenance: bool = True,
) -> int:
    """Put face masks on a photo, a folder of photos, a Hub dataset, or a film.

    Masks are drawn by rule, or with --model by a trained network. Results that are there already are kept, so a run
    that was broken off goes on; what can't be done is listed in OUTPUT/failures.csv.

    Args:
        input: A photo, a folder, user/dataset[/config][:split][@revision][#column] on the Hub, or a film such as
            clip.mp4.
        output: Where the result goes: a file for a photo or a film, else a folder.
        wearing: Which masks, how they are worn and by how many; only the seed is for --model too.
        regions: Folder for each photo's region, an 8-bit PNG: 255 under the mask, 0 where nothing changed.
        making: What is written besides, and by how many processes.
        model: Pipeline folder or Hub id that does it instead; of the wearing options only the seed is for it.
        device: For --model: cpu, cuda, mps, or auto for the best there is.
        force: Put a mask even on a face that wears one; else it is left as it is. The mask detector is not loaded then.
        overwrite: Make results again that exist already.
        provenance: Write into each picture's metadata that maskhub made it, in which direction and by which model.
    """
    boxes, workers = making.boxes, making.workers
    if model is not None:
        if wearing != Wearing(seed=wearing.seed) or regions or boxes != "none" or workers is not None:
            raise ConfigError(
                "with --model the network decides: leave out style, wrongly-worn, portion, regions, boxes."
            )
        return _translate("mask", Path(input), output, model, device, force, overwrite, provenance, wearing.seed)
    source, wearing = Path(input).expanduser(), wearing.model_copy(update={"bare_only": not force})
    if _is_film(source):
        if regions or boxes != "none" or workers is not None:
            raise ConfigError("a film has no regions, boxes or workers: leave them out.")
        from maskhub.commands.film import mask_by_rule
        from maskhub.data.batch import check_not_input

        check_not_input(source, output)
        return mask_by_rule(source, output, wearing, force, provenance)
    if source.is_file():
        return _mask_one(source, output, wearing, regions, boxes, provenance)
    if not source.exists() and (input.count("/") not in (1, 2) or source.suffix.lower() in _suffixes()):
        raise PhotoError(f"there is no photo or folder {input}.")
    from maskhub.data.masked_files import mask_source
    from maskhub.data.workers import processors

    workers = processors() if workers is None else workers
    options = {"workers": workers, "regions": regions, "boxes": boxes, "overwrite": overwrite}
    report = mask_source(input, output, wearing, **options, provenance=provenance)
    return report_line(report, output)


def unmask(
    input: Input,
    output: Output,
    /,
    model: str | None = None,
    device: str = "auto",
    force: bool = False,
    overwrite: bool = False,
    provenance: bool = True,
) -> int:
    """Take the mask off every face that wears one, of a photo, of a folder of photos, or of a film.

    Args:
        input: A photo, a folder, or a film such as clip.mp4.
        output: Where the result goes: a file for a photo or a film, a folder for a folder.
        model: Pipeline folder or Hub id; the bundled checkpoint if not given.
        device: cpu, cuda, mps, or auto for the best there is.
        force: Translate every face, even one on which no mask is found; else it is left as it is.
        overwrite: Make results again that exist already.
        provenance: Write into each picture's metadata that maskhub made it, in which direction and by which model.
    """
    return _translate("unmask", input, output, model, device, force, overwrite, provenance)


def translate(
    input: Input,
    output: Output,
    /,
    model: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
    provenance: bool = True,
    seed: int = 0,
) -> int:
    """Take the mask off every face that wears one and put one on every other, of a photo, of a folder, or of a film.

    Args:
        input: A photo, a folder, or a film such as clip.mp4.
        output: Where the result goes: a file for a photo or a film, a folder for a folder.
        model: Pipeline folder or Hub id; the bundled checkpoint if not given.
        device: cpu, cuda, mps, or auto for the best there is.
        overwrite: Make results again that exist already.
        provenance: Write into each picture's metadata that maskhub made it, in which direction and by which model.
        seed: For a model that draws masks at random: the same seed gives the same ones.
    """
    return _translate("auto", input, output, model, device, False, overwrite, provenance, seed)


def cycle(
    input: Input,
    output: Output,
    /,
    start: Literal["mask", "unmask"] = "mask",
    model: str | None = None,
    device: str = "auto",
    force: bool = False,
    provenance: bool = True,
) -> int:
    """Translate a photo there and back: writes photo | there | back side by side and prints the cycle error.

    Args:
        input: A photo.
        output: The picture to write.
        start: Direction of the way there.
        model: Pipeline folder or Hub id; the bundled checkpoint if not given.
        device: cpu, cuda, mps, or auto for the best there is.
        force: Translate every face, even one that wears a mask already, or none.
        provenance: Write into the picture's metadata that maskhub made it, in which direction and by which model.
    """
    from PIL import Image

    from maskhub.data.batch import check_not_input, save_photo
    from maskhub.faces.photo import open_photo
    from maskhub.provenance import mark

    check_not_input(input, output)
    photo, pipeline = open_photo(input), load_pipeline(model, device)
    result = pipeline.cycle(photo, start=start, force=force, details=True)
    pictures = [photo, result.there[0], result.images[0]]
    sheet = Image.new("RGB", (3 * photo.width, photo.height))
    for place, picture in enumerate(pictures):
        sheet.paste(picture.convert("RGB"), (place * photo.width, 0))
    save_photo(mark(sheet, pipeline.provenance("cycle") if provenance else None), output)
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
    """Draw the contour of what was changed in a photo, or in each of a folder.

    Args:
        before: The photo as it was, or a folder of them.
        after: What was made of it, or a folder of files of the same names; the contour is drawn on these.
        output: The picture to write, or a folder.
        regions: Folder of 8-bit regions, as `maskhub mask --regions` writes them, or one for a photo; found by
            comparing the pictures if not given.
        overwrite: Make results again that exist already.
    """
    import numpy as np

    from maskhub.data.batch import check_not_input, process_folder, result_path, save_photo
    from maskhub.faces.photo import open_photo, split_alpha
    from maskhub.pipelines.outline import changed
    from maskhub.pipelines.outline import outline as draw

    def compared(path):
        inside = path.relative_to(before) if before.is_dir() else Path()
        made = result_path(after / inside) if before.is_dir() else after
        if regions is None:
            return [made]
        return [made, (regions / inside).with_suffix(".png") if regions.is_dir() and inside.name else regions]

    def drawn(path):
        made, *covers = map(open_photo, compared(path))
        if not covers:
            return draw(made, changed(split_alpha(open_photo(path))[0], split_alpha(made)[0]))
        cover = covers[0]
        if cover.size != made.size:
            raise PhotoError(f"the region of {path.name} is {cover.width}×{cover.height}, the photo another size.")
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
    """Print what became of a folder; returns the exit code."""
    print(f"{report.made} made, {report.kept} there already, {len(report.failures)} failed")
    if report.failures:
        print(f"see {output / 'failures.csv'}", file=sys.stderr)
    return 2 if report.failures else 0


def _mask_one(source, output, wearing, regions, boxes, provenance):
    from maskhub.data.boxes import coco, voc
    from maskhub.data.masked_files import mask_photo
    from maskhub.files import write_file

    region = regions / output.with_suffix(".png").name if regions is not None else None
    record = mask_photo(source, output, wearing, source.name, region, provenance)
    if boxes == "coco":
        import json

        write_file(output.with_suffix(".json"), json.dumps(coco({output.name: record})) + "\n")
    elif boxes == "voc":
        write_file(output.with_suffix(".xml"), voc(output.name, record))
    masked = sum(bool(face["style"]) for face in record["faces"])
    already = sum(face["worn"] == "already masked" for face in record["faces"])
    left = f", {already} left with the mask that {'it wears' if already == 1 else 'they wear'}" if already else ""
    print(f"wrote {output}: {masked} of {len(record['faces'])} faces masked{left}")
    return 0


def _is_film(source):
    from maskhub.faces.photo import PHOTO_SUFFIXES

    if source.suffix.lower() in PHOTO_SUFFIXES or source.is_dir():  # the libraries for films are not even loaded
        return False
    from maskhub.pipelines.video import is_video

    return is_video(source)


def _suffixes():
    from maskhub.faces.photo import PHOTO_SUFFIXES

    return PHOTO_SUFFIXES


def _translate(direction, source, output, model, device, force, overwrite, provenance, seed=0):
    from collections import Counter

    from maskhub.data.batch import check_not_input, process_folder, save_photo
    from maskhub.data.masked import seed_of
    from maskhub.pipelines.backends import preferred
    from maskhub.pipelines.outcomes import described, tally

    if not source.exists():
        raise PhotoError(f"there is no photo or folder {source}.")
    check_not_input(source, output)
    is_film, counts = _is_film(source), Counter()
    # one photo is done before the backends are measured
    pipeline = load_pipeline(model, device, "torch" if source.is_file() and not is_film else preferred())
    if is_film:
        from maskhub.commands.film import translate_film

        return translate_film(direction, source, output, pipeline, seed, force, provenance)

    def translated(path, seed):
        done = pipeline(path, direction, force=force, seed=seed, provenance=provenance, details=True)
        counts.update(tally(done.faces[0]))
        return done.images[0]

    if source.is_file():
        save_photo(translated(source, seed), output)
        print(f"wrote {output}; {described(counts)}")
        return 0

    def named(path):  # by its name, so that not all wear the same mask, and a run that was broken off can go on
        return translated(path, seed_of(seed, path.relative_to(source).as_posix()))

    used = str(Path(model).resolve()) if model and Path(model).exists() else model
    options = {"direction": direction, "model": used, "seed": seed, "force": force, "provenance": provenance}
    report = process_folder(source, output, named, options=options, overwrite=overwrite)
    if report.made:
        print(described(counts))
    return report_line(report, output)
