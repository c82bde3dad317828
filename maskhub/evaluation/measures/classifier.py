"""How well the classifier of a re-imaging pipeline recognises an attribute, and what misleads it.

The re-imaging thesis (Desentz, 2021) shows feature maps of its classifier's first and last convolution (figures 21 and
22), and three made-up faces that it classifies by hair and eyes instead of skin (figures 23 to 25).
"""

from collections import Counter

from maskhub.data.bias_faces import bias_faces
from maskhub.data.labelled import LabelledPhotos
from maskhub.errors import ConfigError
from maskhub.evaluation.feature_sheet import feature_sheet
from maskhub.evaluation.gallery import BestAndWorst, thumbnail
from maskhub.evaluation.groups import by_group, check_columns
from maskhub.evaluation.intervals import few_faces, share_figure
from maskhub.evaluation.options import MeasureOptions, Model, Names, Source
from maskhub.evaluation.report import Figure, Gallery, Item, Report
from maskhub.pipelines.reimaging import load_classifier
from maskhub.tensors import to_tensor

__all__ = ["Options", "measure"]

ABOUT = (
    "How often the classifier that chooses a generator is right, and its probabilities for three made-up faces whose "
    "hair and eyes contradict the skin: if the hair gives the tone away in the training set, a classifier learns hair."
)


class Options(MeasureOptions):
    """Measure the accuracy of a re-imaging classifier, and show what it sees and what misleads it."""

    model: Model = None
    """Re-imaging pipeline or classifier; default: the bundled one. "thesis": the bundled one that was trained as in the
    thesis, on sets with the same hair and eyes."""
    photos: Source = "builtin:pixel-faces/uniform:test"
    """Labelled faces: builtin:pixel-faces, a folder with metadata.csv, or user/dataset on the Hub."""
    convolutions: Names = ("first", "last")
    """Convolutions whose feature maps are shown: first, last, or numbers from 1."""


def measure(options):
    """The :class:`~maskhub.evaluation.report.Report` of :class:`Options`, with a row for each face as its table."""
    network = load_classifier(options.model)
    attribute, labels = network.config.attribute, tuple(network.config.labels)
    photos = LabelledPhotos.open(options.photos, network.config.resolution)
    check_columns([dict.fromkeys(photos.columns[0])], options.groups)
    truth = [labels[place] for place in photos.labels(attribute, labels)]
    odds = network.distribution(photos.tensor())
    found = [max(one, key=one.get) for one in odds]
    gallery = BestAndWorst(f"faces by the probability of their {attribute}", "high")
    for name, pixels, one, label in zip(photos.names, photos.images, odds, truth, strict=True):
        gallery.add(name, one[label], pixels)
    warnings = few_faces(len(photos))
    made_up, shown = _made_up(network) if attribute == "tone" and network.config.resolution == 32 else ({}, [])
    return Report(
        "classifier",
        _rows(labels, truth, found) | made_up,
        len(photos),
        photos.spec,
        ABOUT,
        {"classifier": options.model or "bundled", "attribute": attribute, "labels": labels, "interval": "Wilson 95 %"},
        by_group(
            photos.columns,
            options.groups,
            lambda places: _rows(labels, [truth[n] for n in places], [found[n] for n in places]),
            warnings,
        ),
        warnings=warnings,
        galleries=[*_features(network, photos.images[0], options.convolutions), *shown, *gallery.galleries()],
        table=[
            {"file_name": name, attribute: label, "found": guess, **one}
            for name, label, guess, one in zip(photos.names, truth, found, odds, strict=True)
        ],
    )


def _rows(labels, truth, found):
    """Accuracy, and the recall of each label."""
    right = [label == guess for label, guess in zip(truth, found, strict=True)]
    rows = {"": {"accuracy": share_figure(sum(right), len(right), better="high")}}
    hits, all_of = Counter(label for label, hit in zip(truth, right, strict=True) if hit), Counter(truth)
    return rows | {
        label: {"recall": share_figure(hits[label], all_of[label], better="high")} for label in labels if all_of[label]
    }


def _made_up(network):
    """The decision distributions of the three made-up faces: rows, and a gallery of the faces."""
    rows, items = {}, []
    for face in bias_faces():
        odds = network.distribution(to_tensor(face.pixels)[None])[0]
        found = max(odds, key=odds.get)
        rows[face.what] = {f"probability of {label}": Figure(value, n=1) for label, value in odds.items()}
        shown = f"figure {face.figure}: {found} {odds[found]:.0%} (the thesis's: {face.printed})"
        items.append(Item(face.what, reason=shown, picture=thumbnail(face.pixels)))
    return rows, [Gallery("Made-up faces of the thesis's figures 23 to 25, and what they are taken for", items)]


def _features(network, pixels, convolutions):
    """A gallery of the feature maps of one face."""
    items = []
    for name in convolutions:
        place = {"first": 0, "last": -1}.get(name, int(name) - 1 if name.isdecimal() else None)
        if place is None or (name.isdecimal() and place < 0):
            raise ConfigError(f"a convolution is first, last or a number from 1, not {name!r}.")
        sheet = feature_sheet(network, pixels, place, columns=8)
        sheet = sheet.resize((2 * sheet.width, 2 * sheet.height), 0)
        items.append(Item(name, reason=f"{name} convolution", picture=thumbnail(sheet, sheet.height)))
    return [Gallery("Feature maps of the first face", items)] if items else []
