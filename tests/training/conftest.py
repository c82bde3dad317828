"""Drawn photos to train on, and a way to run a training script as a user would."""

import os
import subprocess

import numpy as np
import pytest
import torch
from app_process import free_port
from forked import ROOT, Forked
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from maskhub.files import write_file
from maskhub.training import results
from maskhub.training.launch import launch
from maskhub.training.registry import task_class
from maskhub.training.status import read_metrics
from maskhub.training.trainer import Trainer


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


CURVES = {}


@pytest.fixture(scope="module", autouse=True)
def less_to_draw_and_measure():
    """A third of the time of such runs: each task's curves are drawn once and copied to its other runs, and the batch
    norms of averaged weights are measured on fewer samples."""
    draw = results.write_curves

    def write_curves(output, panels, stage_starts=()):
        if panels.__qualname__ not in CURVES:
            path = draw(output, panels, stage_starts)
            if path:
                CURVES[panels.__qualname__] = path.read_bytes()
            return path
        if not read_metrics(output):
            return None
        write_file(output / "curves.png", CURVES[panels.__qualname__])
        return output / "curves.png"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "write_curves", write_curves)
        patch.setattr(results, "MEASURED", 2 * results.AT_ONCE)
        yield


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder with ``unmasked`` (14 photos) and ``masked`` (11)."""
    root, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    for name, count in (("unmasked", 14), ("masked", 11)):
        (root / name).mkdir()
        for number in range(count):
            draw_face(rng, name == "masked").save(root / name / f"{name}_{number:03d}.png")
    return root


SHARED = {"resolution": 32, "batch_size": 2, "workers": 0, "max_steps": 6, "sample_every": 0, "log_every": 1,
          "mixed_precision": "no", "seed": 1}  # fmt: skip
PATCH = {"discriminator_width": 4, "discriminator_layers": 2}
SMALL = {
    "cyclegan": PATCH | {"generator_width": 4, "blocks": 1},
    "simgan": {"generator_width": 4, "blocks": 1, "discriminator_width": 6, "pretrain_generator": 2,
               "pretrain_discriminator": 1},
    "simgan-unmasked": {"start": "unmasked", "generator_width": 4, "blocks": 1, "discriminator_width": 6,
                        "pretrain_generator": 0, "pretrain_discriminator": 0, "discriminator_updates": 2},
    "pix2pix": PATCH | {"generator_width": 4},
    "pix2pix-mask": PATCH | {"generator_width": 4, "direction": "mask", "reconstruction": "cosine-mean"},
    "attentiongan": PATCH | {"generator_width": 4, "blocks": 1, "contents": 2, "lambda_attention": 1.0,
                             "nmc_reach": 0.1},
    "attentiongan-light": PATCH | {"generator": "light", "widths": (8, 12), "light_blocks": (1, 1), "one_sided": True},
    "attentiongan-one-sided": PATCH | {"generator_width": 4, "blocks": 1, "contents": 2, "one_sided": True},
    "unmasker": PATCH | {"widths": (8, 16), "blocks": (1, 1), "real_faces": 1, "bare_faces": 1, "lambda_perceptual": 0,
                         "lambda_identity": 0, "transplanted": 1, "optimizer": "muon"},
    "reimaging": {"source": "builtin:pixel-faces/dark", "attributes": ["tone=dark"], "hidden": [16, 24], "latent": 8,
                  "discriminator_hidden": [16], "discriminator_dropout": 0.2, "batch_size": 8},
    "reimaging-dcgan": {"source": "builtin:pixel-faces/dark", "attributes": ["tone=dark"], "architecture": "dcgan",
                        "width": 2, "latent": 8, "batch_size": 8},
    "classifier": {"width": 4, "hidden": [16], "dropout": 0.2, "batch_size": 16},
    "mask_detector": {"width": 4, "pyramid": 4, "batch_size": 1, "resolution": 64,
                      "ema_decay": 0.5, "lambda_consistency": 0.5},
}  # fmt: skip
"""Options of runs of seconds, for every task and its variants."""
ADVERSARIAL = [
    name for name in SMALL if name.split("-")[0] in ("cyclegan", "simgan", "pix2pix", "attentiongan", "unmasker")
]


def task_of(name):
    """The task of a name in SMALL."""
    return task_class(name.split("-")[0])


def quick(names, *chosen):
    """Names to parametrize with: those that aren't chosen are marked ``slow``."""
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.slow) for name in names]


def command_line(options):
    """Options as words of a command line."""
    words = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, (tuple, list)) else [value])]
    return words


def weights(folder):
    """The tensors of all safetensors files below a folder, by path."""
    return {path.relative_to(folder): load_file(path) for path in sorted(folder.rglob("*.safetensors"))}


def same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one and one.keys() == other.keys()
    return all(torch.equal(value, other[path][key]) for path, tensors in one.items() for key, value in tensors.items())


@pytest.fixture(scope="session")
def small(drawn, faces, detector_photos):
    """A function from a name in SMALL and an output folder to the options of a small run, as a dict."""

    def options(name, output, **changes):
        own = SHARED | SMALL[name] | {"output": str(output)}
        if name == "mask_detector":
            photos = {kind: str(detector_photos / kind) for kind in ("unmasked", "masked")}
            own |= photos | {"cache": str(detector_photos / "faces.sqlite")}
        elif name in ADVERSARIAL:
            worn = name != "cyclegan" and own.get("start") != "unmasked"
            own["unmasked"] = str(faces if worn else drawn / "unmasked")
            if "pix2pix" not in name:
                own["masked"] = str(drawn / "masked")
        return own | changes

    return options


@pytest.fixture
def trainer(small, tmp_path):
    """A function from a name in SMALL and changed options to a trainer that is ready for its first step."""
    made = []

    def make(name, **changes):
        task = task_of(name)
        made.append(Trainer(task, task.Options(**small(name, tmp_path / "run", **changes))))
        made[-1].prepare()
        return made[-1]

    yield make
    for one in made:
        one.close()


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
def start(tmp_path_factory):
    """Start a training script with options; returns a ``Popen`` or :class:`Forked`, output in one pipe or file.

    With a launcher a fresh interpreter is started, without one it is forked, which saves seconds.
    """

    def run(*options, launcher=(), script="train_cyclegan.py", **more):
        path = ROOT / "train_scripts" / script
        if not launcher:
            output = tmp_path_factory.mktemp("forked") / "output.txt"
            return Forked(path, *options, output=output, environment=environment(), **more)
        command = [*launcher, str(path), *map(str, options)]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=environment(**more), **how)

    return run


@pytest.fixture
def here(capfd):
    """Run a task in this process, which saves seconds of imports; returns exit code and output."""

    def run(name, options, *more):
        code = 0
        try:
            launch(task_of(name), "", [*command_line(options), *map(str, more)])
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


@pytest.fixture(scope="session")
def finish_two(tmp_path_factory):
    """Run a training script to its end as two processes, as torchrun would; returns both exit codes and the output."""

    def run(*options, script):
        output, port = tmp_path_factory.mktemp("two") / "output.txt", free_port()
        common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        path = ROOT / "train_scripts" / script
        ranks = [
            Forked(path, *options, output=output, environment=environment(RANK=rank, LOCAL_RANK=rank, **common))
            for rank in "01"
        ]
        for process in ranks:
            process.wait(240)
        return [process.returncode for process in ranks], output.read_text()

    return run
