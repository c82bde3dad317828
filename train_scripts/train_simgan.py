"""Train SimGAN's refiner, which makes rule-based masks realistic.

    accelerate launch train_scripts/train_simgan.py --unmasked SPEC --masked SPEC --output RUN
    accelerate launch train_scripts/train_simgan.py --recipe train_scripts/recipes/simgan-smoke.yaml ... # a minute

Sources, several processes and --resume latest work as in train_cyclegan.py; docs/train.md explains the recipes.
"""

from maskhub.training.launch import launch
from maskhub.training.simgan import SimGAN

if __name__ == "__main__":
    launch(SimGAN, __doc__)
