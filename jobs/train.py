# /// script
# requires-python = ">=3.11"
# dependencies = ["maskhub[train]"]
# ///
"""Train any method of maskhub and push the result to the Hub.

    uv run jobs/train.py cyclegan --unmasked builtin:portraits --masked builtin:portraits/masked --max-steps 100
    hf jobs uv run --flavor l4x1 --timeout 2h --secrets HF_TOKEN jobs/train.py unmasker \\
        --unmasked user/faces --masked user/masked-faces --holdout --push-to-hub user/model

METHOD is one of cyclegan, simgan, pix2pix, attentiongan, unmasker, reimaging, classifier and mask_detector. All further
options are those of its training script; the run is in the folder `run`. docs/jobs.md says what a job costs.
"""

import sys

from maskhub.training.launch import launch
from maskhub.training.registry import TASKS, task_class

if __name__ == "__main__":
    method, *options = sys.argv[1:] or [""]
    if method not in TASKS:
        sys.exit(f"train.py: the method is {method!r}; it must be one of {', '.join(TASKS)}.")
    launch(task_class(method), __doc__, ["--output", "run", *options])
