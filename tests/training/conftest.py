"""Drawn photos to train on, and a way to run a training script as a user would."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from app_process import free_port
from PIL import Image, ImageDraw

from maskhub.training.launch import launch
from maskhub.training.registry import METHODS, method

ROOT = Path(__file__).parents[2]


def draw_face(rng, masked):
    tone = tuple(int(v) for v in rng.integers(90, 230, 3))
    image = Image.new("RGB", (48, 48), tuple(int(v) for v in rng.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    draw.ellipse((8, 4, 40, 46), fill=tone)
    draw.ellipse((16, 14, 20, 18), fill="black")
    draw.ellipse((28, 14, 32, 18), fill="black")
    if masked:
        draw.rectangle((11, 24, 37, 42), fill=(120, 180, 220))
    else:
        draw.line((18, 34, 30, 34), fill=(160, 30, 40), width=3)
    return image


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder with ``unmasked`` (14 photos) and ``masked`` (11)."""
    root, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    for name, count in (("unmasked", 14), ("masked", 11)):
        (root / name).mkdir()
        for number in range(count):
            draw_face(rng, name == "masked").save(root / name / f"{name}_{number:03d}.png")
    return root


@pytest.fixture(scope="session")
def small_run(drawn):
    """Options of a run of seconds."""
    options = "--resolution 32 --generator-width 8 --blocks 1 --discriminator-width 8 --discriminator-layers 2"
    options += " --batch-size 2 --sample-every 0 --log-every 1 --seed 1 --workers 0 --mixed-precision no"
    return [*options.split(), "--unmasked", str(drawn / "unmasked"), "--masked", str(drawn / "masked")]


@pytest.fixture(scope="session")
def faces(astronaut, tmp_path_factory):
    """A folder of eight photos with a face that can be found, for what wears masks as it trains."""
    root = tmp_path_factory.mktemp("faces")
    head = astronaut.crop((120, 20, 330, 230))
    for number in range(8):
        head.rotate(number * 8 - 28).resize((128, 128)).save(root / f"face_{number}.png")
    return root


def environment(**extra):
    return os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | extra


@pytest.fixture(scope="session")
def start():
    """Start a training script with options; returns the ``Popen``, output in one pipe."""

    def run(*options, launcher=(sys.executable,), script="train_cyclegan.py", **extra):
        command = [*launcher, str(ROOT / "train_scripts" / script), *map(str, options)]
        return subprocess.Popen(
            command, env=environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return run


@pytest.fixture
def here(capfd):
    """Run a script in this process, which saves seconds of imports; returns exit code and output."""

    def run(*options, name="cyclegan"):
        code = 0
        try:
            launch(*method(name), "", [str(option) for option in options])
        except SystemExit as stop:
            code = stop.code
        return code, "".join(capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def finish(start):
    """Run a training script to its end; returns exit code and output."""

    def run(*options, **how):
        process = start(*options, **how)
        output = process.communicate(timeout=240)[0]
        return process.returncode, output

    return run


def _rank(rank, port, script, options, output):
    environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    os.environ |= {name: str(value) for name, value in environment.items()}
    with open(output, "ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = [script, *options]
    runpy.run_path(script, run_name="__main__")


@pytest.fixture(scope="session")
def finish_two(tmp_path_factory):
    """Run a training script to its end as two processes, as torchrun would; returns both exit codes and the output.

    They are forked from one that has imported everything, which saves as many seconds as the runs themselves take.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["accelerate", *(f"maskhub.training.{module}" for module in (*METHODS, "loop"))])

    def run(*options, script):
        output, port = tmp_path_factory.mktemp("two") / "output.txt", free_port()
        given = (port, str(ROOT / "train_scripts" / script), [str(option) for option in options], str(output))
        ranks = [context.Process(target=_rank, args=(rank, *given)) for rank in (0, 1)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(240)
            process.kill()
            process.join()
        return [process.exitcode for process in ranks], output.read_text()

    return run
