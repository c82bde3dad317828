"""Train the classifier that chooses the generator for a face.

    python train_scripts/train_classifier.py --recipe train_scripts/recipes/classifier-smoke.yaml --output runs/tones
    python train_scripts/train_classifier.py --source faces/train --test-source faces/test --attribute hair --output ...

You can stop it at any time with Ctrl-C or a signal: the same command with --resume latest continues where it stopped.
"""

from maskhub.training.classifier import Classifier
from maskhub.training.launch import launch

if __name__ == "__main__":
    launch(Classifier, __doc__)
