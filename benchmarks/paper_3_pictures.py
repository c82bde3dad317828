"""The pictures of document 3 (docs/papers.md, docs/reimaging.md) from its finished or unfinished runs.

    python benchmarks/paper_3_pictures.py RUNS --output docs/images

RUNS contains ``light``, ``medium``, ``dark`` (runs of train_scripts/recipes/paper-3-*.yaml) and ``classifier``; missing
runs are left out. It writes, with the corresponding figures of the thesis:

* ``reimaging_paper_steps.png``: generated faces after 1, 200, 700, 2,000, 54,000 and 98,000 steps (6 to 9, 12, 15);
* ``reimaging_paper_curves.png``: accuracy and loss of real, fake and combined (10, 11, 13, 14, 16, 17);
* ``reimaging_paper_classifier.png``: accuracy and loss of training and validation (19);
* ``reimaging_features.png``: feature maps of the first and the last convolution (21, 22);
* ``reimaging_bias.png``: decision distributions of the three made-up faces (23 to 25), next to those of the bundled
  classifier, which was trained on faces of any hair.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from maskhub.data.bias_faces import bias_faces
from maskhub.data.pixel_faces import SETS, pixel_faces
from maskhub.evaluation.feature_sheet import feature_sheet
from maskhub.pipelines.reimaging import THESIS, load_classifier
from maskhub.tensors import to_tensor
from maskhub.training.report import write_figure
from maskhub.training.status import read_metrics

ACROSS = 3
"""Faces of each side of a block of a sheet."""
SHEET = 8
"""Faces of each side of a sample sheet."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the runs")
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    runs = {tone: options.runs / tone for tone in SETS if (options.runs / tone / "metrics.jsonl").is_file()}
    if runs:
        steps(runs).save(options.output / "reimaging_paper_steps.png")
        write_figure(curves(runs), options.output / "reimaging_paper_curves.png")
    run = options.runs / "classifier"
    if (run / "metrics.jsonl").is_file():
        write_figure(classifier_curves(run), options.output / "reimaging_paper_classifier.png")
    trained = load_classifier(str(run / "classifier")) if (run / "classifier" / "config.json").is_file() else None
    classifier = trained or load_classifier(THESIS)
    write_figure(features(classifier), options.output / "reimaging_features.png")
    write_figure(bias(classifier), options.output / "reimaging_bias.png")
    print(f"wrote the pictures to {options.output}")


def steps(runs):
    """A row for each set, a block of faces for each sheet, from first to last."""
    rows = []
    for run in runs.values():
        blocks = []
        for path in sorted((run / "samples").glob("step-*.png")):
            sheet = np.asarray(Image.open(path).convert("RGB"))
            side = sheet.shape[0] // SHEET
            sheet = sheet[: ACROSS * side, : ACROSS * side]
            small = np.asarray(Image.fromarray(sheet).resize((ACROSS * 32,) * 2, Image.Resampling.NEAREST))
            blocks.append(np.pad(small, ((2, 2), (2, 2), (0, 0)), constant_values=255))
        rows.append(blocks)
    most = max(map(len, rows))
    blank = np.full_like(rows[0][0], 255)
    whole = np.concatenate([np.concatenate([*row, *[blank] * (most - len(row))], 1) for row in rows])
    return Image.fromarray(whole).resize((2 * whole.shape[1], 2 * whole.shape[0]), Image.Resampling.NEAREST)


def figure_of(width, height, rows, columns, **options):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def curves(runs):
    """Accuracy and loss of real, fake and combined, a column for each set."""
    figure, axes = figure_of(11, 5, 2, len(runs), sharex=True)
    for column, (tone, run) in enumerate(runs.items()):
        lines = read_metrics(run)
        for row, what in enumerate(("accuracy", "loss")):
            axes[row][column].set_ylim(0, 1.02 if what == "accuracy" else 6)
            for name in ("real", "fake", "combined"):
                known = [(line["step"], line[f"{what}_{name}"]) for line in lines if f"{what}_{name}" in line]
                at, values = map(np.asarray, zip(*known, strict=True))
                axes[row][column].plot(*_thinned(at, values), label=name, linewidth=1)
        axes[0][column].set_title(tone)
        axes[1][column].set_xlabel("step")
    axes[0][0].set_ylabel("accuracy")
    axes[1][0].set_ylabel("loss")
    axes[0][-1].legend(fontsize="small", frameon=False)
    return _clean(figure, axes)


def classifier_curves(run):
    """Accuracy and loss on the training and on the validation photos."""
    figure, axes = figure_of(8, 2.8, 1, 2)
    for place, what in enumerate(("accuracy", "loss")):
        for name, file in (("train", "metrics.jsonl"), ("validation", "tests.jsonl")):
            known = [(line["step"], line[f"{what}_{name}"]) for line in read_metrics(run, file)]
            axes[0][place].plot(*zip(*known, strict=True), label=name)
        axes[0][place].set(xlabel="step", ylabel=what)
    axes[0][0].legend(frameon=False)
    return _clean(figure, axes)


def features(classifier):
    """A face, and what the first and the last convolution make of it."""
    face = pixel_faces("builtin:pixel-faces/light/uniform:test")[0].pixels
    figure, axes = figure_of(10, 3.6, 1, 3, width_ratios=[1, 4, 4])
    sheets = [face, *(np.asarray(feature_sheet(classifier, face, place, columns=8)) for place in (0, -1))]
    titles = ["face", "first convolution, 64 maps of 32×32", "last convolution, 64 maps of 16×16"]
    for axis, sheet, title in zip(axes[0], sheets, titles, strict=True):
        axis.imshow(sheet, cmap=None if sheet.ndim == 3 else "viridis", interpolation="nearest")
        axis.set_title(title, fontsize="small")
        axis.axis("off")
    return figure


def bias(thesis):
    """The three made-up faces, with the probabilities by the thesis's classifier and by the package's."""
    figure, axes = figure_of(10, 6, 3, 3, width_ratios=[1, 2, 2])
    for row, face in enumerate(bias_faces()):
        axes[row][0].imshow(face.pixels, interpolation="nearest")
        axes[row][0].axis("off")
        axes[row][0].set_title(f"figure {face.figure}", fontsize="small")
        for axis, network, title in (
            (axes[row][1], thesis, "trained on the thesis's sets"),
            (axes[row][2], load_classifier(), "trained on faces of any hair"),
        ):
            odds = network.distribution(to_tensor(face.pixels)[None])[0]
            bars = axis.barh(list(odds), list(odds.values()), color=["#b8860b", "#cd935f", "#7b4c34"])
            axis.bar_label(bars, [f"{value:.1%}" for value in odds.values()], fontsize="small", padding=3)
            axis.set_xlim(0, 1.18)
            axis.invert_yaxis()
            axis.set_title(title if not row else "", fontsize="small")
    return _clean(figure, axes)


def _clean(figure, axes):
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _thinned(steps, values, points=300):
    """Means of up to ``points`` equal parts, so that a curve of thousands of points can be read."""
    parts = np.array_split(np.arange(len(steps)), min(points, len(steps)))
    return [steps[part[-1]] for part in parts], [values[part].mean() for part in parts]


if __name__ == "__main__":
    main()
