"""How fast pairs for training are made on the fly: with an empty cache of landmarks and a full one, by workers.

    python benchmarks/bench_pairs.py FOLDER --resolution 128 --photos 200

The project's own measure is 30 pairs/s at 128 pixels from 2 workers once the cache is full.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path

import torch

from maskhub.data.paired import WornPairs
from maskhub.data.positions import endless_batches
from maskhub.data.sources import open_source


def rate(source, cache, resolution, workers, photos, batch_size):
    """Pairs a second over one pass of the photos, the workers' start left out."""
    data = WornPairs(source, resolution, seed=0, batch_size=batch_size, cache=cache)
    batches = endless_batches(data, workers)
    warm_up = max(1, workers) * 2  # batches; the workers also make some ahead
    for _ in range(warm_up):
        next(batches)
    count = max(1, photos // batch_size - warm_up)
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    return count * batch_size / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    source = open_source(options.folder)
    print(json.dumps({"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "resolution": options.resolution}))
    with tempfile.TemporaryDirectory() as folder:
        for workers in options.workers:
            cache = Path(folder) / f"{workers}.sqlite"
            for state in ("cold", "warm"):
                pairs = rate(source, cache, options.resolution, workers, options.photos, options.batch_size)
                print(json.dumps({"workers": workers, "cache": state, "pairs_per_second": round(pairs, 1)}), flush=True)


if __name__ == "__main__":
    main()
