"""Train the mask judge: is a mask worn on an aligned crop, and which pixels does it cover?

    python train_scripts/train_judge.py --recipe train_scripts/recipes/judge.yaml \\
        --unmasked FACES/unmasked --masked FACES/masked --output runs/judge

--unmasked are photos of unmasked faces, on which masks are drawn by rule as it goes; --masked are aligned crops of
people who really wear masks. Stop it when you like: the same command with --resume latest goes on exactly where the
last checkpoint stood. The finished judge lies in OUTPUT/judge.
"""

import sys

from maskhub.errors import MaskHubError
from maskhub.training.judge import JudgeConfig, JudgeTraining
from maskhub.training.launch import parse


def main(args=None):
    """Train; returns the exit code."""
    try:
        print(f"wrote {JudgeTraining(parse(JudgeConfig, __doc__, args)).run()}")
    except MaskHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; go on with --resume latest", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
