"""The classifier of the re-imaging paper: it recognises an attribute of a face, to choose the generator that fits.

It is trained with cross-entropy and Adam on small photos, both covered and uncovered, since it is used on covered
faces. The result has ``report.json`` and ``report.txt`` with accuracy, confusion matrix, and precision, recall and F1
of each label on the test photos; ``confusion.png`` shows the matrix.
"""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional as F

from maskhub.data.labelled import LabelledPhotos
from maskhub.data.portraits import are_portraits
from maskhub.errors import ConfigError
from maskhub.files import write_file
from maskhub.json_file import write_json
from maskhub.models.classifier import AttributeClassifier
from maskhub.options import FREE, Count, Positive, Rate, Share
from maskhub.training.card import classifier_card
from maskhub.training.labelled import LabelledOptions, LabelledTask, Sources
from maskhub.training.report import write_figure
from maskhub.training.task import Update

__all__ = ["Classifier", "ClassifierOptions", "classification"]


class ClassifierOptions(LabelledOptions):
    """Train the classifier that chooses a generator (the re-imaging paper)."""

    source: Sources = Field(default_factory=lambda: ["builtin:pixel-faces", "builtin:pixel-faces/covered"])
    """Training faces: builtin:pixel-faces, builtin:portraits, folders with metadata.csv, user/dataset on the Hub."""
    test_source: Sources = Field(default_factory=list)
    """Test faces; by default the test split of the built-in faces if they are the source."""
    validation: Count = 0
    """Number of the source's photos, drawn by the seed, that are held out for validation curves."""
    attribute: str = "tone"
    """The column to predict."""
    labels: list[str] = Field(default_factory=list)
    """Values of the column; faces with others, or with none, are left out. By default all that occur, sorted."""
    covered: Share = 0.0
    """Share of the training faces whose lower part is covered with one colour, as the classifier sees covered faces."""
    resolution: Annotated[int, Field(ge=16, multiple_of=4)] = 32
    """Side of the photos in pixels; a multiple of 4."""
    width: Positive = 128
    """Channels of the first two convolutions."""
    hidden: list[Positive] = Field(default_factory=lambda: [2048, 512])
    """Widths of the dense layers."""
    dropout: Rate = 0.25
    """Dropout before each dense layer."""
    max_steps: Annotated[Positive, FREE] = 400
    beta1: Rate = 0.9
    ema_decay: Rate = 0.0
    sample_every: Annotated[Count, FREE] = 100
    """Steps between tests; 0: test only the result."""
    log_every: Annotated[Positive, FREE] = 10

    def check(self):
        super().check()
        if self.cuda_graph and self.covered:
            raise ConfigError("--cuda-graph can't be used with --covered, which draws on the CPU.")

    def tests(self):
        """The sources of the test faces."""
        if self.test_source:
            return self.test_source
        specs = [spec for spec in self.source if spec.startswith("builtin:")]
        if not self.holdout:  # only :train leaves out the portraits' test photos
            specs = [spec for spec in specs if not are_portraits(spec) or spec.endswith(":train")]
        return [f"{spec.split(':train')[0]}:test" for spec in specs]


class Classifier(LabelledTask):
    """See the module. The result is a folder for ``AttributeClassifier.from_pretrained``."""

    Options = ClassifierOptions
    name = result = "classifier"
    recordable = True
    averaged = ("classifier",)

    def __init__(self, options, rank=0):
        c = options
        self.faces = LabelledPhotos.open(c.source, c.resolution, c.holdout, c.limit_photos)
        labels = tuple(c.labels or self.faces.values(c.attribute))
        if len(labels) < 2:
            there = ", ".join(self.faces.columns[0]) or "none"
            what = f"only {labels[0]!r}" if labels else "no value"
            raise ConfigError(
                f"{self.faces.spec} has {what} of {c.attribute}: a classifier needs two or more (columns: {there})."
            )
        self.faces = labelled(self.faces, c.attribute, labels)
        if not len(self.faces):
            raise ConfigError(f"no photo of {self.faces.spec} has {c.attribute} {' or '.join(labels)}.")
        if c.validation >= len(self.faces):
            raise ConfigError(f"--validation is {c.validation}; there are only {len(self.faces)} photos.")
        self.validation = None
        if c.validation:
            order = np.random.default_rng(c.seed).permutation(len(self.faces))
            self.validation, self.faces = (self.faces.take(np.sort(part)) for part in np.split(order, [c.validation]))
        self.labels, self.targets = labels, self.faces.labels(c.attribute, labels)
        tests = labelled(LabelledPhotos.open(c.tests(), c.resolution), c.attribute, labels) if c.tests() else None
        self.tests = tests or None
        self.test_targets = self.tests.labels(c.attribute, labels) if self.tests else None
        classifier = AttributeClassifier(
            labels=labels, attribute=c.attribute, resolution=c.resolution, width=c.width, hidden=tuple(c.hidden),
            dropout=c.dropout,
        )  # fmt: skip
        super().__init__(c, {"classifier": classifier}, rank)

    def optimizers(self):
        return {"classifier": self.adam("classifier", fused=True)}

    def step(self, batch, turn):
        """One update with cross-entropy; ``batch`` holds ``image``, N×3×R×R in [-1, 1], and ``target``, N."""
        logits = self.nets["classifier"](self._partly_covered(batch["image"])).float()
        loss = F.cross_entropy(logits, batch["target"])
        accuracy = (logits.argmax(1) == batch["target"]).float().mean()
        yield Update("classifier", loss, {"loss_train": loss, "accuracy_train": accuracy})

    def _partly_covered(self, images):
        """Cover the lower part of some faces, from somewhere between nose and chin, by one colour each."""
        share, (count, channels, side) = self.options.covered, images.shape[:3]
        if not share:
            return images
        covered, colours = torch.rand(count) < share, 2 * torch.rand(count, channels, 1, 1) - 1
        tops = ((0.45 + 0.3 * torch.rand(count)) * side).long()
        below = (torch.arange(side)[None] >= tops[:, None]) & covered[:, None]
        return torch.where(below[:, None, :, None].to(images.device), colours.to(images.device), images)

    # ---- what a run leaves ----------------------------------------------------------------------------------------

    def describe(self, named=str):
        tests = f"{len(self.tests):,} test faces" if self.tests else "no test faces"
        tests += f", {len(self.validation):,} validation faces" if self.validation else ""
        source, labels = " ".join(map(named, self.options.source)), ", ".join(self.labels)
        yield f"source: {source}, {len(self.faces):,} faces, {tests}; {self.options.attribute}: {labels}"

    def test(self, networks):
        figures = {}
        for name, photos in (("test", self.tests), ("validation", self.validation)):
            if photos:
                found, odds = predictions(networks["classifier"], photos)
                truth = photos.labels(self.options.attribute, self.labels)
                figures[f"accuracy_{name}"] = float((found == truth).float().mean())
                figures[f"loss_{name}"] = float(F.nll_loss(odds.clamp(min=1e-12).log(), truth))
        return figures

    def write(self, networks, folder, card):
        networks["classifier"].save_pretrained(folder)
        write_file(folder / "README.md", card)
        if self.tests:
            report = self.report(networks["classifier"])
            write_json(folder / "report.json", report)
            write_file(folder / "report.txt", report["text"])
            confusion_picture(folder / "confusion.png", report["confusion"], self.labels)

    def report(self, network):
        """The :func:`classification` of the test photos."""
        found, _ = predictions(network, self.tests)
        return classification(self.test_targets.numpy(), found.numpy(), self.labels)

    def transfer(self, path):
        return self.saved("classifier", path, path / "classifier")

    def card(self):
        return classifier_card(self, self.report(self.average("classifier")) if self.tests else None)


def labelled(photos, attribute, labels):
    """The photos whose ``attribute`` is one of ``labels``."""
    return photos.take([n for n, known in enumerate(photos.columns) if known.get(attribute) in labels])


@torch.inference_mode()
def predictions(network, photos, batch=256):
    """The most likely label of each photo as index, N, and the probabilities, N×K."""
    network.eval()
    odds = [
        network(photos.tensor(slice(start, start + batch)).to(network.device)).float().softmax(1).cpu()
        for start in range(0, len(photos), batch)
    ]
    odds = torch.cat(odds)
    return odds.argmax(1), odds


def classification(truth, found, labels):
    """Accuracy, confusion matrix and scikit-learn's report of true and predicted indices in ``labels``, int N.

    Returns a dict of ``accuracy``, ``photos``, ``labels``, ``confusion`` (rows are the truth), ``by_label`` (precision,
    recall, F1, support) and ``text``, the report as text.
    """
    from sklearn.metrics import classification_report, confusion_matrix

    places = list(range(len(labels)))
    how = {"labels": places, "target_names": list(labels), "zero_division": 0}
    by_label = classification_report(truth, found, output_dict=True, **how)
    return {
        "accuracy": float(np.mean(np.asarray(truth) == np.asarray(found))),
        "photos": len(truth),
        "labels": list(labels),
        "confusion": confusion_matrix(truth, found, labels=places).tolist(),
        "by_label": {label: by_label[label] for label in labels},
        "text": classification_report(truth, found, digits=4, **how),
    }


def confusion_picture(path, matrix, labels):
    """Draw a confusion matrix; rows are the truth, columns the predictions."""
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay

    figure = Figure(figsize=(1.8 + 0.8 * len(labels), 1.5 + 0.7 * len(labels)), layout="constrained")
    display = ConfusionMatrixDisplay(np.asarray(matrix), display_labels=labels)
    display.plot(ax=figure.subplots(), cmap="Blues", colorbar=False, im_kw={"vmin": 0})
    write_figure(figure, path)
