"""An import that is killed or finds the disk full at any step: the dataset is as before or complete, and owned."""

import errno
import io
import os
import shutil
import sys
import zipfile

import pytest
from PIL import Image

from maskhub.errors import MaskHubError
from maskhub.service.datasets import Datasets
from maskhub.service.home import Home, owns, process_folder
from maskhub.service.uploads import receive

STEPS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "open"}
"""Audit events of what changes a file system."""
BEFORE = {"old.png": {"tone": "dark"}}
AFTER = BEFORE | {"a.png": {"tone": "light"}, "b.png": {}}
KILLED = 9


@pytest.fixture
def packed(tmp_path):
    """A zip of two pictures, one with attributes."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "tan").save(file, "PNG")
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("metadata.csv", "file_name,tone\na.png,light\n")
        archive.writestr("a.png", file.getvalue())
        archive.writestr("b.png", file.getvalue())
    (tmp_path / "old.png").write_bytes(file.getvalue())
    return tmp_path / "faces.zip"


@pytest.fixture(params=[True, False], ids=["grown", "new"])
def begun(request, tmp_path, packed):
    """A home with a dataset of one picture, or with none; and the states that an import may leave."""
    home = Home(tmp_path / "begun")
    if request.param:
        receive(home, [tmp_path / "old.png"], "faces", attributes={"tone": "dark"}, key="me")
    fresh = {name: columns for name, columns in AFTER.items() if name not in BEFORE}
    return home, (BEFORE, AFTER) if request.param else (None, fresh)


def in_a_process_that_fails(home, packed, at, full):
    """Import in a child whose step ``at`` kills it, or fails (and every later one that needs room); its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    step = 0

    def hook(event, args):
        nonlocal step
        if event not in STEPS or not str(args[0]).startswith(str(home.root)):
            return
        if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        step += 1
        if not full and step == at:
            os._exit(KILLED)
        if full and step >= at and event in ("open", "os.mkdir", "os.link"):
            raise OSError(errno.ENOSPC, "No space left on device")

    code = 1
    try:
        sys.addaudithook(hook)
        report = receive(home, [packed], "faces", key="me")
        code = 0 if report.count == 2 and not report.refused else 3
    except MaskHubError:
        code = 2
    finally:
        os._exit(code)


def contents(home):
    datasets = Datasets(home)
    if "faces" not in datasets.names():
        return None
    assert owns("me", datasets.get("faces").facts)
    return {face.name: face.columns for face in datasets.faces("faces", "train") if face.image}


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("full", [False, True], ids=["killed", "full"])
def test_an_import_is_whole_or_not_at_all_at_every_step(begun, packed, tmp_path, full, stride):
    first, states = begun
    for at in range(1 + full % stride, 500, stride):
        home = Home(shutil.copytree(first.root, tmp_path / f"home-{at}", copy_function=os.link))
        code = in_a_process_that_fails(home, packed, at, full)
        assert code in ((0, 2) if full else (0, KILLED)), (at, code)
        Datasets(home).settle()  # as the next start does
        found = contents(home)
        assert found in states, (at, found)
        if code == 0:
            assert found == states[1]
        elif full:
            assert found == states[0], at
        with process_folder(home.root, ".incoming-"):  # as the next import does
            pass
        left = [path.name for path in home.root.rglob(".*") if path.name not in (".lock", ".maskhub.json")]
        assert [name for name in left if not name.endswith(".lock")] == [], at
        if found is not None:  # nothing that nobody can delete
            Datasets(home).remove("faces", "me")
        shutil.rmtree(home.root)
        if code == 0 and at > 10:
            break
    assert 20 < at < 499
