"""``maskhub evaluate masks | survey``: what the mask detector finds, and what people take for real."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from maskhub.errors import ConfigError

__all__ = ["masks", "survey"]


def masks(
    photos: Annotated[str, tyro.conf.arg(metavar="SOURCE")],
    output: Annotated[Path, tyro.conf.arg(metavar="REPORT.json")],
    direction: Literal["mask", "unmask"] | None = None,
    model: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|ID")] = None,
    held_out: bool = False,
    limit: int | None = None,
    groups: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN ...")] = (),
    device: str = "auto",
) -> int:
    """Ask the mask detector: the share of faces with a mask and without, or how often a model succeeds.

    Args:
        photos: A folder, or user/dataset[:split][@revision][#column]; with --direction the photos to translate first.
        output: The JSON report; `maskhub evaluate report` makes a page of it.
        direction: Put masks on the photos or take them off, then judge; without it the photos are judged as they are.
        model: Pipeline folder or Hub id for --direction; the bundled checkpoint if not given.
        held_out: Only the tenth of photos that is never trained on.
        limit: At most so many photos.
        groups: Metadata columns to give every figure by, such as gender.
        device: cpu, cuda, mps, or auto for the best there is.
    """
    from maskhub.evaluation.masks import masks_report
    from maskhub.pipelines.load import load_pipeline

    if model and not direction:
        raise ConfigError("--model needs --direction mask or unmask.")
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit is {limit}; it must be at least 1.")
    report = masks_report(
        photos,
        output,
        pipeline=load_pipeline(model, device) if direction else None,
        direction=direction,
        model=model or "bundled",
        held_out=held_out,
        limit=limit,
        groups=groups,
    )
    for name, figure in report["figures"].items():
        if figure["value"] is not None:
            low, high = figure.get("interval", (figure["value"],) * 2)
            print(f"{name:<14} {figure['value']:.3f}  [{low:.3f}, {high:.3f}]  n {figure['n']}")
    for warning in report["warnings"]:
        print(f"note: {warning}")
    print(f"wrote {output}")
    return 0


def survey(
    output: Annotated[Path | None, tyro.conf.arg(metavar="REPORT.json")] = None,
    csv: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = None,
    database: Annotated[Path | None, tyro.conf.arg(metavar="FILE.sqlite")] = None,
) -> int:
    """Show how often visitors of the app's Quiz tab took made pictures for real.

    Args:
        output: Also write a JSON report.
        csv: Also write every answer as a row.
        database: The answers; survey.sqlite in MASKHUB_HOME (~/.local/share/maskhub) if not given.
    """
    from maskhub.evaluation.survey import Survey

    answers = Survey(database)
    if output:
        answers.report(output)
    figures = answers.figures()
    print(f"{figures.pop('rounds')} rounds in {answers.path}")
    for name, figure in figures.items():
        if figure["value"] is not None:
            low, high = figure["interval"]
            print(f"{name:<44} {figure['value']:.3f}  [{low:.3f}, {high:.3f}]  n {figure['n']}")
    if csv:
        print(f"wrote {csv}: {answers.write_csv(csv)} answers")
    if output:
        print(f"wrote {output}")
    return 0
