"""ZeroGPU: the network runs in a separate process, which has a GPU.

Such a Space has a GPU only within functions that ``spaces.GPU`` marks: they run in a process forked from the app, for
at most :data:`SECONDS`. Films and cameras stay on the CPU, since each call takes a second to start.
"""

import os
from copy import copy

from gradio.context import LocalContext

__all__ = ["is_zero", "lent"]

SECONDS = 30
"""Time requested per call: less time means a shorter wait in the queue and more calls a day."""


def is_zero():
    """Whether the app runs on ZeroGPU."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def lent(pipe, device="cuda"):
    """A pipeline whose network runs on ZeroGPU's device; elsewhere the pipeline itself. It is on the CPU."""
    if not is_zero():
        return pipe
    import cv2
    import spaces
    import torch

    # only the crops are pickled: the forked process inherits the pipeline
    def there(direction, crops, owners, batch_size):
        if device != "cpu":  # a forked process would wait forever for the app's threads, which it does not have
            cv2.setNumThreads(1)
            torch.set_num_threads(1)
        return pipe.to(device).run(direction, crops, owners, batch_size)

    marked, other = spaces.GPU(there, duration=SECONDS), copy(pipe)

    def run(*given):
        # GPU time is charged to a visitor: while the app starts there is none, and the CPU is used
        return pipe.run(*given) if LocalContext.request.get(None) is None else marked(*given)

    other.run = run
    return other
