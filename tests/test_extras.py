"""The core without its extras: no command of it imports torch and its friends, and a missing one is named in a line."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from maskhub.extras import EXTRAS

ROOT = Path(__file__).parents[1]
BLOCKED = sorted(
    {package for packages in EXTRAS.values() for package in packages} | {"pandas", "sklearn", "safetensors.torch"}
)
CORE = """
import contextlib, io, sys, warnings

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from maskhub.cli import main

def run(*args):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(map(str, args))
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()

"""


def in_core(code, folder):
    """Run code in a Python without any extra; ``run(...)`` runs a command and returns its code, output and errors. It
    leaves nothing at home: onnxruntime would keep its telemetry there."""
    script = f"BLOCKED = {BLOCKED!r}\n{CORE}{code}"
    home = folder / "home"
    home.mkdir()
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)  # set by this process's own import
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*"))
    return done.stdout


def test_the_core_needs_no_extra(astronaut, tmp_path):
    (tmp_path / "photos").mkdir()
    astronaut.save(tmp_path / "photos" / "a.png")
    made = in_core(
        """
for command in (
    ("mask", "photos/a.png", "masked.png", "--boxes", "coco", "--regions", "regions"),
    ("unmask", "masked.png", "unmasked.png"),
    ("translate", "photos/a.png", "translated.png"),
    ("cycle", "photos/a.png", "cycle.png"),
    ("mask", "photos", "many", "--boxes", "voc", "--workers", "0"),
    ("unmask", "many", "bare", "--overwrite"),
    ("dataset", "curate", "photos", "kept", "--workers", "0"),
    ("outline", "photos/a.png", "masked.png", "outlined.png"),
    ("models", "list"),
):
    code, out, err = run(*command)
    assert code == 0, (command, err)
    print(out, end="")
""",
        tmp_path,
    )
    assert "1 of 1 faces masked" in made and "mask taken off" in made and "1 kept" in made
    assert "draws masks by rule, 256 pixels (bundled)" in made
    for name in ("masked.json", "regions/masked.png", "unmasked.png", "translated.png", "cycle.png", "bare/a.png"):
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("unmask", "a.png", "b.png", "--model", "user/model"), "hub"),
        (("mask", "user/photos", "out"), "hub"),
        (("dataset", "build", ".", "out"), "hub"),
        (("unmask", "a.png", "b.png", "--device", "cuda"), "torch"),
        (("unmask", "a.mp4", "b.mp4"), "video"),
        (("convert", "a.pth", "out"), "torch"),
        (("evaluate", "pairs", "--photos", "."), "torch"),
        (("push", ".", "user/model"), "hub"),
    ],
)
def test_a_missing_extra_is_one_line(command, extra, in_a_row):
    code, out, err = in_a_row[command]
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"pip install 'maskhub[{extra}]'" in err


@pytest.fixture(scope="module")
def in_a_row(request, tmp_path_factory, astronaut):
    """The commands of the test above, run in one process: command → what came of it."""
    folder = tmp_path_factory.mktemp("core")
    astronaut.save(folder / "a.png")
    (folder / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    (folder / "config.json").write_text("{}")
    (mark,) = (m for m in test_a_missing_extra_is_one_line.pytestmark if m.name == "parametrize")
    commands = [command for command, _ in mark.args[1]]
    return eval(in_core(f"print({{command: run(*command) for command in {commands!r}}})", folder))


def test_public_names_and_packages_name_the_extra(tmp_path):
    out = in_core(
        f"ROOT = {str(ROOT)!r}"
        """
import maskhub
for name in ("FaceMaskPipeline", "LightGenerator"):
    try:
        getattr(maskhub, name)
    except maskhub.MissingExtraError as error:
        print(error)
sys.path.insert(0, ROOT)
for name, extra in (("maskhub.training", "torch"), ("space", "app")):
    try:
        __import__(name)
    except maskhub.MissingExtraError as error:
        assert f"maskhub[{extra}]" in str(error), error
    else:
        raise AssertionError(name)
for name in ("OnnxFaceMaskPipeline", "detect", "open_photo"):
    getattr(maskhub, name)
""",
        tmp_path,
    )
    assert out.count("pip install 'maskhub[torch]'") == 2


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def requirement_names(lines):
    import re

    return {re.split(r"[\[<>=;~ ]", line, maxsplit=1)[0].lower() for line in lines}


def test_the_metadata_hold_ranges_and_the_core_stays_small():
    about = project()
    extras = about["optional-dependencies"]
    assert set(EXTRAS) | {"all", "test"} == set(extras)
    assert not requirement_names(about["dependencies"]) & {"torch", "diffusers", "gradio", "datasets", "av", "scipy"}
    named = [line for extra, lines in extras.items() if extra != "test" for line in lines]
    for line in [*about["dependencies"], *named]:
        assert "==" not in line, line
        assert "maskhub[" in line or (">=" in line and "<" in line), line


def test_the_pinned_set_has_everything_that_the_extras_of_the_app_have():
    about = project()
    lines = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line and line[0] != "#"]
    pinned = requirement_names(lines)
    extras = about["optional-dependencies"]
    wanted = requirement_names(about["dependencies"]).union(
        *(requirement_names(extras[name]) for name in ("hub", "torch", "video", "train", "app"))
    )
    assert wanted - {"maskhub"} <= pinned


ALONE = {
    "hub": ((), "import maskhub.data.shards, maskhub.data.hub_source, maskhub.hub, maskhub.cards"),
    "video": ((), "import maskhub.pipelines.video, maskhub.pipelines.live, maskhub.commands.film"),
    "train": (("hub", "torch"), "from maskhub.training import launch, registry, report, trainer"),
    "eval": (("hub", "torch"), "from maskhub.evaluation.measures import *; any(map(load, MEASURES))"),
    "export": (("torch",), "import maskhub.models.export, maskhub.pipelines.crop_graph, onnx, onnxscript"),
}
"""Extra → the extras that it includes, and imports that it promises."""
SHARED = {"hub": {"pandas", "httpx"}, "torch": {"scipy"}}
"""Packages that an extra has by its dependencies, though another one names them."""


@pytest.mark.slow
@pytest.mark.parametrize("extra", ALONE)
def test_an_extra_alone_imports_what_it_promises(extra):
    included, code = ALONE[extra]
    there = {package for name in (extra, *included) for package in {*EXTRAS[name], *SHARED.get(name, ())}}
    missing = sorted({package for packages in EXTRAS.values() for package in packages} - there)
    script = f"import sys\nsys.modules |= dict.fromkeys({missing!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
