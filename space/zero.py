"""ZeroGPU: the network runs where the GPU is, in a process of its own.

On such a Space there is a GPU only within a function that ``spaces.GPU`` marks: it runs in a process that is forked
from the app, for at most :data:`SECONDS`. Films and cameras stay on the processor, since each call takes a second to
start.
"""

import os
from copy import copy

from gradio.context import LocalContext

__all__ = ["is_zero", "lent"]

SECONDS = 30
"""What a call asks for: less time means a shorter wait in the queue and more calls a day."""


def is_zero():
    """Whether the app runs on ZeroGPU."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def lent(pipe, device="cuda"):
    """A pipeline whose network runs on ZeroGPU's device; elsewhere the pipeline itself.

    Args:
        pipe: :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline`, on the CPU.
        device: of the network.
    """
    if not is_zero():
        return pipe
    import cv2
    import spaces
    import torch

    # crops are pickled on their way there and back, the pipeline is not: the process has it from the app
    def there(direction, crops, owners, batch_size):
        if device != "cpu":  # a forked process waits forever for the threads of the app, which it does not have
            cv2.setNumThreads(1)
            torch.set_num_threads(1)
        return pipe.to(device).run(direction, crops, owners, batch_size)

    marked, other = spaces.GPU(there, duration=SECONDS), copy(pipe)

    def run(*given):
        # GPU time is a visitor's: while the app starts, there is no visitor, and the CPU does the work
        return pipe.run(*given) if LocalContext.request.get(None) is None else marked(*given)

    other.run = run
    return other
