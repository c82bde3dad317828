"""Bytes that the Hub sends, and photos a second, as processes share a data set: building and training on it.

    python benchmarks/bench_scale.py                            # 16 files of 10 MB; 1, 2, 4 and 8 ranks
    python benchmarks/bench_scale.py train --workers 0 2        # the same for a walk through it in training
    python benchmarks/bench_scale.py workers --workers 0 1 2 4  # photos/s of a core; `apart` should be below 0.15
    python benchmarks/bench_scale.py memory                     # peak memory as row groups and the data set grow

The Hub is the tests' (tests/hub_server.py), on this machine, and counts the bytes of files that it sends. Ranks are
processes of `maskhub dataset build` that are started together, as torchrun or Slurm would.
"""

import argparse
import gc
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
PORTRAITS = ROOT / "maskhub" / "data" / "portraits"
PADDING, JPEG_BYTES = 400_000, 20_000
"""Bytes of noise after each photo, and of the photo, about."""
BATCH = 4
"""Samples of a batch in training."""
WALKS = 2
"""Walks through the data set of a bench of training: a lane may read a few photos of its next walk ahead."""
PHOTOS = 120
"""Photos made for a rate of workers."""


def start_hub(folder):
    """A loopback Hub with one user, to which this process and its children talk."""
    from hub_server import LoopbackHub

    hub = LoopbackHub(folder / "hub", {"hf_bench": ("bench", "write")}).start()
    os.environ |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_bench", "HF_HOME": str(folder / "home")}
    os.environ |= {
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1",
    }
    os.environ["PYTHONPATH"] = str(ROOT)
    return hub


def push(repo, files, size, group=None):
    """Push a data set of ``files`` parquet files of at least ``size`` bytes in row groups of ``group`` rows. Its photos
    are portraits, with noise after the end of the JPEG, so that few of them make a large file. Returns the bytes of all
    files, and the number of photos."""
    import numpy as np
    import pyarrow.parquet as pq
    from datasets import Dataset, Features
    from datasets import Image as ImageFeature
    from huggingface_hub import HfApi
    from PIL import Image

    faces, rng, photos, total = sorted(PORTRAITS.glob("*.webp")), np.random.default_rng(0), 0, 0
    HfApi().create_repo(repo, repo_type="dataset", exist_ok=True)
    for number in range(files):
        rows, held = [], 0
        while held < size:
            file = io.BytesIO()
            Image.open(faces[photos % len(faces)]).convert("RGB").save(file, "JPEG", quality=92)
            data = file.getvalue() + rng.bytes(PADDING)
            rows.append({"image": {"bytes": data, "path": f"{photos:06d}.jpg"}})
            held, photos = held + len(data), photos + 1
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "data.parquet")
            table = Dataset.from_list(rows, features=Features({"image": ImageFeature()})).with_format("arrow")[:]
            pq.write_table(table, path, row_group_size=group, use_content_defined_chunking=True)
            total += path.stat().st_size
            name = f"data/train-{number:05d}-of-{files:05d}.parquet"
            HfApi().upload_file(path_or_fileobj=path, path_in_repo=name, repo_id=repo, repo_type="dataset")
    return total, photos


def build(repo, out, ranks, workers):
    """Start ``ranks`` builds of one data set together; returns seconds until the last one ends."""
    command = [
        sys.executable,
        "-c",
        "from maskhub.cli import main; main()",
        "dataset",
        "build",
        repo,
        str(out),
        "--crops",
        "64",
    ]
    start = time.perf_counter()
    processes = [
        subprocess.Popen(
            [*command, "--workers", str(workers)],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for rank in range(ranks)
    ]
    for process in processes:
        _, errors = process.communicate()
        if process.returncode not in (0, 2):  # 2: a photo without a clear face
            sys.exit(errors.decode())
    return time.perf_counter() - start


def bench_build(hub, folder, options):
    """Bytes sent for a build, as a share of those of the data set, by ranks and workers."""
    size, photos = push("bench/faces", options.files, options.megabytes << 20)
    for workers in options.workers:
        for ranks in options.ranks:
            sent, asked = hub.served, len(hub.log)
            seconds = build("bench/faces", folder / f"out-{ranks}-{workers}", ranks, workers)
            row = {"build": photos, "megabytes": round(size / 1e6), "ranks": ranks, "workers": workers}
            row |= {"sent": round((hub.served - sent) / size, 3), "requests": len(hub.log) - asked}
            print(json.dumps(row | {"photos_per_second": round(photos / seconds, 1)}), flush=True)


def bench_train(hub, folder, options):
    """Bytes sent for each walk through a data set in training, as a share of its bytes, by ranks and workers."""
    size, photos = push("bench/faces", options.files, options.megabytes << 20, options.group)
    for workers in options.workers:
        for ranks in options.ranks:
            sent, asked = hub.served, len(hub.log)
            start = time.perf_counter()
            how = ["--ranks", ranks, "--workers", workers, "--photos", WALKS * photos]
            made = subprocess.run(
                [sys.executable, __file__, "walk", "bench/faces", *map(str, how)], capture_output=True, text=True
            )
            if made.returncode:
                sys.exit(made.stderr)
            row = {"walk": photos, "megabytes": round(size / 1e6), "ranks": ranks, "workers": workers}
            row |= {"sent": round((hub.served - sent) / size / WALKS, 3), "requests": len(hub.log) - asked}
            print(json.dumps(row | {"seconds": round(time.perf_counter() - start, 1)}), flush=True)


def walk(options):
    """Walk through a data set in ``options.ranks`` processes with ``options.workers`` each, as a training run does."""
    import multiprocessing

    from maskhub.data import sources, unpaired  # noqa: F401 (imported once, before the ranks are forked)

    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=walk_share, args=(options, rank)) for rank in range(options.ranks[0])]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit(1)


def walk_share(options, rank):
    """The walk of one rank: ``options.photos`` samples of all ranks together."""
    from maskhub.data.positions import endless_batches
    from maskhub.data.sources import open_source
    from maskhub.data.unpaired import UnpairedPhotos

    (ranks,), (workers,) = options.ranks, options.workers
    how = {"rank": rank, "world": ranks, "batch_size": BATCH, "stop": options.photos // ranks}
    for _ in endless_batches(UnpairedPhotos({"photos": open_source(options.repo)}, 64, 0, **how), workers):
        pass


def bench_memory(hub, folder, options):
    """Peak memory of reading a data set in a build and in training, by the size and number of its row groups."""
    for megabytes, groups, files in (
        (20, 1, 1),
        (20, 1, 3),
        (options.large, 1, 1),
        (options.large, 3, 1),
        (options.large, 1, 3),
    ):
        repo = f"bench/groups-{megabytes}-{groups}-{files}"
        rows = -(-(megabytes << 20) // (PADDING + JPEG_BYTES))
        _, photos = push(repo, files, groups * megabytes << 20, rows)
        row = {"row_group_megabytes": megabytes, "groups": groups, "files": files}
        for how in ("read", "draw"):
            command = [sys.executable, __file__, how, repo, "--photos", str(photos)]
            made = subprocess.run(command, capture_output=True, text=True)
            if made.returncode:
                sys.exit(made.stderr)
            print(json.dumps(row | {"how": how} | json.loads(made.stdout)), flush=True)


def memory(options):
    """Read a data set once, as a build or as training in this process does, and print the memory of this process in
    megabytes: before, and what was added at most."""
    from maskhub.data.sources import open_source
    from maskhub.data.units import read_unit, units
    from maskhub.data.unpaired import UnpairedPhotos

    def rows(source):
        if options.what == "read":
            return itertools.chain.from_iterable(read_unit(source, unit) for unit in units(source))
        return UnpairedPhotos({"photos": source}, 64, 0, batch_size=BATCH, stop=options.photos)

    source = open_source(options.repo)
    for one in (open_source("builtin:portraits"), source):  # so that everything is imported
        next(iter(UnpairedPhotos({"photos": one}, 64, 0)) if one.deal is None else read_unit(one, units(one)[0]))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    before = in_use("VmRSS")
    count = sum(1 for _ in rows(source))
    print(json.dumps({"photos": count, "before": before, "added": in_use("VmHWM") - before}))


def in_use(which):
    """A figure of this process's memory in megabytes, by its name in /proc."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) >> 10


def bench_workers(hub, folder, options):
    """Photos that are made in a second of processor time, so that other work on the machine counts little, by workers.
    They take turns, and the medians are compared. Photos a second of real time are printed, too."""
    import psutil

    from maskhub.data.masked import Wearing
    from maskhub.data.plan import plan_build
    from maskhub.data.workers import run_jobs

    plan = plan_build("builtin:portraits", Wearing(), 256, 1000)
    rows = [row for unit in plan.units for row in plan.rows.read(unit)]
    process = psutil.Process()

    def used():
        every = [process, *process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in every)

    rates = {workers: [] for workers in options.workers}
    for number, workers in itertools.product(range(options.rounds), options.workers):
        answers = run_jobs(plan.work, itertools.cycle(rows), workers)
        for _ in range(10 * max(1, workers)):  # until all have begun
            next(answers)
        before, start = used(), time.perf_counter()
        for _ in range(options.photos):
            next(answers)
        spent, seconds = used() - before, time.perf_counter() - start
        answers.close()
        rates[workers].append(options.photos / spent)
        row = {"round": number, "workers": workers, "photos_per_core_second": round(rates[workers][-1], 2)}
        print(json.dumps(row | {"photos_per_second": round(options.photos / seconds, 2)}), flush=True)
    medians = {workers: median(some) for workers, some in rates.items()}
    apart = 1 - min(medians.values()) / max(medians.values())
    print(
        json.dumps(
            {"medians": {workers: round(rate, 2) for workers, rate in medians.items()}, "apart": round(apart, 3)}
        )
    )


PARTS = {"walk": walk, "read": memory, "draw": memory}
BENCHES = {"build": bench_build, "train": bench_train, "memory": bench_memory, "workers": bench_workers}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=[*BENCHES, *PARTS], default="build")
    parser.add_argument("repo", nargs="?", help=f"for {', '.join(PARTS)}, which other benches call")
    parser.add_argument(
        "--photos", type=int, default=PHOTOS, help="for walk: samples of all ranks; for workers: of a round"
    )
    parser.add_argument("--rounds", type=int, default=5, help="for workers: rounds through all numbers of workers")
    parser.add_argument("--large", type=int, default=200, help="for memory: megabytes of the large row groups")
    parser.add_argument("--group", type=int, help="for train: photos of a row group; by default one for each file")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--workers", type=int, nargs="+", default=[0])
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--megabytes", type=int, default=10, help="of a file")
    options = parser.parse_args()
    if options.what in PARTS:
        PARTS[options.what](options)
        return
    with tempfile.TemporaryDirectory() as folder:
        hub = start_hub(Path(folder))
        print(json.dumps({"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}), flush=True)
        BENCHES[options.what](hub, Path(folder), options)


if __name__ == "__main__":
    main()
