"""``maskhub evaluate recognition | detection | cycle``: what detectors, encoders and the way back say of masks."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import tyro

from maskhub.errors import ConfigError

__all__ = ["cycle", "detection", "recognition"]

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
Spec = Annotated[str | None, tyro.conf.arg(metavar="SPEC")]
Names = Annotated[str, tyro.conf.arg(metavar="NAME,NAME")]
Model = Annotated[str | None, tyro.conf.arg(metavar="FOLDER or USER/NAME")]
Report = Annotated[Path, tyro.conf.arg(metavar="REPORT.json")]
Place = Annotated[str | None, tyro.conf.arg(metavar="FOLDER or USER/NAME")]


def recognition(
    folder: Folder,
    /,
    pairs: Path | None = None,
    count: int | None = None,
    encoders: Names = "vgg19,mobilefacenet,dlib",
    approaches: Names = "baseline,projection,strip,pooled",
    model: Model = None,
    masks: Literal["rule", "model"] = "rule",
    style: Annotated[str, tyro.conf.arg(metavar="NAME")] = "random",
    directions: int = 1,
    groups: Names = "",
    resamples: int = 500,
    seed: int = 0,
    device: str = "auto",
    weights_dir: Place = None,
    output: Report = Path("recognition.json"),
) -> int:
    """Verify people on pairs of photos: unmasked, masked, with the mask's bias projected out, with the mask taken off.

    Faces and vectors are kept in a cache, so that the next model costs only its own part.

    Args:
        folder: Of the photos, with pairs.csv: fold,first,second,same (see docs/evaluate.md).
        pairs: Another list of pairs.
        count: At most so many pairs, as many of each fold and kind; all if not given.
        encoders: Of vgg19, mobilefacenet, dlib, inception; never one that the model was trained against.
        approaches: Of baseline, projection, strip, pooled (masked and stripped together).
        model: Pipeline folder or Hub id, whose unmasker strips; the bundled checkpoint if not given.
        masks: Who puts masks on: our rules, or the pipeline's masker.
        style: Of masks by rule: surgical, kn95, cup, cloth, patterned, neoprene, or random.
        directions: How many directions the projection takes out.
        groups: Columns of pairs.csv, or of metadata.csv where both photos agree, to give figures by.
        resamples: Of the bootstrap intervals.
        seed: Of masks, bootstrap and the choice of pairs.
        device: Of the pipeline: cpu, cuda, mps, or auto for the best there is.
        weights_dir: Where the encoders' weights lie; the environment's MASKHUB_WEIGHTS if not given.
        output: The report.
    """
    from maskhub.evaluation.encoders import encoder
    from maskhub.evaluation.identity_pairs import read_pairs, some_pairs
    from maskhub.evaluation.recognition import STRIPPED, measure_recognition
    from maskhub.evaluation.trained_against import refuse_trained_against
    from maskhub.models.weights import set_weights_dir

    chosen, ways = _names(encoders), _names(approaches)
    if not chosen:
        raise ConfigError("no encoder is given: choose of vgg19, mobilefacenet, dlib, inception.")
    set_weights_dir(weights_dir)
    listed = some_pairs(read_pairs(folder, pairs), count, seed)
    networks = [encoder(name) for name in chosen]
    pipeline = None
    if not STRIPPED.isdisjoint(ways) or masks == "model":
        pipeline, folder_of_model = _pipeline(model, device)
        refuse_trained_against(_card(model, folder_of_model), chosen)
    found = measure_recognition(
        folder, listed, networks, pipeline, approaches=ways, masks=masks, style=style, directions=directions,
        groups=_names(groups), resamples=resamples, seed=seed,
    )  # fmt: skip
    return _write(output, "recognition", found, None if pipeline is None else model or "bundled")


def detection(
    unmasked: Spec = None,
    masked: Spec = None,
    generated: Spec = None,
    model: Model = None,
    bundled: bool = False,
    detectors: Names = "yunet,dlib-hog",
    groups: Names = "",
    held_out: bool = False,
    limit: int | None = None,
    device: str = "auto",
    output: Report = Path("detection.json"),
) -> int:
    """Count the photos in which face detectors find a face: made ones beside unmasked and masked ones.

    Args:
        unmasked: Folder or Hub dataset of unmasked faces.
        masked: Folder or Hub dataset of masked faces.
        generated: Folder or Hub dataset of made photos.
        model: Pipeline folder or Hub id: what its masker makes of the unmasked photos and its unmasker of the masked
            ones is measured too.
        bundled: As --model, with the checkpoint that comes with maskhub.
        detectors: Of yunet, dlib-hog, dlib-cnn.
        groups: Metadata columns to give figures by.
        held_out: Only the tenth that is never trained on.
        limit: At most so many photos of each source.
        device: Of the pipeline: cpu, cuda, mps, or auto for the best there is.
        output: The report.
    """
    from maskhub.evaluation.detection import measure_detection
    from maskhub.evaluation.detectors import detector
    from maskhub.pipelines.load import load_pipeline

    named = [("unmasked", unmasked), ("masked", masked), ("generated", generated)]
    sources = {name: spec for name, spec in named if spec is not None}
    if not sources:
        raise ConfigError("nothing to measure: give --unmasked, --masked or --generated.")
    finders = {name: detector(name) for name in _names(detectors)}
    pipeline = load_pipeline(model, device) if model or bundled else None
    found = measure_detection(
        sources, finders, pipeline, groups=_names(groups), held_out=held_out, limit=limit, progress=True
    )
    return _write(output, "detection", found, None if pipeline is None else model or "bundled")


def cycle(
    unmasked: Spec = None,
    masked: Spec = None,
    model: Model = None,
    groups: Names = "",
    held_out: bool = False,
    limit: int | None = None,
    device: str = "auto",
    output: Report = Path("cycle.json"),
) -> int:
    """Measure a pipeline's error there and back, 0 to 255; that of each face goes to a CSV file beside the report.

    Args:
        unmasked: Folder or Hub dataset to mask and unmask again.
        masked: Folder or Hub dataset to unmask and mask again.
        model: Pipeline folder or Hub id; the bundled checkpoint if not given.
        groups: Metadata columns to give figures by.
        held_out: Only the tenth that is never trained on.
        limit: At most so many photos of each source.
        device: cpu, cuda, mps, or auto for the best there is.
        output: The report.
    """
    from maskhub.evaluation.cycle import measure_cycle, write_table
    from maskhub.pipelines.load import load_pipeline

    sources = {name: spec for name, spec in (("unmasked", unmasked), ("masked", masked)) if spec is not None}
    if not sources:
        raise ConfigError("nothing to measure: give --unmasked, --masked or both.")
    pipeline = load_pipeline(model, device)
    found = measure_cycle(pipeline, sources, groups=_names(groups), held_out=held_out, limit=limit, progress=True)
    faces = found.pop("faces")
    code = _write(output, "cycle", found, model or "bundled")
    write_table(output.with_suffix(".csv"), faces)
    print(f"wrote {output.with_suffix('.csv')}: the error of each face")
    return code


def _names(text):
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _pipeline(model, device):
    """The pipeline, and the folder that it was loaded from."""
    from maskhub.pipelines.face_mask import BUNDLED
    from maskhub.pipelines.fetch import fetch_pipeline
    from maskhub.pipelines.load import load_pipeline

    pipeline = load_pipeline(model, device)
    return pipeline, BUNDLED if model is None else fetch_pipeline(model)


def _card(model, folder):
    """The folder with the model's card: a Hub model's is not fetched along with its networks."""
    if model is not None and not Path(model).expanduser().is_dir():
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        from maskhub.errors import CheckpointError
        from maskhub.hub_errors import hub_errors

        with (
            hub_errors(f"the card of {model} can't be read: its download", CheckpointError),
            suppress(EntryNotFoundError),
        ):
            return Path(hf_hub_download(model, "README.md")).parent
    return folder


def _write(output, measure, found, model=None):
    from maskhub.commands.evaluate import print_figures
    from maskhub.evaluation.report import write_report

    if model is not None:
        found["settings"]["model"] = model
    print_figures(write_report(output, measure, **found))
    print(f"wrote {output}")
    return 0
