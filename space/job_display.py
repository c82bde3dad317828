"""Plots, progress bars, tables and lists of the Train tab."""

import html
import time

import gradio as gr
import pandas as pd

from maskhub.image_file import open_image
from maskhub.service.datasets import ALL
from space import photos, rooms

__all__ = ["card", "image_update", "job_choices", "legend", "outcome", "plot", "progress", "series", "span"]

STATES = {"queued": "waiting", "running": "training", "finished": "done", "failed": "failed",
          "cancelled": "cancelled"}  # fmt: skip
MEANS = {
    "real": "real faces", "fake": "generated faces", "combined": "generator through discriminator",
    "train": "a classifier's training faces", "validation": "faces held out from it",
}  # fmt: skip
SERIES = {"real": "#2a78d6", "fake": "#e34948", "combined": "#3f9b46", "train": "#8a5cd6", "validation": "#c77d0a"}


def plot(title, elem_id, limits):
    """An empty plot over steps, with a line for each of :data:`SERIES`."""
    return gr.LinePlot(
        x="step", y=title.lower(), color="series", color_map=SERIES, y_lim=limits,
        x_title="step", y_title=" ", color_title=" ", label=title, height=220, min_width=240, elem_id=elem_id,
        buttons=[], tooltip="all",
    )  # fmt: skip


def legend():
    """What the colours of the plots mean, as HTML."""
    parts = [f'<span><i style="background: {colour}"></i>{MEANS[name]}</span>' for name, colour in SERIES.items()]
    return f'<div class="legend">{"".join(parts)}</div>'


def series(lines, what):
    """A table for a plot, of at most 300 steps."""
    lines = lines[:: max(1, len(lines) // 300)]
    rows = [
        (line["step"], line[f"{what}_{name}"], name) for line in lines for name in SERIES if f"{what}_{name}" in line
    ]
    # with types, since a plot takes the columns of an empty table for names
    return pd.DataFrame(rows, columns=["step", what, "series"]).astype({"step": float, what: float, "series": str})


def image_update(path):
    """An update of an image, which is hidden where there is no such file."""
    try:
        with open_image(path or "") as image:
            return gr.update(value=image.convert("RGB"), visible=True)
    except OSError:
        return gr.update(value=None, visible=False)


def job_choices(key):
    """All jobs for a dropdown, newest first."""
    now = time.time()
    return [
        (
            " · ".join(
                [entry.name, STATES[entry.state], _ago(now - entry.created), *["yours"] * entry.belongs_to(key)]
            ),
            entry.id,
        )
        for entry in rooms.jobs().list()
    ]


def _waiting(before):
    return "Next in line." if before <= 1 else f"Waiting: {before} jobs before it."


def span(seconds):
    """A time to wait, rounded as a person would say it."""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _ago(seconds):
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {name}{'s' * (number != 1)} ago"
    return "just now"


def progress(job, now, jobs):
    """Bar and figures of a job."""
    said = {
        "queued": _waiting(sum(j.active and j.created < job.created for j in jobs)),
        "running": f"Step {now.step:,} of {now.total:,}" if now.step else "Starting …",
        "finished": f"Done: {now.total:,} steps. The model is called {job.model}.",
        "failed": f"Failed at step {now.step:,}: {job.message}",
        "cancelled": f"Cancelled at step {now.step:,}.",
    }[job.state]
    if job.state == "running":
        if job.cancel:
            said = "Stopping after this step …"
        elif now.line:
            names = ("loss_real", "loss_fake", "loss_combined", "loss_train")
            figures = " · ".join(f"{name[5:]} {now.line[name]:.2f}" for name in names if name in now.line)
            pictures = (now.total - now.step) * job.options.get("batch_size", 0)
            said += f" · {span(pictures / max(now.line['images_per_second'], 0.1))} left" if pictures else ""
            said += f" · {now.line['images_per_second']:,.0f} images/s · losses: {figures}"
        if job.attempts > 1 or job.last_step:
            said += f" · interrupted at step {job.last_step:,}, resumed from the last checkpoint"
    if job.state == "finished" and job.message:
        said = f"Ended at step {now.step:,} of {now.total:,}: {job.message} The model is called {job.model}."
    if job.notice_problem:
        said += f" ({job.notice_problem}.)"
    kind = "problem" if job.state == "failed" else "done"
    return photos.bar(now.share, job.name) + f'<p class="{kind}" data-state="{job.state}">{html.escape(said)}</p>'


def outcome(job):
    """The outcome of a job, for a notification."""
    words = {"finished": f"The model {job.name} is done.", "failed": f"Training {job.name} failed: {job.message}"}
    return words.get(job.state, f"Training {job.name} was cancelled.")


def card(entry):
    """Facts about a model, as a table."""
    facts = entry.facts
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(facts["created"])) if "created" in facts else ""
    rows = {
        "Guarantees": rooms.words(entry.attributes) if entry.kind == "generator" else "",
        "Chooses by": rooms.words({key: " or ".join(entry.labels) for key in entry.attributes}) if entry.labels else "",
        "Trained on": "all datasets together" if facts.get("dataset") == ALL else facts.get("dataset", ""),
        "Started from": facts.get("init_from", ""),
        "Steps": f"{facts['steps']:,}" if "steps" in facts else "",
        "Pixels": str(entry.resolution),
        "Trained": made,
    }
    cells = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items() if text)
    return f'<table class="facts">{cells}</table>'
