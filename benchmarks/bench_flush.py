"""What it costs a folder run that its results survive a power failure.

    python benchmarks/bench_flush.py ../shared/faces/celeba --n 200 --pairs 5 --place /path/on/the/disk

The same photos are processed with and without ``fsync``, in pairs whose order alternates. ``mask`` puts a mask on
each photo by rule; ``turn`` only turns it by 180°, so that almost all of its time is decoding, encoding and writing.

``ratio`` is photos per second with ``fsync`` divided by those without it, median and range over the pairs; it is valid
on any machine, but needs an idle one. ``ms_waiting`` is the time per photo in which the run did nothing but wait for
the disk: it hardly depends on other work on the machine.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

from PIL import Image

from maskhub.data.batch import process_folder
from maskhub.data.masked import Wearing
from maskhub.data.masked_files import mask_source
from maskhub.faces.photo import open_photo

FSYNC = os.fsync
RUNS = {
    "mask": lambda source, out: mask_source(source, out, Wearing(seed=1), progress=False),
    "turn": lambda source, out: process_folder(
        source, out, lambda path: open_photo(path).transpose(Image.Transpose.ROTATE_180), progress=False
    ),
}


class Waiting:
    """Replaces ``os.fsync``: flushes, or does not, and adds up the time in which at least one thread waits."""

    def __init__(self, flush):
        self.flush, self.seconds, self.calls = flush, 0.0, 0
        self._inside, self._lock = 0, threading.Lock()

    def __call__(self, handle):
        with self._lock:
            self.calls += 1
            self._inside += 1
            if self._inside == 1:
                self._since = time.perf_counter()
        try:
            if self.flush:
                FSYNC(handle)
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self.seconds += time.perf_counter() - self._since


def run(name, source, place, flush):
    """One folder run; seconds, and what it waited."""
    waiting = os.fsync = Waiting(flush)
    try:
        with tempfile.TemporaryDirectory(dir=place) as out:
            begun = time.perf_counter()
            RUNS[name](source, Path(out) / "out")
            return time.perf_counter() - begun, waiting
    finally:
        os.fsync = FSYNC


def compare(name, source, count, place, pairs):
    """The table's row of one kind of run."""
    run(name, source, place, False)  # loads what is loaded late
    ratios, rates, waits = [], [], []
    for pair in range(pairs):
        seconds = {}
        for flush in (True, False) if pair % 2 else (False, True):
            seconds[flush], waiting = run(name, source, place, flush)
            if flush:
                waits.append(1000 * waiting.seconds / count)
                calls = waiting.calls / count
        ratios.append(seconds[False] / seconds[True])
        rates.append(count / seconds[True])
    return {
        "photos": count,
        "pairs": pairs,
        "ratio": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "photos_per_second": round(statistics.median(rates), 1),
        "ms_waiting": round(statistics.median(waits), 2),
        "flushes_per_photo": round(calls, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--n", type=int, default=200, help="number of photos")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--place", type=Path, default=Path.cwd(), help="folder on the disk to be measured")
    options = parser.parse_args()
    files = [path for path in sorted(options.photos.rglob("*")) if path.suffix in (".jpg", ".png")][: options.n]
    with tempfile.TemporaryDirectory(dir=options.place) as folder:
        for number, path in enumerate(files):
            (Path(folder) / f"{number:05d}{path.suffix}").write_bytes(path.read_bytes())
        rows = {name: compare(name, folder, len(files), options.place, options.pairs) for name in RUNS}
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
