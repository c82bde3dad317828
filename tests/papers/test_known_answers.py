"""What can be computed from the documents by hand, through the code that stands for it."""

import math

import pytest
import torch
from torch import nn

from maskhub import AttributeClassifier, DenseDiscriminator, DenseGenerator
from maskhub.losses import cosine_loss
from tests.papers.tables import document

KINDS = {
    "Dense": nn.Linear,
    "LeakyReLU": nn.LeakyReLU,
    "BatchNormalization": (nn.BatchNorm1d, nn.BatchNorm2d),
    "Conv2D": nn.Conv2d,
    "MaxPooling2D": nn.MaxPool2d,
    "Flatten": nn.Flatten,
}


def values(layer):
    """What Keras counts of a layer: weights, and the running statistics of a norm."""
    running = sum(buffer.numel() for name, buffer in layer.named_buffers() if "running" in name)
    return sum(parameter.numel() for parameter in layer.parameters()) + running


@pytest.mark.parametrize(
    ("network", "table"), [(DenseGenerator, 2), (DenseDiscriminator, 3), (AttributeClassifier, 4)], ids=str
)
def test_document_3_has_these_layers_in_this_order(network, table):
    with torch.device("meta"):
        layers = [layer for layer in network().modules() if isinstance(layer, tuple(flat(KINDS.values())))]
    rows = [row for row in document(3)[f"table {table}"] if row[0] in KINDS]
    assert len(layers) == len(rows)
    for layer, (kind, _, parameters) in zip(layers, rows, strict=True):
        assert isinstance(layer, KINDS[kind]) and values(layer) == parameters


def flat(kinds):
    for kind in kinds:
        yield from kind if isinstance(kind, tuple) else (kind,)


def test_document_3_counts_its_parameters():
    with torch.device("meta"):
        networks = {
            "generator": DenseGenerator(),
            "discriminator": DenseDiscriminator(),
            "classifier": AttributeClassifier(),
        }
    trained = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    printed, classes = document(3), document(3)["classifier"]
    assert trained["generator"] == printed["generator"]["trained"]
    assert values(networks["generator"]) == printed["generator"]["total"]
    assert trained["discriminator"] == values(networks["discriminator"]) == printed["discriminator"]["total"]
    assert values(networks["classifier"]) == sum(row[2] for row in printed["table 4"])
    # the text prints 33,…, two million less than its own table sums to
    assert values(networks["classifier"]) - classes["printed total"] == 2_000_000
    assert trained["classifier"] - classes["printed trained"] == 2_000_000
    assert values(networks["classifier"]) - trained["classifier"] == classes["not trained"]


def test_document_2_a_dimmed_picture_has_no_loss_and_the_sum_is_the_mean_times_the_batch():
    torch.manual_seed(0)
    x, y = (torch.rand(8, 3, 16, 16) * 2 - 1 for _ in range(2))
    assert cosine_loss(x, 0.5 * x).item() == pytest.approx(0, abs=1e-6)
    assert cosine_loss(x, y, "sum").item() == pytest.approx(8 * cosine_loss(x, y, "mean").item(), rel=1e-6)


def test_document_4_the_survey():
    survey = document(4)["survey"]
    assert survey["people"] * survey["pictures"] == survey["answers"]
    wrong = survey["wrong"] / survey["answers"]
    assert round(100 * wrong, 2) == 40.05  # printed as 40.08
    assert survey["pictures"] * (1 - wrong) == pytest.approx(13.19)  # printed as 13.24


def test_document_5_epochs_in_steps():
    steps = [
        (last - first + 1) * math.ceil(row["photos"] / document(5)["batch"])
        for row in document(5)["table 1"]
        for first, last in [row["epochs"]]
    ]
    assert steps == [142_800, 67_050, 21_200, 66_992, 89_888]
