"""``maskhub unmask | translate | cycle | outline``, and what ``maskhub mask`` shares with them."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from maskhub.errors import ConfigError, PhotoError
from maskhub.film_file import is_film
from maskhub.pipelines.load import OnDevice, open_pipeline

__all__ = [
    "Input", "Output", "Translating", "check_png", "cycle", "exit_code", "outline", "report_line", "translate",
    "translate_source", "unmask",
]  # fmt: skip

Input = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
ESTIMATED = ("expected_error", "likely_poor")
"""Columns that taking masks off adds to the metadata: the estimate of each result, largest face first, separated by
";", and the number of results that are likely poor."""


class Running(OnDevice):
    """The network, and the pictures that it makes."""

    model: str | None = None
    """Pipeline folder, Hub id or name (`maskhub models list`); default: the bundled checkpoint."""
    provenance: bool = True
    """Record maskhub, the direction and the model in the metadata of each picture."""


class Translating(Running):
    """The network, and the pictures that it makes."""

    overwrite: bool = False
    """Replace existing results."""
    png: bool = False
    """In a folder, write PNG files instead of the photos' own formats."""


RUNNING, TRANSLATING = Running(), Translating()
Output = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]


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
    return translate_source("unmask", input, output, how, force)


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
    return translate_source("auto", input, output, how, seed=seed)


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

    from maskhub.data.batch import check_not_input, process_folder, save_photo
    from maskhub.faces.photo import open_photo, split_alpha
    from maskhub.pipelines.outline import changed
    from maskhub.pipelines.outline import outline as draw

    one = [after, regions] if regions else [after]
    compared = _results(before, after, regions, output) if before.is_dir() else lambda path: one

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


def _results(before, after, regions, output):
    """A function from the path of a photo in the folder ``before`` to that of its result in ``after``, by the names
    that ``mask`` gives to results, and that of its region, if there are ``regions``."""
    from maskhub.data.folder import is_photo, list_files
    from maskhub.data.photo_file import result_names, side_names

    names = {path: name for name, path in list_files(before, [output]).items() if is_photo(name)}
    plans = [result_names(names.values(), png) for png in (False, True)]
    plans = [(plan, side_names(plan.values(), ".png")) for plan in plans]

    def of(path):
        name = names[path]
        plan, sides = next((both for both in plans if (after / both[0][name]).exists()), plans[0])
        if regions is None:
            return [after / plan[name]]
        return [after / plan[name], regions / sides[plan[name]] if regions.is_dir() else regions]

    return of


def report_line(report, output):
    """Print the summary of a folder run; returns the exit code."""
    print(f"{report.made} made, {report.kept} already there, {len(report.failures)} failed")
    return exit_code(report, output)


def exit_code(report, output):
    """The exit code of a folder run; prints where the failures are listed, if there are any."""
    if report.failures:
        print(f"see {str(output).rstrip('/')}/failures.csv", file=sys.stderr)
    return 2 if report.failures else 0


def check_png(png, source):
    """ConfigError if ``png``, an option for folders, is given with a single file."""
    if png and source.is_file():
        raise ConfigError("--png is for folders: the format of a single result is that of its suffix, such as out.png.")


def translate_source(direction, source, output, how, force=False, seed=0):
    """Translate a photo, a folder, built-in portraits or a film with the network of ``how``, a :class:`Translating`, in
    a direction: ``"mask"``, ``"unmask"`` or ``"auto"``. Prints a summary and returns the exit code."""
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
    film, counts, lock = is_film(source), Counter(), threading.Lock()
    columns = ESTIMATED if direction != "mask" and source.is_dir() else ()
    check_png(how.png, source)
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
