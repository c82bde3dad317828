"""Train the mask detector: is a mask worn on an aligned crop, and which pixels does it cover?

    python train_scripts/train_mask_detector.py --recipe train_scripts/recipes/mask-detector.yaml \\
        --unmasked FACES/unmasked --masked FACES/masked --output runs/mask-detector

--unmasked are photos of unmasked faces, on which masks are drawn by rule as it goes; --masked are aligned crops of
people who really wear masks. Stop it when you like: the same command with --resume latest goes on exactly where the
last checkpoint stood. The finished detector lies in OUTPUT/detector.
"""

import sys

from maskhub.errors import MaskHubError
from maskhub.training.launch import parse
from maskhub.training.mask_detector import MaskDetectorConfig, MaskDetectorTraining


def main(args=None):
    """Train; returns the exit code."""
    try:
        print(f"wrote {MaskDetectorTraining(parse(MaskDetectorConfig, __doc__, args)).run()}")
    except MaskHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; go on with --resume latest", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
