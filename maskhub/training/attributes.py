"""The classifier of the re-imaging paper: which attribute has this face, and so which generator fits it?

Cross-entropy with Adam on small photos, covered and uncovered ones alike, since it is covered faces that it must judge.
At the end ``report.json`` and ``report.txt`` have accuracy, confusion matrix, and precision, recall and F1 of each
label on the test photos, ``confusion.png`` the matrix as a picture.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from maskhub.data.labelled import LabelledPhotos
from maskhub.errors import CheckpointError, ConfigError
from maskhub.models.classifier import AttributeClassifier
from maskhub.training.curves import classifier_curves, confusion_picture, read_metrics
from maskhub.training.small import SmallConfig, SmallTrainer, write_aside

__all__ = ["ClassifierConfig", "ClassifierTrainer", "classification"]


@dataclass
class ClassifierConfig(SmallConfig):
    """Train the classifier that chooses a generator (the re-imaging paper)."""

    source: list[str] = field(default_factory=lambda: ["builtin:pixel-faces", "builtin:pixel-faces/covered"])
    """Faces to learn from: builtin:pixel-faces, folders with metadata.csv, user/dataset on the Hub."""
    test_source: list[str] = field(default_factory=list)
    """Faces to test on; by default the test split of the built-in ones, where these are the source."""
    attribute: str = "tone"
    """The column to tell."""
    labels: list[str] = field(default_factory=list)
    """Its values; by default all that occur, sorted."""
    width: int = 128
    """Channels of the first two convolutions."""
    hidden: list[int] = field(default_factory=lambda: [2048, 512])
    """Dense layers."""
    dropout: float = 0.25
    """Before each dense layer."""
    max_steps: int = 400
    """Steps of the whole run."""
    beta1: float = 0.9
    """Adam's decay of the first moment; the second is 0.999."""
    sample_every: int = 100
    """Steps between tests; 0 tests at the end alone."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""

    def check(self):
        super().check()
        if not self.source:
            raise ConfigError("--source is missing.")
        if self.width < 1 or not 0 <= self.dropout < 1:
            raise ConfigError("--width must be at least 1, --dropout at least 0 and below 1.")
        if self.resolution % 4:
            raise ConfigError(f"--resolution is {self.resolution}; it must be a multiple of 4.")

    def tests(self):
        """The sources to test on."""
        if self.test_source:
            return self.test_source
        return [f"{spec.split(':train')[0]}:test" for spec in self.source if spec.startswith("builtin:")]


class ClassifierTrainer(SmallTrainer):
    """See the module; writes ``classifier/``, a folder for ``AttributeClassifier.from_pretrained``."""

    name = "classifier"

    def build(self):
        c = self.config
        self.photos = LabelledPhotos.open(c.source, c.resolution, c.holdout)
        labels = tuple(c.labels or self.photos.values(c.attribute))
        if len(labels) < 2:
            there = ", ".join(self.photos.columns[0]) or "none"
            what = f"only {labels[0]!r}" if labels else "no value"
            raise ConfigError(
                f"{self.photos.spec} has {what} of {c.attribute}: a classifier needs two or more (columns: {there})."
            )
        self.targets = self.photos.labels(c.attribute, labels)
        self.tests = LabelledPhotos.open(c.tests(), c.resolution) if c.tests() else None
        self.test_targets = self.tests.labels(c.attribute, labels) if self.tests else None
        classifier = AttributeClassifier(
            labels=labels, attribute=c.attribute, resolution=c.resolution, width=c.width, hidden=tuple(c.hidden),
            dropout=c.dropout,
        )  # fmt: skip
        self.networks = {"classifier": classifier}
        self.optimizers = {"classifier": self.adam(classifier)}

    def describe(self):
        yield from super().describe()
        labels = ", ".join(self.networks["classifier"].config.labels)
        tests = f"{len(self.tests):,} to test on" if self.tests else "none to test on"
        yield f"source: {self.photos.spec}, {len(self.photos):,} faces, {tests}; {self.config.attribute}: {labels}"

    def transfer(self, path):
        folder = path if (path / "config.json").is_file() else path / "classifier"
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"--init-from {path} is no classifier.")
        return {"classifier": AttributeClassifier.from_pretrained(folder).state_dict()}

    def train_step(self):
        network, optimizer = self.networks["classifier"].train(), self.optimizers["classifier"]
        places = self.batch_places(len(self.photos))
        logits = network(self.photos.tensor(places).to(self.device)).float()
        targets = self.targets[places].to(self.device)
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss_train": loss.detach(), "accuracy_train": (logits.argmax(1) == targets).float().mean()}

    def look(self, line):
        if self.tests:
            network = self.networks["classifier"]
            found, _ = predictions(network, self.tests)
            network.train()
            # a resumed run tests again after the step that it resumes from
            known = {test["step"]: test for test in read_metrics(self.output, "tests.jsonl")}
            accuracy = float((found == self.test_targets).float().mean())
            known[self.step] = {"step": self.step, "accuracy_test": accuracy}
            write_aside(self.output / "tests.jsonl", "".join(json.dumps(known[step]) + "\n" for step in sorted(known)))
        classifier_curves(self.output)

    def write(self):
        from maskhub.training.small_cards import classifier_card

        network = self.networks["classifier"].eval()
        folder, report = self.output / "classifier", None
        if self.tests:
            found, _ = predictions(network, self.tests)
            report = classification(self.test_targets.numpy(), found.numpy(), network.config.labels)
            write_aside(self.output / "report.json", json.dumps(report, indent=1) + "\n")
            write_aside(self.output / "report.txt", report["text"])
            confusion_picture(self.output / "confusion.png", report["confusion"], network.config.labels)
        network.save_pretrained(folder)
        (folder / "README.md").write_text(classifier_card(self, report), encoding="utf-8")
        return folder


@torch.inference_mode()
def predictions(network, photos, batch=256):
    """Index of the likeliest label and the probabilities, N and N×K, of each photo."""
    network.eval()
    odds = [
        network(photos.tensor(slice(start, start + batch)).to(network.device)).float().softmax(1).cpu()
        for start in range(0, len(photos), batch)
    ]
    odds = torch.cat(odds)
    return odds.argmax(1), odds


def classification(truth, found, labels):
    """Accuracy, confusion matrix and scikit-learn's classification report.

    Args:
        truth, found: indices in ``labels``, int N.

    Returns:
        dict: ``accuracy``, ``photos``, ``labels``, ``confusion`` (rows are the truth), ``by_label`` (precision, recall,
        F1, support), ``text`` (the report to read).
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
