"""Train one of the re-imaging paper's generators: faces that all share some attributes.

    python train_scripts/train_reimaging.py --recipe train_scripts/recipes/reimaging-smoke.yaml --output runs/smoke
    python train_scripts/train_reimaging.py --attributes tone=dark --output runs/dark      # built-in faces, no download
    python train_scripts/train_reimaging.py --source faces/ --attributes hair=red --init-from runs/dark/pipeline ...

Stop it when you like, with Ctrl-C or a signal: the same command with --resume latest goes on exactly where it stood.
"""

from maskhub.training.launch import launch
from maskhub.training.reimaging import Reimaging

if __name__ == "__main__":
    launch(Reimaging, __doc__)
