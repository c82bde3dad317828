"""Train the two-step masker: draw a mask by rule, then make it realistic with an AttentionGAN.

    accelerate launch train_scripts/train_attentiongan.py --unmasked SPEC --masked SPEC --output RUN
    accelerate launch train_scripts/train_attentiongan.py --recipe train_scripts/recipes/attentiongan-smoke.yaml ...

Sources, several processes and --resume latest work as in train_cyclegan.py; docs/train.md explains the recipes.
"""

from maskhub.training.attentiongan import AttentionGAN
from maskhub.training.launch import launch

if __name__ == "__main__":
    launch(AttentionGAN, __doc__)
