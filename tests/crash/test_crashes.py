"""Every step of every command that writes is a point where it may be cut off; run again, it ends as if nothing was.

Checked after each fault: what is visible under a final name is complete, the same command then ends with exactly what
an undisturbed run makes, a third run finds nothing to do, and no temporary file is left. docs/reliability.md has the
figures: ``python -m pytest -n 0 -m slow tests/crash`` prints them.
"""

import json
import os
import shutil

import pytest
from crash_disk import CUTS, ERRORS, Fault, run_with, visible
from PIL import Image

from maskhub.data.batch import process_folder
from maskhub.data.curate import curate_source
from maskhub.data.masked import Wearing
from maskhub.data.masked_files import mask_source
from maskhub.data.shards import build_dataset
from maskhub.errors import MaskHubError
from maskhub.faces.photo import open_photo
from maskhub.files import PARTIAL, remove_folder, written_folder
from maskhub.pipelines.model_registry import ModelRegistry
from maskhub.service.datasets import Datasets
from maskhub.service.home import Home
from maskhub.service.uploads import receive

KINDS = (*CUTS, *ERRORS)
STRIDES = {"photos": 4, "mask": 48, "build": 40, "curate": 40, "folder": 3, "registry": 5, "imported": 12}
"""In the suite every so many steps are tried, at another offset for each kind of fault; ``slow`` tries all."""


@pytest.fixture(scope="module")
def source(astronaut, tmp_path_factory):
    """A head as PNG and JPEG, one photo without a face, labels and a note."""
    root = tmp_path_factory.mktemp("crash") / "in"
    root.mkdir()
    head = astronaut.crop((120, 20, 330, 230)).resize((72, 72), Image.Resampling.LANCZOS)
    head.save(root / "a.png")
    head.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "b.jpg", quality=90)
    Image.new("RGB", (40, 40)).save(root / "blank.png")
    (root / "metadata.csv").write_text("file_name,who\na.png,1\nb.jpg,2\nblank.png,3\n")
    (root / "notes.txt").write_text("keep me")
    return root


def photos(source, out):
    return process_folder(source, out / "o", lambda path: open_photo(path).rotate(180), progress=False)


def mask(source, out):
    return mask_source(source, out / "o", Wearing(seed=1), regions=out / "r", boxes="voc", progress=False)


def build(source, out):
    return build_dataset(source, out / "o", Wearing(seed=1), crops=64, shard_size=2, rank=0, progress=False)


def curate(source, out):
    from maskhub.data.curate import Criteria

    return curate_source(source, out / "o", Criteria(min_size=10, min_sharpness=0), progress=False)


def folder(source, out):
    """A model folder takes the place of an older one, as a pipeline, a checkpoint or a registered model does."""
    for number in range(2):
        with written_folder(out / "model") as temporary:
            (temporary / "sub").mkdir()
            (temporary / "config.json").write_text(f"config {number}")
            (temporary / "sub" / "weights").write_bytes(bytes([number]) * 3000)
    with written_folder(out / "gone") as temporary:
        (temporary / "config.json").write_text("config")
    remove_folder(out / "gone")


def registry(source, out):
    """Two models are taken in, and one is deleted."""
    models = ModelRegistry(out / "models")
    for name in ("a", "b"):
        if not (models.root / name).exists():
            models.add(name, out.parent / "run")
    models.remove("b")


def imported(source, out):
    """An upload to the web app, after its start has put the home in order."""
    home = Home(out / "home")
    datasets = Datasets(home)
    datasets.settle()
    if "faces" not in datasets.names():
        receive(home, [source / "a.png", source / "b.jpg"], "faces", key="mine")


MODELS = {
    "model": [{"model/config.json": b"config %d" % n, "model/sub/weights": bytes([n]) * 3000} for n in range(2)],
    "gone": [{"gone/config.json": b"config"}],
}
COMMANDS = {"photos": photos, "mask": mask, "build": build, "curate": curate, "folder": folder}
COMMANDS |= {"registry": registry, "imported": imported}


class Trial:
    """A command in a folder of its own, its steps and its result."""

    def __init__(self, name, source, folder, monkeypatch):
        self.name, self.root, self.keep, self.monkeypatch = name, folder / "root", folder / "keep", monkeypatch
        self.command = lambda: COMMANDS[name](source, self.root)
        self.fresh()
        (folder / "run").mkdir()
        index = {"_class_name": "ReimagingPipeline", "models": {"m": {"tone": "dark"}}, "resolution": 32}
        (folder / "run" / "model_index.json").write_text(json.dumps(index))
        self.disk, raised = run_with(self.root, self.command, None, self.keep, monkeypatch)
        assert raised is None
        self.steps, self.result = self.disk.steps, visible(self.root)
        assert self.result

    def fresh(self):
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)

    def check(self, fault):
        """Try one fault; returns whether it struck."""
        self.fresh()
        disk, raised = run_with(self.root, self.command, fault, self.keep, self.monkeypatch)
        if fault.kind in ERRORS:
            assert raised is None or isinstance(raised, MaskHubError), f"{fault}: {raised!r}"
        elif fault.kind in CUTS:
            if disk.left is None:
                return False
            disk.restore()
        self.check_complete(fault)
        again = self.command()
        assert visible(self.root) == self.result, fault
        assert not list(self.root.rglob(f"{PARTIAL}*")), fault
        if again is not None:
            assert self.command().made == 0, fault
        return True

    def check_complete(self, fault):
        """What has a final name is what it will be in the end; only reports of a part may differ."""
        for name, content in visible(self.root).items():
            if name.startswith(("model/", "gone/", "models/b/")):
                continue
            assert content == self.result.get(name) or name.endswith((".csv", ".json", ".md", "/summary.html")), (
                f"{fault}: {name}"
            )
        for model in ("model", "gone"):  # the older one, the newer one, or none, but never a part
            files = {name: data for name, data in visible(self.root).items() if name.startswith(f"{model}/")}
            assert not files or files in MODELS[model], f"{fault}: {sorted(files)}"


@pytest.fixture
def trial(source, tmp_path, monkeypatch):
    return lambda name: Trial(name, source, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", COMMANDS)
def test_some_steps(trial, name):
    one = trial(name)
    stride = STRIDES[name]
    for place, kind in enumerate(KINDS):
        for step in range(place % stride, len(one.steps), stride):
            one.check(Fault(step, kind))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_step(trial, name, capsys):
    one = trial(name)
    struck = sum(one.check(Fault(step, kind)) for kind in KINDS for step in range(len(one.steps)))
    with capsys.disabled():
        print(f"\n{name}: {len(one.steps)} steps, {struck} faults")
    assert struck == len(KINDS) * len(one.steps)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_done_survives_a_power_cut(trial, name):
    one = trial(name)
    for kind in CUTS:
        left = one.disk.survivors(kind)
        hidden = [path for path in left if any(part.startswith(".") for part in path.split("/"))]
        assert {path: data for path, data in left.items() if data is not None and path not in hidden} == one.result


@pytest.mark.parametrize("name", COMMANDS)
def test_short_writes(trial, name):
    one = trial(name)
    run_with(one.root, one.command, Fault(-1, "short writes"), one.keep, one.monkeypatch)
    assert visible(one.root) == one.result


def test_the_disk_itself(tmp_path, monkeypatch):
    """The tests' own disk loses what was not flushed."""

    def careless():
        with open(tmp_path / "root" / "a", "wb") as file:
            file.write(b"x" * 10)
        os.replace(tmp_path / "root" / "a", tmp_path / "root" / "b")
        os.mkdir(tmp_path / "root" / "end")

    for kind, left in (("kill", {"b": b"x" * 10}), ("contents lost", {"b": b""}), ("names lost", {})):
        shutil.rmtree(tmp_path / "root", ignore_errors=True)
        (tmp_path / "root").mkdir()
        disk, _ = run_with(tmp_path / "root", careless, Fault(2, kind), tmp_path / "keep", monkeypatch)
        assert disk.steps == ["write", "replace", "mkdir"]
        assert disk.left == left, kind
