# /// script
# requires-python = ">=3.11"
# dependencies = ["maskhub[hub]"]
# ///
"""Put masks on the photos of a data set and push the pairs to the Hub as a data set of parquet shards.

    uv run jobs/mask_dataset.py user/faces user/masked-faces --style cloth
    hf jobs uv run --flavor cpu-upgrade --secrets HF_TOKEN jobs/mask_dataset.py user/faces user/masked-faces

SOURCE is user/dataset[/config][:split][@revision][#column], a folder or builtin:portraits, TARGET user/name. Shards are
uploaded as they are made, so a job that was stopped goes on when it is started again, and several jobs can share the
work. All further options are those of `maskhub dataset build`, such as --crops 256 and --private. docs/jobs.md says
what a job costs.
"""

import sys

from maskhub.cli import main

USAGE = "mask_dataset.py: give SOURCE and TARGET, such as user/faces user/masked-faces."

if __name__ == "__main__":
    given = sys.argv[1:]
    if len(given) < 2 or any(word.startswith("-") for word in given[:2]):
        sys.exit(USAGE)
    source, target, *options = given
    main(["dataset", "build", source, f"hf://datasets/{target}", *options])
