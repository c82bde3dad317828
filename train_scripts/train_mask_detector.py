"""Train the mask detector: is a mask worn on an aligned crop, and which pixels does it cover?

    python train_scripts/train_mask_detector.py --recipe train_scripts/recipes/mask-detector.yaml \\
        --unmasked FACES/unmasked --masked FACES/masked --output runs/mask-detector

--unmasked are photos of unmasked faces, on which masks are drawn by rule during training; --masked are aligned crops of
people who really wear masks. You can stop it at any time: the same command with --resume latest continues from the last
checkpoint. The finished detector is in OUTPUT/detector.
"""

from maskhub.training.launch import launch
from maskhub.training.mask_detector import MaskDetection

if __name__ == "__main__":
    launch(MaskDetection, __doc__)
