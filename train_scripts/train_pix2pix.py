"""Train pix2pix to take masks off or put them on, with pairs made by rule during training.

    accelerate launch train_scripts/train_pix2pix.py --unmasked SPEC --output RUN
    accelerate launch train_scripts/train_pix2pix.py --pairs given --unmasked PAIRS#unmasked --masked PAIRS#masked ...
    accelerate launch train_scripts/train_pix2pix.py --recipe train_scripts/recipes/pix2pix-smoke.yaml ... # a minute

Sources, several processes and --resume latest work as in train_cyclegan.py; docs/train.md explains the recipes.
"""

from maskhub.training.launch import launch
from maskhub.training.pix2pix import Pix2Pix

if __name__ == "__main__":
    launch(Pix2Pix, __doc__)
