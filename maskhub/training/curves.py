"""Curves of a small run, from its ``metrics.jsonl``: accuracy and loss, as the re-imaging paper shows them."""

import json
from pathlib import Path

__all__ = ["classifier_curves", "confusion_picture", "gan_curves", "read_metrics"]

_COLOURS = {"real": "#2a78d6", "fake": "#e34948", "combined": "#008300", "train": "#2a78d6", "test": "#e34948"}


def read_metrics(folder, name="metrics.jsonl"):
    """The lines of a run's ``metrics.jsonl`` as dicts; a line that is just being written is left out."""
    try:
        text = (Path(folder) / name).read_text(encoding="utf-8")
    except OSError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def gan_curves(folder):
    """Draw ``curves.png``: accuracy and loss of the discriminator on real and fake faces, and of the combined model."""
    _draw(folder, {"accuracy": ("real", "fake", "combined"), "loss": ("real", "fake", "combined")})


def classifier_curves(folder):
    """Draw ``curves.png``: accuracy and loss of a classifier in training and on the test photos."""
    _draw(folder, {"accuracy": ("train", "test"), "loss": ("train",)}, ("metrics.jsonl", "tests.jsonl"))


def _draw(folder, panels, files=("metrics.jsonl",)):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot, which would keep each figure and is no friend of threads

    lines = [line for name in files for line in read_metrics(folder, name)]
    if not lines:
        return
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (what, names) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name in names:
            points = [(line["step"], line[f"{what}_{name}"]) for line in lines if f"{what}_{name}" in line]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, color=_COLOURS[name], linewidth=1.5)
        axes.set(xlabel="step", title=what)
        axes.set_ylim(bottom=0, top=1.02 if what == "accuracy" else None)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    aside = Path(folder) / ".curves.partial.png"
    figure.savefig(aside, dpi=110)
    aside.replace(Path(folder) / "curves.png")


def confusion_picture(path, matrix, labels):
    """Draw a confusion matrix, rows the truth, columns the verdict."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.8 + 0.8 * len(labels), 1.5 + 0.7 * len(labels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues", vmin=0)
    axes.set(xticks=range(len(labels)), yticks=range(len(labels)), xlabel="found", ylabel="true")
    axes.set_xticklabels(labels)
    axes.set_yticklabels(labels)
    most = max(max(row) for row in matrix)
    for y, row in enumerate(matrix):
        for x, count in enumerate(row):
            axes.text(x, y, count, ha="center", va="center", color="white" if count > most / 2 else "black")
    figure.savefig(path, dpi=110)
