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

    def shared(self, number):
        """Tell the other processes of a received signal; returns the main process's ``number``, a float, in all of
        them. Called by every process before each step."""
        if self.accelerator.num_processes == 1:
            return number
        mine = torch.tensor([[self.received or 0, number]], dtype=torch.float64, device=self.accelerator.device)
        everyone = self.accelerator.gather(mine)
        self.received = int(everyone[:, 0].max()) or None
        return everyone[0, 1].item()
