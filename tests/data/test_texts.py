"""Tables and reports in a folder of results: a run replaces and deletes its own, and no others."""

import csv
import shutil
from contextlib import suppress

import pytest
from PIL import Image

from maskhub import ConfigError
from maskhub.data.batch import process_folder
from maskhub.data.curate import Criteria, curate_source
from maskhub.data.masked import Wearing
from maskhub.data.masked_files import mask_source
from maskhub.data.texts import Texts
from maskhub.faces.photo import open_photo
from maskhub.files import prepare_file


@pytest.fixture
def source(astronaut, tmp_path):
    """A head with a name."""
    (tmp_path / "in").mkdir()
    astronaut.crop((120, 20, 330, 230)).resize((96, 96), Image.Resampling.LANCZOS).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "metadata.csv").write_text("file_name,who\na.png,Eileen\n")
    return tmp_path / "in"


def mask(source, out, boxes="voc", **options):
    return mask_source(source, out, Wearing(seed=1), boxes=boxes, progress=False, **options)


def curate(source, out, **options):
    return curate_source(source, out, Criteria(min_size=10, min_sharpness=0), progress=False, **options)


def unmask(source, out, **options):
    done = lambda path: (open_photo(path), {"likely_poor": 0})  # noqa: E731
    return process_folder(source, out, done, columns=["likely_poor"], progress=False, **options)


RUNS = {"mask": mask, "curate": curate, "unmask": unmask}
TEXTS = {
    "mask": ("metadata.csv", "metadata.jsonl", "summary.html", "annotations/a.xml", "failures.csv"),
    "curate": ("metadata.csv", "metadata.jsonl", "report.json", "report.csv", "failures.csv"),
    "unmask": ("metadata.csv", "metadata.jsonl", "failures.csv"),
}


@pytest.mark.parametrize(("run", "name"), [(run, name) for run, names in TEXTS.items() for name in names])
def test_no_text_of_others_is_lost(source, tmp_path, run, name):
    out, foreign = tmp_path / "out", tmp_path / "out" / name
    for already in (True, False):  # results of an earlier run, none
        if already:
            assert RUNS[run](source, out).made == 1
            assert RUNS[run](source, out).kept == 1
        else:
            shutil.rmtree(out)
            foreign.parent.mkdir(parents=True)
        foreign.write_text("mine")
        any_file = run == "curate" and not already
        said = "holds other files already" if any_file else f"out/{name} was not written by this version of maskhub"
        with pytest.raises(ConfigError, match=said):
            RUNS[run](source, out)
        assert foreign.read_text() == "mine"
        assert already or not (out / "a.png").exists()  # refused before any work
    assert RUNS[run](source, out, overwrite=True).made == 1
    assert not foreign.exists() or foreign.read_text() != "mine"
    assert RUNS[run](source, out).kept == 1


def test_an_edited_table_is_not_lost(source, tmp_path):
    mask(source, tmp_path / "out")
    table = tmp_path / "out" / "metadata.csv"
    (row,) = csv.DictReader(table.open())
    assert row["who"] == "Eileen"
    written = table.read_text()
    table.write_text(written.replace("Eileen", "E. Collins"))
    with pytest.raises(
        ConfigError, match=r"metadata\.csv was not written by this version of maskhub, or was edited since"
    ):
        mask(source, tmp_path / "out")
    table.write_text(written)
    assert mask(source, tmp_path / "out").kept == 1


def test_a_table_of_the_other_kind_is_deleted_if_a_run_wrote_it(source, tmp_path):
    unmask(source, tmp_path / "out")
    (source / "metadata.csv").unlink()
    (source / "metadata.jsonl").write_text('{"file_name": "a.png", "who": "Eileen"}\n')
    unmask(source, tmp_path / "out")
    assert not (tmp_path / "out" / "metadata.csv").exists() and (tmp_path / "out" / "metadata.jsonl").exists()


def test_a_run_that_was_cut_off_knows_its_texts(tmp_path, monkeypatch):
    texts = Texts(tmp_path, {"a", "b"})
    texts.replace({"a": "old", "b": "old"}, [])

    def cut_off(path, content):
        if path.name == "b":
            raise KeyboardInterrupt
        return prepare_file(path, content)

    for prepare, kept in ((cut_off, "old"), (prepare_file, "new")):
        monkeypatch.setattr("maskhub.data.texts.prepare_file", prepare)
        with suppress(KeyboardInterrupt):
            Texts(tmp_path, {"a", "b"}).replace({"a": "new", "b": "new"}, [])
        assert (tmp_path / "b").read_text() == kept
    (tmp_path / "a").write_text("older")
    with pytest.raises(ConfigError):
        Texts(tmp_path, {"a"})


def test_texts_of_other_options_are_still_known(source, tmp_path):
    out = tmp_path / "out"
    for boxes in ("coco", "voc", "yolo", "coco"):
        mask(source, out, boxes=boxes)
    assert (out / "annotations.json").exists()
    mask(source, out, boxes="voc", overwrite=True)
    assert not (out / "annotations.json").exists() and not list(out.rglob("data.yaml"))


def test_a_folder_of_a_tables_name_is_refused(source, tmp_path):
    (tmp_path / "out" / "metadata.jsonl").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"metadata\.jsonl was not written"):
        mask(source, tmp_path / "out")
