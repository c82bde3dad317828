"""Make a trained dense generator smaller, for the package: fewer hidden units, the remaining ones refitted.

    python benchmarks/shrink_generator.py RUN/pipeline/generators/light maskhub/weights/reimaging-32/generators/light

A generator of 125 faces that share most of their pixels uses few of its 512, 512 and 1,024 hidden units: their
activations span some dozens of dimensions. From input to output, the units of a layer that span most are kept (QR
decomposition with pivots), and the next layer's weights are fitted to the original's by least squares on random noise.
Printed is how far the faces of other noise are from the original's.
"""

import argparse

import numpy as np
import torch
from scipy.linalg import qr
from torch import nn

from maskhub.models.dense import DenseGenerator

SAMPLES, TESTED = 6000, 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator")
    parser.add_argument("output")
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 192, 192])
    options = parser.parse_args()
    teacher = DenseGenerator.from_pretrained(options.generator).eval()
    student = shrunk(teacher, options.hidden).half()
    student.save_pretrained(options.output, variant="fp16")
    student = student.float()
    with torch.no_grad():
        noise = torch.randn(TESTED, teacher.config.latent, generator=torch.Generator().manual_seed(1))
        difference = (teacher(noise) - student(noise)) * 127.5
    count = sum(parameter.numel() for parameter in student.parameters())
    print(f"{count:,} parameters; root mean square {difference.square().mean().sqrt():.2f} of 255 from the original")


@torch.no_grad()
def shrunk(teacher, hidden):
    """A :class:`DenseGenerator` of the widths ``hidden`` that makes nearly the same faces of the same noise."""
    student = DenseGenerator(teacher.config.resolution, teacher.config.latent, tuple(hidden)).eval()
    noise = torch.randn(SAMPLES, teacher.config.latent, generator=torch.Generator().manual_seed(0))
    before, given, kept = noise, noise, slice(None)
    pairs = zip(_linears(teacher), _linears(student), strict=True)
    norms = list(zip(_norms(teacher), _norms(student), strict=True))
    for number, (layer, small) in enumerate(pairs):
        wanted = layer(before)
        if number < len(norms):
            norm, small_norm = norms[number]
            before = norm(nn.functional.leaky_relu(wanted, 0.2))
            kept = _spanning(before, len(small.bias))
            wanted = wanted[:, kept]
            for name, value in norm.state_dict().items():
                small_norm.state_dict()[name].copy_(value[kept] if value.ndim else value)
        if number == 0:
            small.weight.copy_(layer.weight[kept])
            small.bias.copy_(layer.bias[kept])
        else:
            one = torch.cat([given, torch.ones(len(given), 1)], 1)
            fitted = torch.linalg.lstsq(one, wanted, driver="gelsd").solution
            small.weight.copy_(fitted[:-1].T)
            small.bias.copy_(fitted[-1])
        if number < len(norms):
            given = small_norm(nn.functional.leaky_relu(small(given), 0.2))
    return student


def _linears(network):
    return [layer for layer in network.stack if isinstance(layer, nn.Linear)]


def _norms(network):
    return [layer for layer in network.stack if isinstance(layer, nn.BatchNorm1d)]


def _spanning(activations, count):
    """The units whose activations span most, ``count`` of them, in their order."""
    values = (activations - activations.mean(0)).numpy()
    _, _, order = qr(values, mode="economic", pivoting=True)
    return torch.from_numpy(np.sort(order[:count]).copy())


if __name__ == "__main__":
    main()
