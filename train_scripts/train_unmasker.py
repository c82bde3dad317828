"""Train the light unmasker on pairs with rule-based masks and on really masked faces.

    accelerate launch train_scripts/train_unmasker.py --unmasked SPEC --masked SPEC --weights-dir SPEC --output RUN
    accelerate launch train_scripts/train_unmasker.py --recipe train_scripts/recipes/unmasker-smoke.yaml ...

--weights-dir holds vgg16_lpips.safetensors and mobilefacenet.safetensors; with --lambda-perceptual 0 --lambda-identity
0 they are not needed. Sources, several processes and --resume latest work as in train_cyclegan.py; docs/train.md
explains the recipes.
"""

from maskhub.training.launch import launch
from maskhub.training.unmasker import Unmasker

if __name__ == "__main__":
    launch(Unmasker, __doc__)
