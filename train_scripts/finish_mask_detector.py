"""Finish a mask detector: the mean of the weights of several runs, and the presence lowered.

    python train_scripts/finish_mask_detector.py RUN1/detector RUN2/detector --lower 1 --output DETECTOR

The runs must have the same start. ``--lower`` is subtracted from the logit of the presence, so that the limit of
0.5 acts as another limit did: ``log(limit / (1 - limit))``.
"""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from maskhub.errors import ConfigError, MaskHubError
from maskhub.models.mask_detector import MaskDetector


@dataclass
class Options:
    """Write the mean of mask detectors, with a lower presence."""

    detectors: Annotated[list[str], tyro.conf.Positional]
    """Folders of the results of runs, which get the same weight."""
    output: Path = Path("detector")
    """Folder of the new detector."""
    lower: float = 0.0
    """What is subtracted from the logit of the presence."""


def main(options):
    if not options.detectors:
        raise ConfigError("give one or more folders of detectors.")
    networks = [MaskDetector.from_pretrained(folder) for folder in options.detectors]
    network, states = networks[0], [network.state_dict() for network in networks]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise ConfigError("the detectors have different sizes; give results of runs with the same width and pyramid.")
    mean = {name: sum(state[name].double() for state in states) / len(states) for name in states[0]}
    mean["presence.1.bias"] -= options.lower
    network.load_state_dict({name: value.to(states[0][name].dtype) for name, value in mean.items()})
    network.save_pretrained(options.output)
    copy.deepcopy(network).half().save_pretrained(options.output, variant="fp16")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except MaskHubError as error:
        sys.exit(str(error))
