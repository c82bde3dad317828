"""Small untrained networks for tests of re-imaging."""

import torch

from maskhub import AttributeClassifier, DenseGenerator

__all__ = ["classifier", "tiny"]


def tiny(seed=0, **options):
    torch.manual_seed(seed)
    return DenseGenerator(hidden=(16,), **options)


def classifier(tone):
    """A classifier that always predicts the same tone with confidence."""
    torch.manual_seed(0)
    network = AttributeClassifier(width=4, hidden=(8,))
    with torch.no_grad():
        network.head[-1].weight.zero_()
        network.head[-1].bias.copy_(torch.tensor([6.0 * (label == tone) for label in network.config.labels]))
    return network
