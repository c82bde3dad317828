"""SIGINT and SIGTERM stop a training run after its current step."""

import signal
import threading
from contextlib import contextmanager

import torch

__all__ = ["StopSignal"]


class StopSignal:
    """Remembers a signal that asks the run to stop as ``received``; a signal to any of the accelerator's processes
    stops all of them after the same step."""

    EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}  # noqa: RUF012

    def __init__(self, accelerator):
        self.accelerator, self.received = accelerator, None

    @property
    def exit_code(self):
        """The conventional exit code of a process ended by the signal; 0 without one."""
        return self.EXIT_CODES.get(self.received, 0)

    @contextmanager
    def caught(self):
        """Handle the signals within the block. Does nothing outside the main thread, where Python does not allow it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number, frame):
            self.received = number

        before = {number: signal.signal(number, stop) for number in self.EXIT_CODES}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def agreed(self):
        """Whether to stop now; called by every process before each step."""
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([self.received or 0], dtype=torch.float32, device=self.accelerator.device)
            self.received = int(self.accelerator.gather(mine).max().item()) or None
        return self.received is not None
