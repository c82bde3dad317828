"""Losses that keep a translation close to its input: the cycle, the identity, and the distance constraint."""

from typing import Literal

import torch

from maskhub.data.positions import endless_batches
from maskhub.errors import ConfigError
from maskhub.losses import distance_loss, half_distances, pair_distances
from maskhub.options import Weight
from maskhub.training.adversarial import AdversarialTask, GANOptions

__all__ = ["CycleOptions", "CycleTask"]

MEASURED = 200
"""Photos of each domain on which the mean and deviation of the distances are measured."""
MEASURED_AT_ONCE = 8
DISTANCES = {"pairs": pair_distances, "halves": half_distances}


class CycleOptions(GANOptions):
    """Options of the methods that learn from unpaired photos."""

    lambda_cycle: Weight = 10.0
    """Weight of the cycle loss."""
    cycle_distance: Literal["l1", "l2", "log"] = "l1"
    """Distance of a picture and its reconstruction: absolute, squared, or the cross-entropy of brightnesses."""
    lambda_identity: Weight = 0.5
    """Weight of the identity loss, as a share of lambda_cycle; 0: no identity loss."""
    lambda_distance: Weight = 0.0
    """Weight of the distance constraint (Benaim and Wolf, NeurIPS 2017), which can replace the cycle loss."""
    distance: Literal["pairs", "halves"] = "pairs"
    """Distances that must be preserved: between the pictures of a batch, or between each picture's two halves."""

    def check(self):
        super().check()
        if self.lambda_distance and self.distance == "pairs" and self.batch_size == 1:
            raise ConfigError("--distance pairs needs a --batch-size of at least 2; --distance halves does not.")


class CycleTask(AdversarialTask):
    """Base of the methods that learn from unpaired photos; ``domains`` names source and target in the samples."""

    domains = ("unmasked", "masked")

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self._measured = {}

    def distance_term(self, given, made, back=False):
        """The distance constraint of pictures N×3×R×R and their translations; with ``back``, from the target to the
        source domain. The distances' mean and deviation in each domain are those of the first photos of the current
        stage."""
        kind = self.options.distance
        before, after = self._moments(kind)[:: -1 if back else 1]
        return distance_loss(DISTANCES[kind](given), DISTANCES[kind](made), before, after)

    def _moments(self, kind):
        key = (kind, *map(id, self.sources.values()))
        if key not in self._measured:
            batches = endless_batches(self.dataset(self.options.seed, batch_size=MEASURED_AT_ONCE))
            found = {name: [] for name in self.domains}
            for _ in range(0, MEASURED, MEASURED_AT_ONCE):
                batch = next(batches)
                for name, values in found.items():
                    values.append(DISTANCES[kind](batch[name]))
            self._measured[key] = [_mean_and_deviation(torch.cat(values)) for values in found.values()]
        return self._measured[key]


def _mean_and_deviation(values):
    return values.mean().item(), max(values.std().item(), 1e-6)
