"""Reports of a run: metrics.jsonl, curves, sample sheets, trackers, progress bar."""

import io
import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from tqdm import tqdm

from maskhub.files import append_line, write_errors, write_file
from maskhub.image_file import encoded, open_image, side_by_side
from maskhub.tensors import to_pixels
from maskhub.training.status import read_metrics

__all__ = ["NOT_LOSSES", "JsonLines", "RunReport", "sample_sheet", "timeline_sheet", "write_curves", "write_figure"]

GAP = 8
"""Pixels between the groups of a sample sheet."""
SMALLEST = 128
"""On a sample sheet, smaller photos are magnified to about this side."""
MOMENTS = 10
"""Largest number of columns of a timeline."""
NOT_LOSSES = ("step", "learning_rate", "images_per_second", "peak_memory_mb")
"""What else a line of metrics.jsonl holds."""


class JsonLines:
    """A file with one JSON object per line and step; when a run resumes, lines after ``first_step`` are dropped."""

    def __init__(self, path, first_step):
        self.path = Path(path)
        if self.path.exists():
            lines = [
                line for line in read_metrics(self.path.parent, self.path.name) if line.get("step", 0) <= first_step
            ]
            write_file(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def write(self, line):
        """Append a line; :class:`WriteError` if it can't be written."""
        with write_errors(self.path), open(self.path, "ab") as file:
            append_line(file, json.dumps(line).encode())


class RunReport:
    """Writes a JSON line per log step, shows the same in a progress bar and reports it to ``trackers``,
    :class:`~maskhub.training.trackers.Trackers`; ``first_step`` is the number of completed steps. For the main process
    only."""

    def __init__(self, output, first_step, max_steps, trackers):
        self.metrics, self.tests = (
            JsonLines(Path(output) / f"{name}.jsonl", first_step) for name in ("metrics", "tests")
        )
        self.bar = tqdm(total=max_steps, initial=first_step, unit="step", dynamic_ncols=True, mininterval=1)
        self.trackers = trackers
        self._begin()

    def _begin(self):
        self.sums, self.count, self.images, self.since = {}, 0, 0, time.perf_counter()

    def add(self, terms, images):
        """Add one step: its losses by name (float32 scalars) and its number of images over all processes."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().float()
        self.count += 1
        self.images += images
        self.bar.update()

    @contextmanager
    def aside(self):
        """Work that is not training, such as a sample sheet: its time does not count for images_per_second."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # the steps before it do count
        start = time.perf_counter()
        yield
        self.since += time.perf_counter() - start

    def log(self, step, learning_rate):
        """Write the means since the last line and return them."""
        seconds = time.perf_counter() - self.since
        losses = {name: round(float(value) / self.count, 6) for name, value in self.sums.items()}
        line = {
            "step": step,
            **losses,
            "learning_rate": learning_rate,
            "images_per_second": round(self.images / seconds, 3),
            "peak_memory_mb": _peak_memory_mb(),
        }
        self.metrics.write(line)
        values = {f"loss/{name}" if name in losses else name: value for name, value in line.items() if name != "step"}
        self.trackers.log(values, step)
        shown = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self.bar.set_postfix_str(f"{line['images_per_second']:.1f} images/s {shown}")
        self._begin()
        return line

    def test(self, step, figures):
        """Write a line with figures on test photos."""
        self.tests.write({"step": step, **figures})
        self.trackers.log({f"test/{name}": value for name, value in figures.items()}, step)

    def picture(self, name, path, step):
        """Report a picture file that was written to the run's folder."""
        self.trackers.picture(name, path, step)

    def close(self):
        self.bar.close()
        self.trackers.close()


def magnification(side):
    """Factor by which photos of ``side`` pixels are magnified on a sample sheet."""
    return max(1, SMALLEST // side)


def sample_sheet(groups):
    """Arrange columns of photos side by side in an RGB ``PIL.Image``, small photos magnified.

    ``groups`` is a list of groups, separated by gaps, each a list of columns, each column N×3×R×R in [-1, 1].
    """
    zoom, parts = magnification(groups[0][0].shape[3]), []
    for group in groups:
        columns = [torch.cat(list(column.float().clamp(-1, 1).cpu()), 1) for column in group]
        columns = [column.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2) for column in columns]
        if parts:
            parts.append(torch.ones(3, columns[0].shape[1], GAP))
        parts.extend(columns)
    return Image.fromarray(to_pixels(torch.cat(parts, 2)))


def timeline_sheet(folder, columns, side):
    """Draw ``timeline.png``: how the results on the sample sheets of a folder changed over the run.

    It shows each group's second column, the results on fixed photos, at up to ten steps from first to last. ``columns``
    are the numbers of columns of each group, ``side`` is that of one photo in pixels; ``step-N.png`` of another layout
    are skipped.
    """
    side *= magnification(side)
    width = sum(columns) * side + GAP * (len(columns) - 1)
    # a long run has hundreds of sheets, too many to keep in memory
    sheets = [path for path in sorted(Path(folder).glob("step-*.png")) if _width(path) == width]
    if not sheets:
        return
    chosen = [_sheet(sheets[i]) for i in sorted(set(np.linspace(0, len(sheets) - 1, MOMENTS).round().astype(int)))]
    strips, left = [], 0
    for count in columns:
        if count > 1:
            strips.append(
                side_by_side([sheet.crop((left + side, 0, left + 2 * side, sheet.height)) for sheet in chosen])
            )
        left += count * side + GAP
    if not strips:
        return
    timeline = Image.new("RGB", (strips[0].width, sum(s.height + GAP for s in strips) - GAP), "white")
    for place, strip in enumerate(strips):
        timeline.paste(strip, (0, place * (strip.height + GAP)))
    write_file(Path(folder) / "timeline.png", encoded(timeline))


def write_curves(output, panels, stage_starts=()):
    """Plot the metrics of a run's ``metrics.jsonl`` and ``tests.jsonl`` over the steps, as ``curves.png``.

    ``panels`` maps the names of all metrics to a dict of title → names; ``stage_starts`` are drawn as vertical lines.
    Returns its path, or None if there are no metrics yet.
    """
    from matplotlib.figure import Figure  # not pyplot, which keeps all figures and is not thread-safe

    lines = [line for name in ("metrics.jsonl", "tests.jsonl") for line in read_metrics(output, name)]
    names = list(dict.fromkeys(name for line in lines for name in line if name not in NOT_LOSSES))
    shown = {title: panel for title, panel in panels(names).items() if panel}
    if not shown:  # the run is shorter than log_every
        return None
    height = 3.4 * len(shown)
    figure = Figure(figsize=(9, height))
    # a layout engine, which draws everything twice to find the margins, takes as long as all the rest
    figure.subplots_adjust(left=0.09, right=0.99, top=1 - 0.1 / height, bottom=0.5 / height, hspace=0.12)
    for place, (title, panel) in enumerate(shown.items()):
        axes = figure.add_subplot(len(shown), 1, place + 1)
        for number, name in enumerate(panel):
            steps, values = zip(*((line["step"], line[name]) for line in lines if name in line), strict=True)
            axes.plot(steps, values, color=f"C{number}", alpha=0.25, linewidth=0.8)
            axes.plot(steps, _smooth(values), color=f"C{number}", label=name, linewidth=1.6)
        for start in stage_starts:
            axes.axvline(start, color="0.6", linestyle=":", linewidth=1)
        axes.set_ylabel(title)
        axes.legend(ncols=4, fontsize="small", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("step")
    path = Path(output) / "curves.png"
    write_figure(figure, path)
    return path


def write_figure(figure, path):
    """Write a matplotlib figure as PNG, atomically."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    write_file(path, data.getvalue())


def _smooth(values, share=0.03):
    """Centred moving average over a share of the curve, with shorter windows at its ends."""
    reach = int(len(values) * share)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low, high = (np.clip(np.arange(len(values)) + d, 0, len(values)) for d in (-reach, reach + 1))
    return (sums[high] - sums[low]) / (high - low)


def _width(path):
    with open_image(path) as sheet:
        return sheet.width


def _sheet(path):
    with open_image(path) as sheet:
        return sheet.convert("RGB")


def _peak_memory_mb():
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    if sys.platform == "win32":
        return round(psutil.Process().memory_info().peak_wset / 2**20)
    import resource  # Windows has no such module

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)
