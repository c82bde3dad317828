"""What a run leaves for people to read: metrics.jsonl, sample sheets, tensorboard, the line in the terminal."""

import json
import resource
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

__all__ = ["RunReport", "sample_sheet"]


class RunReport:
    """Writes one JSON line a log step and shows the same in a progress bar; only on the main process.

    Args:
        output: the run's folder.
        first_step: steps already done; lines of ``metrics.jsonl`` after them (from before a crash) are dropped.
        max_steps: steps of the whole run.
        active: False on the other processes.
        tensorboard: also write events.
    """

    def __init__(self, output, first_step, max_steps, active=True, tensorboard=False):
        self.active = active
        if not active:
            return
        self.path = Path(output) / "metrics.jsonl"
        self._drop_after(first_step)
        self.file = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 (closed by close)
        self.bar = tqdm(total=max_steps, initial=first_step, unit="step", dynamic_ncols=True, mininterval=1)
        self.events = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.events = SummaryWriter(Path(output) / "tensorboard", purge_step=first_step)
        self.sums, self.count, self.images, self.since = {}, 0, 0, time.perf_counter()

    def add(self, terms, images):
        """Take in one step: its losses by name (float32 scalars) and the images it saw, over all processes."""
        if not self.active:
            return
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float()
        self.count += 1
        self.images += images
        self.bar.update()

    def log(self, step, learning_rate):
        """Write the means since the last line; returns them."""
        if not self.active:
            return {}
        seconds = time.perf_counter() - self.since
        losses = {name: round(float(value) / self.count, 6) for name, value in self.sums.items()}
        line = {
            "step": step,
            **losses,
            "learning_rate": learning_rate,
            "images_per_second": round(self.images / seconds, 3),
            "peak_memory_mb": _peak_memory_mb(),
        }
        self.file.write(json.dumps(line) + "\n")
        if self.events:
            for name, value in line.items():
                self.events.add_scalar(f"loss/{name}" if name in losses else name, value, step)
        shown = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.bar.set_postfix_str(f"{line['images_per_second']:.1f} images/s {shown}")
        self.sums, self.count, self.images, self.since = {}, 0, 0, time.perf_counter()
        return line

    def close(self):
        if self.active:
            self.bar.close()
            self.file.close()
            if self.events:
                self.events.close()

    def _drop_after(self, step):
        if self.path.exists():
            lines = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
            aside = self.path.with_suffix(".partial")
            aside.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            aside.replace(self.path)


def sample_sheet(groups):
    """Lay columns of photos side by side.

    Args:
        groups: list of groups, each a list of columns, each column N×3×R×R in [-1, 1]; groups stand side by side.

    Returns:
        RGB ``PIL.Image``.
    """
    gap = 8
    parts = []
    for group in groups:
        columns = [torch.cat(list(column.float().clamp(-1, 1).cpu()), 1) for column in group]
        if parts:
            parts.append(torch.ones(3, columns[0].shape[1], gap))
        parts.extend(columns)
    pixels = (torch.cat(parts, 2) + 1) * 127.5
    return Image.fromarray(np.ascontiguousarray(pixels.round().byte().permute(1, 2, 0).numpy()))


def _step(line):
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line cut short by the crash


def _peak_memory_mb():
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
