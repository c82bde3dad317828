"""Check the wheel in fresh environments: ``python tests/install/environments.py [NAME ...]``.

Each environment is a new venv with the wheel, one of its extras or another torch. In it the commands and classes that
the extra promises are run, and the installed size and the commands' times are printed. It takes gigabytes and many
minutes with a CUDA build of torch, so it is not part of the suite. ``uv`` is used if it is installed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "space" / "examples" / "astronaut.jpg"

PIPELINE = """
import numpy as np
from maskhub import FaceMaskPipeline, OnnxFaceMaskPipeline
torch, onnx = (kind.bundled().unmask("masked.png") for kind in (FaceMaskPipeline, OnnxFaceMaskPipeline))
difference = np.abs(np.asarray(torch, int) - np.asarray(onnx))
assert difference.max() <= 1, difference.max()
from maskhub import ReimagingPipeline, ResnetGenerator
ResnetGenerator(width=4, blocks=1).save_pretrained("network")
ResnetGenerator.from_pretrained("network")
ReimagingPipeline.bundled()
"""
CODE = {
    "": "",
    "hub": """
from datasets import load_dataset
assert len(load_dataset("parquet", data_dir="pairs/data")["train"]) == 1
""",
    "video": """
import av, numpy as np
from PIL import Image
with av.open("clip.mp4", "w") as film:
    stream = film.add_stream("libx264", rate=10, width=256, height=256, pix_fmt="yuv420p")
    picture = np.asarray(Image.open("photo.jpg").convert("RGB").resize((256, 256)))
    for frame in [*map(av.VideoFrame.from_ndarray, [picture] * 5), None]:
        film.mux(stream.encode(frame))
""",
    "torch": PIPELINE,
    "train": "import accelerate, matplotlib; from maskhub.training import launch, registry, report",
    "app": "import gradio, pandas, httpx, starlette, anyio, maskhub.service.jobs, maskhub.service.webhook",
    "eval": "from maskhub.evaluation.measures import MEASURES, load; [load(name) for name in MEASURES]",
    "export": """
from maskhub import FaceMaskPipeline, OnnxFaceMaskPipeline, ResnetGenerator
pipe = FaceMaskPipeline(unmasker=ResnetGenerator(width=4, blocks=1), resolution=64)
pipe.export_onnx("exported", weights=False)
OnnxFaceMaskPipeline.from_pretrained("exported").unmask("masked.png", force=True)
""",
    "heif": "import pillow_heif",
}
"""Extra → Python code that must run with it."""
COMMANDS = {
    "": [["mask", "photo.jpg", "masked.png"], ["unmask", "masked.png", "unmasked.png"]],
    "hub": [["dataset", "build", "photos", "pairs", "--workers", "0"]],
    "video": [["mask", "clip.mp4", "masked.mp4"], ["unmask", "masked.mp4", "unmasked.mp4"]],
}
"""Extra → its commands, after the code, or before it for ``hub``."""


def environments(torch):
    """Name → what is installed, and the extras that are checked in it."""
    found = {"core": (["WHEEL"], [""])}
    for extra in CODE:
        if extra:
            found[extra] = ([f"WHEEL[{extra}]", *([] if extra in ("hub", "video", "heif") else [torch])], ["", extra])
    found["torch-2.6"] = (["WHEEL[torch]", "torch==2.6.*"], ["", "torch"])
    found["torch-2.13"] = (["WHEEL[torch]", "torch==2.13.*"], ["", "torch"])
    found["all"] = (["WHEEL[all]", torch], list(CODE))
    # the oldest versions that the metadata allow; only uv can choose them
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    core = project["dependencies"]
    extras = [part for extra in CODE if extra for part in project["optional-dependencies"][extra]]
    every = [*core, *(part for part in extras if not part.startswith("maskhub["))]
    found["core-lowest"] = (["--resolution=lowest-direct", *core, "WHEEL"], [""])
    found["all-lowest"] = (["--resolution=lowest-direct", *every, "WHEEL[all]"], list(CODE))
    found["requirements"] = (
        ["-r", str(ROOT / "requirements.txt"), "WHEEL"],
        ["", "hub", "video", "torch", "train", "app"],
    )
    return found


def build(folder):
    """The wheel of a copy of the package."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "maskhub", source / "maskhub", ignore=shutil.ignore_patterns("__pycache__"))
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source])
    (wheel,) = folder.glob("*.whl")
    print(f"wheel {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
    return wheel


def check(name, installed, extras, wheel, folder):
    """Make an environment, and run the commands and code of its extras."""
    python = folder / name / "bin" / "python"
    installed = [part.replace("WHEEL", str(wheel)) for part in installed]
    run([sys.executable, "-m", "venv", "--without-pip", folder / name])
    if shutil.which("uv"):
        run(["uv", "pip", "install", "-q", "--compile-bytecode", "-p", python, *installed])
    else:
        run([sys.executable, "-m", "pip", "--python", python, "install", "-q", *installed])
    size = sum(path.lstat().st_size for path in (folder / name).rglob("*") if path.is_file())
    print(f"{name}: {size / 1e6:.0f} MB", flush=True)
    work = folder / f"{name}-work"
    (work / "photos").mkdir(parents=True)
    shutil.copy(PHOTO, work / "photo.jpg")
    shutil.copy(PHOTO, work / "photos")
    for extra in extras:
        code = [python, "-c", CODE[extra]]
        commands = [[python.with_name("maskhub"), *command] for command in COMMANDS.get(extra, [])]
        for command in [*commands, code] if extra == "hub" else [code, *commands]:
            times = timed(command, work)
            if command is not code:
                print(f"  {' '.join(map(str, command[1:]))}: {times}", flush=True)
    versions = run([python, "-c", VERSIONS], work).strip()
    print(f"  passed: {', '.join(extra or 'core' for extra in extras)} ({versions})", flush=True)


VERSIONS = """
from importlib.metadata import version
import importlib.util, sys
names = [name for name in ("numpy", "onnxruntime", "torch", "diffusers") if importlib.util.find_spec(name)]
print("Python " + sys.version.split()[0], *(f"{name} {version(name)}" for name in names), sep=", ")
"""


def timed(command, folder):
    """Run a command three times; the least seconds, by the clock and of the processor."""
    best = []
    for _ in range(3):
        before, begun = os.times(), time.perf_counter()
        run(command, folder)
        taken, after = time.perf_counter() - begun, os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        best.append((taken, used))
        if "dataset" in command or "-c" in command:  # run once
            break
    return f"{min(best)[0]:.2f} s, {min(used for _, used in best):.2f} s of processor time"


def run(command, folder=None):
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=clean, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))[:300]} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="environments; by default all")
    parser.add_argument("--torch", default="torch==2.13.*", help="the torch of all environments not named after one")
    options = parser.parse_args()
    known = environments(options.torch)
    if unknown := set(options.names) - set(known):
        parser.error(f"no environment {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    with tempfile.TemporaryDirectory(prefix="maskhub-install-") as folder:
        wheel = build(Path(folder))
        for name in options.names or known:
            check(name, *known[name], wheel, Path(folder))
            shutil.rmtree(Path(folder) / name)


if __name__ == "__main__":
    main()
