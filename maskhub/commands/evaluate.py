"""``maskhub evaluate quality | pairs | report | card``; the measures of faces are in :mod:`evaluate_faces`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from maskhub.commands.photos import Input
from maskhub.errors import ConfigError
from maskhub.pipelines.load import load_pipeline

__all__ = ["card", "pairs", "print_figures", "quality", "report"]

MEASURES = ("psnr", "ssim", "lpips", "identity", "frechet")

Reports = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="REPORT.json ...")]
Report = Annotated[Path, tyro.conf.arg(metavar="REPORT.json")]


Spec = Annotated[str, tyro.conf.arg(metavar="SOURCE")]


def quality(
    *,
    real: Spec,
    output: Report,
    generated: Spec | None = None,
    input: Spec | None = None,
    model: str | None = None,
    direction: Literal["mask", "unmask"] = "mask",
    network: Annotated[str, tyro.conf.arg(metavar="NAME")] = "efficientnet-lite0",
    weights_dir: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|USER/NAME")] = None,
    held_out: bool = False,
    groups: Annotated[str, tyro.conf.arg(metavar="COLUMN,...")] = "",
    limit: int | None = None,
    batch_size: int = 16,
    resamples: int = 20,
    device: str = "auto",
) -> int:
    """Fréchet and kernel distance between real and generated pictures.

    The generated ones are a source of their own, or what a pipeline makes of --input. See docs/evaluate.md for what the
    figures mean and when not to trust them.

    Args:
        real: A folder, or user/dataset[:split][@revision][#column] on the Hub.
        output: The report to write; thumbnails go beside it.
        generated: Likewise, of the pictures to judge.
        input: Likewise, of the photos that the pipeline translates instead.
        model: Pipeline folder or Hub id for --input; the bundled checkpoint if not given.
        direction: What the pipeline does to --input.
        network: efficientnet-lite0, inception (whose distances alone are called FID and KID), vgg16, vgg19, or a folder
            or Hub id of a FeatureNetwork.
        weights_dir: Where the weights of inception, vgg16 or vgg19 lie; the environment's MASKHUB_WEIGHTS if not given.
        held_out: Only the tenth of each source that is never trained on.
        groups: Columns of both sources' metadata, such as gender,group, by whose values figures are given apart.
        limit: At most so many pictures of each source.
        batch_size: Pictures that go through the network together.
        resamples: For the interval of the Fréchet distance.
        device: cpu, cuda, mps, or auto for the best there is.
    """
    from maskhub.evaluation.features import feature_network
    from maskhub.evaluation.quality import measure_quality
    from maskhub.evaluation.report import write_report
    from maskhub.evaluation.sets import PictureSet, picture_seed
    from maskhub.pipelines.load import best_device

    if (generated is None) == (input is None):
        raise ConfigError("give either --generated, or --input for a pipeline to translate.")
    if generated is not None and model is not None:
        raise ConfigError("--model translates --input: leave out --generated.")
    options = {"held_out": held_out, "limit": limit}
    reals = PictureSet(real, title="real", **options)
    translate = None
    if input is not None:
        pipeline = load_pipeline(model, device)
        translate = lambda photo: pipeline(photo, direction, seed=picture_seed(photo))  # noqa: E731
    made = PictureSet(generated or input, title="generated", translate=translate, **options)
    extractor = feature_network(network, weights_dir, best_device(device))
    options = {"groups": _names(groups), "batch_size": batch_size, "resamples": resamples}
    found = measure_quality(reals, made, extractor, **options)
    if input is not None:
        found["settings"] |= {"model": model or "bundled", "direction": direction}
    found["settings"]["split"] = "held-out" if held_out else "all"
    print_figures(write_report(output, "quality", **found))
    print(f"wrote {output}")
    return 0


def pairs(
    *,
    output: Report,
    photos: Spec | None = None,
    input: Spec | None = None,
    truth: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None,
    regions: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None,
    generated: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None,
    model: str | None = None,
    direction: Literal["mask", "unmask"] = "unmask",
    measures: Annotated[str, tyro.conf.arg(metavar="NAME,...")] = "psnr,ssim,lpips,identity",
    encoder: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mobilefacenet",
    network: Annotated[str, tyro.conf.arg(metavar="NAME|FOLDER|USER/NAME")] = "efficientnet-lite0",
    weights_dir: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|USER/NAME")] = None,
    baselines: bool = True,
    held_out: bool = False,
    groups: Annotated[str, tyro.conf.arg(metavar="COLUMN,...")] = "",
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> int:
    """PSNR, SSIM, LPIPS and identity of made pictures against the true ones, beside baselines.

    Either --photos of unmasked faces, which get masks by rule, or --input and --truth, whose files have the same names.
    What is judged is made by a pipeline, or lies in --generated.

    Args:
        output: The report to write; thumbnails go beside it.
        photos: A folder, or user/dataset[:split][@revision][#column] on the Hub, of unmasked faces.
        input: Likewise, of the inputs.
        truth: Folder of what they should become.
        regions: Folder of 8-bit pictures, 255 where a mask covers the face, for the figures of inside and outside.
        generated: Folder of what was made of --input; a pipeline makes it if not given.
        model: Pipeline folder or Hub id; the bundled checkpoint if not given.
        direction: What the pipeline does, and with --photos what is input and what truth.
        measures: Which of psnr, ssim, lpips, identity and frechet. All but the first two need weights.
        encoder: Face encoder of the identity; never one that the network was trained against.
        network: Feature network of frechet, as in `maskhub evaluate quality`.
        weights_dir: Where vgg16_lpips.safetensors and the encoder's weights lie; MASKHUB_WEIGHTS if not given.
        baselines: Measure the copied input, the mean face and OpenCV's inpaintings too.
        held_out: Only the tenth that is never trained on.
        groups: Columns of the metadata, such as gender,group, by whose values figures are given apart.
        limit: At most so many pairs.
        seed: Of the masks on --photos.
        device: cpu, cuda, mps, or auto for the best there is.
    """
    from maskhub.commands.evaluate_faces import _card, _pipeline
    from maskhub.evaluation.encoders import encoder as find_encoder
    from maskhub.evaluation.features import feature_network
    from maskhub.evaluation.paired import MatchedPictures, WornPictures, measure_pairs
    from maskhub.evaluation.report import write_report
    from maskhub.evaluation.sets import PictureSet, picture_seed
    from maskhub.evaluation.similarity import LPIPS_FILE, Lpips
    from maskhub.evaluation.trained_against import refuse_trained_against
    from maskhub.models.weights import find_weights
    from maskhub.pipelines.load import best_device

    wanted = _names(measures)
    if not {*wanted} <= {*MEASURES} or not wanted:
        raise ConfigError(f"the measures are {measures!r}; they must be of {', '.join(MEASURES)}.")
    if (photos is None) == (input is None) or (input is None) != (truth is None):
        raise ConfigError("give either --photos, or --input with --truth.")
    if photos is not None and (regions or generated):
        raise ConfigError("--regions and --generated belong to --input: with --photos both are made here.")
    lpips = Lpips(find_weights(LPIPS_FILE, weights_dir), best_device(device)) if "lpips" in wanted else None
    faces = find_encoder(encoder, weights_dir) if "identity" in wanted else None
    features = feature_network(network, weights_dir, best_device(device)) if "frechet" in wanted else None
    pictures = PictureSet(photos or input, held_out=held_out, limit=limit, title="pairs")
    if photos is not None:
        sources = WornPictures(pictures, direction, seed)
    else:
        sources = MatchedPictures(pictures, truth, regions, generated)
        sources.direction = direction
    translate = None
    if generated is None:
        pipeline, folder = _pipeline(model, device)
        if faces is not None:
            refuse_trained_against(_card(model, folder), [encoder])
        translate = lambda photo: pipeline(photo, direction, seed=picture_seed(photo))  # noqa: E731
    found = measure_pairs(
        sources, translate, lpips=lpips, encoder=faces, baselines=baselines, groups=_names(groups), measures=wanted,
        network=features,
    )  # fmt: skip
    made = {"generated": generated} if generated else {"model": model or "bundled"}
    found["settings"] |= made | {"direction": direction, "split": "held-out" if held_out else "all"}
    print_figures(write_report(output, "pairs", **found))
    print(f"wrote {output}")
    return 0


def print_figures(report):
    """Print a report's figures, its groups and its warnings."""
    import sys

    def show(figures, indent):
        for name, entry in figures.items():
            if isinstance(entry, dict) and "value" not in entry:
                print(f"{indent}{name}")
                show(entry, indent + "  ")
                continue
            entry = entry if isinstance(entry, dict) else {"value": entry}
            value = "–" if entry["value"] is None else f"{entry['value']:.4g}"
            ends = (
                " ({:.4g} to {:.4g})".format(*entry["interval"])
                if entry.get("interval") and None not in entry["interval"]
                else ""
            )
            print(f"{indent}{name} {value}{ends}" + (f", n {entry['n']}" if "n" in entry else ""))

    show(report["figures"], "")
    for column, values in report["groups"].items():
        for value, figures in values.items():
            print(f"{column} {value}")
            show(figures, "  ")
    for warning in report["warnings"]:
        print(f"note: {warning}", file=sys.stderr)


def report(
    reports: Reports, /, output: Annotated[Path, tyro.conf.arg(metavar="PAGE.html")] = Path("report.html")
) -> int:
    """Make one readable page, pictures and all, of reports.

    Args:
        reports: JSON files that `maskhub evaluate` wrote.
        output: The page, one file that needs no other.
    """
    from maskhub.evaluation.page import report_page

    _some(reports)
    report_page(reports, output)
    print(f"wrote {output}")
    return 0


def card(folder: Input, reports: Reports, /) -> int:
    """Write the figures of reports into a pipeline folder's model card.

    Args:
        folder: The pipeline folder, such as RUN/pipeline; its README.md gets a model-index and a table.
        reports: JSON files that `maskhub evaluate` wrote.
    """
    from maskhub.evaluation.report import card_with_results, read_report

    _some(reports)
    count = card_with_results(folder, [read_report(path) for path in reports])
    print(f"wrote {count} figures into {folder / 'README.md'}")
    return 0


def _names(text):
    """The names of a list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _some(reports):
    if not reports:
        raise ConfigError("give at least one report, a JSON file that `maskhub evaluate` wrote.")
