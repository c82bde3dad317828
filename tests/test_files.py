"""The one way to disk: whole or not at all."""

import os
import subprocess
import sys

import pytest

from maskhub import files
from maskhub.errors import WriteError
from maskhub.json_file import read_json


def test_a_file_and_its_folder_are_written(tmp_path):
    files.write_file(tmp_path / "new" / "a.txt", "ä")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xc3\xa4"
    assert os.listdir(tmp_path / "new") == ["a.txt"]


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real = open

    class Short:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            return self.file.write(data[: max(1, len(data) // 2)])

    monkeypatch.setattr(files, "open", lambda *a, **k: Short(real(*a, **k)), raising=False)
    files.write_file(tmp_path / "a", bytes(range(256)))
    assert (tmp_path / "a").read_bytes() == bytes(range(256))


@pytest.mark.parametrize("step", ["sync", "replace"])
def test_a_failed_step_keeps_the_older_file(tmp_path, monkeypatch, step):
    path = tmp_path / "a"
    files.write_file(path, "old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((files, "sync") if step == "sync" else (files.os, "replace")), fail)
    with pytest.raises(WriteError, match="a could not be written: No space left on device"):
        files.write_file(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_the_longest_name_that_a_file_system_takes(tmp_path):
    files.write_file(tmp_path / ("é" * 120 + ".jpeg"), b"x")


def test_what_an_error_interrupts_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), files.written_file(tmp_path / "a.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_bytes(b"half")
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_folder_replaces_another_at_once(tmp_path):
    for text in ("old", "new"):
        with files.written_folder(tmp_path / "model") as temporary:
            (temporary / "a").write_text(text)
    assert (tmp_path / "model" / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["model"]


def test_a_kill_between_the_two_renames_is_settled(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "a").write_text("old")
    os.replace(model, files._replaced(model))
    files.settle_folder(model)
    assert (model / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["model"]


def test_only_what_a_dead_process_left_is_swept(tmp_path):
    code = "from maskhub import files; from pathlib import Path; print(files._temporary(Path('a.png')).name)"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    mine = files._temporary(tmp_path / "a.png").name
    foreign = f"{files.PARTIAL}00000000-1-abc.png"
    for name in (dead, mine, foreign, "a.png"):
        (tmp_path / name).write_bytes(b"x")
    files.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([mine, foreign, "a.png"])
    os.utime(tmp_path / foreign, (0, 0))
    files.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([mine, "a.png"])


def test_many_files_are_committed_together(tmp_path):
    pending = [files.prepare_file(tmp_path / "deep" / f"{n % 3}" / f"{n}", str(n)) for n in range(40)]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(files.PARTIAL)]
    files.commit(pending)
    found = sorted(int(path.read_text()) for path in tmp_path.rglob("*") if path.is_file())
    assert found == list(range(40))
    discarded = files.prepare_file(tmp_path / "x", "x")
    files.discard([discarded])
    assert sorted(os.listdir(tmp_path)) == ["deep"]


def test_a_failed_commit_leaves_no_temporary_files(tmp_path, monkeypatch):
    pending = [files.prepare_file(tmp_path / str(n), "new") for n in range(3)]

    def fail(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sync", fail)
    with pytest.raises(WriteError, match="could not be written: Input/output error"):
        files.commit(pending)
    assert os.listdir(tmp_path) == []


def test_files_whose_neighbour_cannot_be_prepared_leave_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError):
        files.commit(files.prepare_file(tmp_path / name, "new") for name in ("a", "b", "file/c", "d"))
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_removed_at_once(tmp_path):
    files.write_file(tmp_path / "model" / "a", "x")
    files.remove_folder(tmp_path / "model")
    assert os.listdir(tmp_path) == []
    with pytest.raises(WriteError, match="model could not be written"):
        files.remove_folder(tmp_path / "model")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000], ids=lambda content: content[:3])
def test_a_file_that_holds_no_json_object_reads_as_none(tmp_path, content):
    (tmp_path / "notes.json").write_bytes(content)
    assert read_json(tmp_path / "notes.json") is None and read_json(tmp_path / "missing.json") is None
