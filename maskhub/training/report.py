"""What a run leaves for people to read: metrics.jsonl, curves, sheets, tensorboard, the line in the terminal."""

import json
import resource
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from maskhub.image_file import open_image
from maskhub.training.curves import read_metrics

__all__ = ["RunReport", "sample_sheet", "timeline_sheet", "write_curves"]

GAP = 8
"""Pixels between the groups of a sample sheet."""
MOMENTS = 10
"""Columns of a timeline, at most."""
NOT_LOSSES = ("step", "learning_rate", "images_per_second", "peak_memory_mb")


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
    parts = []
    for group in groups:
        columns = [torch.cat(list(column.float().clamp(-1, 1).cpu()), 1) for column in group]
        if parts:
            parts.append(torch.ones(3, columns[0].shape[1], GAP))
        parts.extend(columns)
    pixels = (torch.cat(parts, 2) + 1) * 127.5
    return Image.fromarray(np.ascontiguousarray(pixels.round().byte().permute(1, 2, 0).numpy()))


def timeline_sheet(folder, columns, side):
    """Lay what was learnt side by side over the run: ``timeline.png``, from the sample sheets of a folder.

    Each group's second column, what the generators make of fixed photos, at up to ten moments from first to last.

    Args:
        folder: holds the ``step-N.png`` of :func:`sample_sheet`; those of another layout are left out.
        columns: the number of columns of each of a sheet's groups.
        side: of one photo, in pixels.
    """
    width = sum(columns) * side + GAP * (len(columns) - 1)
    sheets = [sheet for path in sorted(Path(folder).glob("step-*.png")) if (sheet := _sheet(path)).width == width]
    if not sheets:
        return
    chosen = [sheets[i] for i in sorted(set(np.linspace(0, len(sheets) - 1, MOMENTS).round().astype(int)))]
    strips, left = [], 0
    for count in columns:
        if count > 1:
            strip = Image.new("RGB", (len(chosen) * side, chosen[-1].height), "white")
            for place, sheet in enumerate(chosen):
                strip.paste(sheet.crop((left + side, 0, left + 2 * side, sheet.height)), (place * side, 0))
            strips.append(strip)
        left += count * side + GAP
    timeline = Image.new("RGB", (strips[0].width, sum(s.height + GAP for s in strips) - GAP), "white")
    for place, strip in enumerate(strips):
        timeline.paste(strip, (0, place * (strip.height + GAP)))
    timeline.save(Path(folder) / "timeline.png")


def write_curves(output, stage_starts=()):
    """Draw every loss of ``metrics.jsonl`` over the steps: ``curves.png``; adversarial terms above, the others below.

    Args:
        output: the run's folder.
        stage_starts: steps at which a new stage began; drawn as upright lines.
    """
    from matplotlib.figure import Figure  # not pyplot, which would keep each figure

    lines = read_metrics(output)
    names = list(dict.fromkeys(name for line in lines for name in line if name not in NOT_LOSSES))
    adversarial = [name for name in names if name.split("_")[0] in ("D", "G") and name not in ("G_L1", "G_cosine")]
    panels = [panel for panel in (adversarial, [n for n in names if n not in adversarial]) if panel]
    if not panels:  # shorter than log_every
        return
    figure = Figure(figsize=(9, 3.4 * len(panels)), layout="constrained")
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, place + 1)
        for number, name in enumerate(panel):
            steps, values = zip(*((line["step"], line[name]) for line in lines if name in line), strict=True)
            axes.plot(steps, values, color=f"C{number}", alpha=0.25, linewidth=0.8)
            axes.plot(steps, _smooth(values), color=f"C{number}", label=name, linewidth=1.6)
        for start in stage_starts:
            axes.axvline(start, color="0.6", linestyle=":", linewidth=1)
        axes.set_ylabel("loss")
        axes.legend(ncols=4, fontsize="small", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("step")
    figure.savefig(Path(output) / "curves.png", dpi=110)


def _smooth(values, share=0.03):
    """Moving average over a share of the curve, shorter at its ends."""
    reach = int(len(values) * share)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low, high = (np.clip(np.arange(len(values)) + d, 0, len(values)) for d in (-reach, reach + 1))
    return (sums[high] - sums[low]) / (high - low)


def _sheet(path):
    with open_image(path) as sheet:
        return sheet.convert("RGB")


def _step(line):
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line cut short by the crash


def _peak_memory_mb():
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
