"""Train a re-imaging generator, whose faces all share some attributes.

    python train_scripts/train_reimaging.py --recipe train_scripts/recipes/reimaging-smoke.yaml --output runs/smoke
    python train_scripts/train_reimaging.py --attributes tone=dark --output runs/dark      # built-in faces, no download
    python train_scripts/train_reimaging.py --source faces/ --attributes hair=red --init-from runs/dark/pipeline ...

You can stop it at any time with Ctrl-C or a signal: the same command with --resume latest continues where it stopped.
"""

from maskhub.training.launch import launch
from maskhub.training.reimaging import Reimaging

if __name__ == "__main__":
    launch(Reimaging, __doc__)
