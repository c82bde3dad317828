"""The worker processes of batches: which signals end them."""

import multiprocessing
import os
import signal
import subprocess
import sys

import torch

from maskhub.data.positions import PositionDataset, endless_batches


class Numbers(PositionDataset):
    def __iter__(self):
        return ({"number": torch.tensor(position)} for position in self.positions())


def test_a_worker_ends_at_a_signal_of_its_own_process_only():
    before = multiprocessing.active_children()
    batches = endless_batches(Numbers(16, 0), workers=1)
    (worker,) = (child for child in multiprocessing.active_children() if child not in before)
    assert next(batches)["number"].item() == 0
    for number in (signal.SIGTERM, signal.SIGINT):  # as a cluster and a terminal send them
        subprocess.run([sys.executable, "-S", "-c", f"import os; os.kill({worker.pid}, {int(number)})"], check=True)
    assert [next(batches)["number"].item() for _ in range(5)] == [1, 2, 3, 4, 5]
    os.kill(worker.pid, signal.SIGTERM)  # as Python does at its end
    worker.join(30)
    assert worker.exitcode == 0
