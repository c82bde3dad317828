"""Train the two-step masker: a mask drawn on by rule, made real by an AttentionGAN.

    accelerate launch train_scripts/train_attentiongan.py --unmasked SPEC --masked SPEC --output RUN
    accelerate launch train_scripts/train_attentiongan.py --recipe train_scripts/recipes/attentiongan-smoke.yaml ...

Sources, several processes and --resume latest are as in train_cyclegan.py; docs/train.md has the recipes.
"""

from maskhub.training.attentiongan import AttentionGAN
from maskhub.training.launch import launch

if __name__ == "__main__":
    launch(AttentionGAN, __doc__)
