"""What a recipe costs: CPU seconds of one core for a sample, and hours for all its steps.

    OMP_NUM_THREADS=1 python benchmarks/bench_recipes.py paper-1-table-1-row-1 paper-3-light ...

One step is trained on the built-in faces at the recipe's own sizes, with a batch as small as the method allows, and
counted in the process's own time, so that a shared machine gives the same figures as a free one. Hours are those of the
recipe's steps and batch.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

from maskhub.options import read_recipe
from maskhub.training.registry import task_class
from maskhub.training.trainer import Trainer

RECIPES = Path(__file__).parents[1] / "train_scripts" / "recipes"
SMALLEST = {"simgan": 2, "reimaging": 32, "classifier": 32}
"""Batches that are measured, where it is not one sample."""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", help="names, such as paper-1-table-1-row-1")
    for name in parser.parse_args().recipes:
        seconds, samples = measured(name)
        print(f"{name}: {seconds:.4g} s a sample, {samples:,} samples, {seconds * samples / 3600:,.3g} h", flush=True)


def measured(name):
    """CPU seconds of a sample in the recipe's last stage, and how many samples all its steps take."""
    path = RECIPES / f"{name}.yaml"
    method = re.search(r"train_scripts/train_(\w+)\.py", path.read_text(encoding="utf-8"))[1]
    task = task_class(method)
    options = read_recipe(path, task.Options)
    timeline = options.in_steps(lambda stage: stage.limit_photos or 250, options.batch_size).timeline()
    samples = sum(stage["steps"] * rounds(options, stage) for stage in timeline) * options.batch_size
    last = {key: value for key, value in timeline[-1].items() if key not in ("steps", "masked", "unmasked")}
    with tempfile.TemporaryDirectory() as folder:
        given = {"output": folder, "workers": 0, "batch_size": SMALLEST.get(method, 1), "max_steps": 2, "stages": ()}
        given |= {"mixed_precision": "no", "epochs": 0, "sample_every": 0, "sample_at": (), **last}
        if options.model_fields.keys() & {"lambda_distance"} and options.lambda_distance:
            given["batch_size"] = 2
        if "unmasked" in task.Options.model_fields:
            given |= {"unmasked": "builtin:pixel-faces"}
        if "masked" in task.Options.model_fields and method != "pix2pix":
            given |= {"masked": "builtin:pixel-faces/covered"}
        trainer = Trainer(task, options.replaced(**given))
        trainer.prepare()
        batches = trainer.batches()
        trainer.train_step(batches)
        trainer.step = 1
        start = time.process_time()
        trainer.train_step(batches)
        seconds = time.process_time() - start
        trainer.close()
    return seconds / (given["batch_size"] * rounds(options, timeline[-1])), samples


def rounds(options, stage):
    """Batches that a step of this stage takes."""
    return options.replaced(stages=(), **{key: value for key, value in stage.items() if key != "steps"}).rounds


if __name__ == "__main__":
    main()
