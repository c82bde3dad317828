"""Train the light unmasker on pairs made by rule and on really masked faces.

    accelerate launch train_scripts/train_unmasker.py --unmasked SPEC --masked SPEC --weights-dir SPEC --output RUN
    accelerate launch train_scripts/train_unmasker.py --recipe train_scripts/recipes/unmasker-smoke.yaml ...

--weights-dir holds vgg16_lpips.safetensors and mobilefacenet.safetensors; --lambda-perceptual 0 --lambda-identity 0
goes without. Sources, several processes and --resume latest are as in train_cyclegan.py; docs/train.md has the recipes.
"""

from maskhub.training.launch import launch
from maskhub.training.unmasker import Unmasker

if __name__ == "__main__":
    launch(Unmasker, __doc__)
