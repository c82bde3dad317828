"""Metadata tables: every cell is read back, no cell is a formula, and a broken table gives a one-line error."""

import csv
import io
import json

import pytest

from maskhub.data.rows import FolderRows
from maskhub.data.tables import (
    METADATA,
    csv_text,
    failures_text,
    metadata_names,
    metadata_tables,
    narrowest,
    read_table,
    table_text,
)
from maskhub.errors import SourceError

FORMULAS = ["=cmd|' /C calc'!A0", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\n=1"]
HARMLESS = ["-5", "+4.5e3", "-", "a=b", "", "'=1", "-.5", "5-3"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    for written in (csv_text(["file_name", "reason"], [["a.png", text]]), table_text([{text: text}], ".csv")):
        cells = [cell for row in csv.reader(io.StringIO(written, newline="")) for cell in row]
        assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
        assert f"'{text}" in cells
    rows = list(csv.reader(io.StringIO(csv_text(["file_name"], [[text]]), newline="")))
    assert rows[1] == [f"./{text}"]


@pytest.mark.parametrize("text", HARMLESS)
def test_other_cells_stay_as_they_are(text):
    assert list(csv.reader(io.StringIO(csv_text(["a", "b"], [[text, 1]]), newline="")))[1] == [text, "1"]


def test_line_breaks_stay_within_their_cell():
    text = csv_text(["a", "b"], [["x\ry", "x\r\ny"], ["z", "\r=1"]])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], ["x\ny", "x\ny"], ["z", "'\n=1"]]


def test_a_file_name_stays_the_files():
    written = table_text([{"file_name": "=x.png", "n": 1}], ".csv")
    assert written == "file_name,n\n./=x.png,1\n"


def test_fields_of_any_length(tmp_path):
    long = "x" * 500_000
    (tmp_path / METADATA[0]).write_text(table_text([{"file_name": "a.png", "boxes": long}], ".csv"))
    assert read_table(tmp_path / METADATA[0])[0]["boxes"] == long


def test_half_characters_do_not_end_a_run():
    for suffix in (".csv", ".jsonl"):
        table_text([{"file_name": "a.png", "who": "\ud800", "more": {"deep": ["\udcff"]}}], suffix).encode()


BROKEN = {
    "list": b"[1, 2]\n", "number": b"5\n", "deep": b"[" * 100_000, "half": b'{"file_name": "a.png"',
    "latin": b"\xff\xfe", "mixed": b'{"file_name": "a.png"}\nnull\n',
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_table_is_one_line(tmp_path, content):
    (tmp_path / METADATA[1]).write_bytes(content)
    with pytest.raises(SourceError, match=r"metadata\.jsonl can't be read as metadata"):
        read_table(tmp_path / METADATA[1])


def test_names_that_loaders_keep_for_themselves():
    columns = ["file_name", "image", "mask_file_name", "age", "file_names"]
    names = metadata_names(columns, from_folder=False)
    assert names["age"] == "age"
    assert not [new for new in names.values() if new == "image" or new.endswith(("file_name", "file_names"))]
    assert metadata_names(["mask_file_name"], from_folder=True) == {"mask_file_name": "mask_file_name"}


def test_rows_with_missing_and_surplus_cells(tmp_path):
    from PIL import Image

    Image.new("RGB", (24, 24)).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,who\na.png,x,y,z\nb.png\n")
    (row,) = FolderRows(tmp_path)
    assert row.columns == {"who": "x"}
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "n": 1}) + '\n{"n": 2}\n')
    (row,) = FolderRows(tmp_path)
    assert row.columns == {"n": 1}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", -2], "int64"), (["9223372036854775807"], "int64"), (["9223372036854775808"], "string"),
        (["12345678901234567890123"], "string"), (["9223372036854775807", "1.5"], "string"), (["007"], "string"),
        (["1", "1.5"], "float64"), (["1e999"], "string"), (["1.5", "inf"], "string"), ([True], "string"),
        ([], "string"), (["1" * 5000], "string"), (["9007199254740992", "0.5"], "float64"),
    ],
)  # fmt: skip
def test_a_column_has_the_narrowest_type_that_keeps_its_values(values, kind):
    assert narrowest(values) == kind


UNLIKE = {
    "missing": (["NA", "NA"], ["x", "y"]),
    "none": (["None", "None"], ["None", "abc"]),
    "truth": (["true", "false"], ["a", "b"]),
    "upper truth": (["TRUE", "FALSE"], ["True", "x"]),
    "large": (["1", "2"], ["12345678901234567890123", "2"]),
    "unsigned": (["9223372036854775808", "1"], ["1", "2"]),
    "endless": (["1e999", "2.5"], ["1", "2"]),
    "infinite": (["inf", "1"], ["x", "y"]),
    "other digits": (["\u0663", "1"], ["1", "2"]),
    "blank": (["", ""], ["1", "2"]),
    "a gap": (["1", ""], ["1", "2"]),
    "missing numbers": (["NA", "1"], ["NA", "NA"]),
}
"""Columns of two splits for which loaders may guess different types in CSV."""
ALIKE = {
    "text": (["x", "NA"], ["y", "true"]),
    "integers": (["1", "2"], ["3", "-9223372036854775807"]),
    "blank": (["", ""], ["", ""]),
    "numbers": (["1.5", ""], ["2", "3e5"]),
}


@pytest.mark.parametrize(
    ("splits", "kind"),
    [*((splits, ".jsonl") for splits in UNLIKE.values()), *((splits, ".csv") for splits in ALIKE.values())],
    ids=[*UNLIKE, *(f"alike {name}" for name in ALIKE)],
)
def test_loaders_accept_the_tables_of_all_splits(tmp_path, monkeypatch, splits, kind):
    from datasets import config, load_dataset
    from PIL import Image

    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for split, cells in zip(("train", "test"), splits, strict=True):
        (tmp_path / "in" / split).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / "in" / split / f"{number}.png")
        lines = [f"{number}.png,{cell}\n" for number, cell in enumerate(cells)]
        (tmp_path / "in" / split / METADATA[0]).write_text("file_name,value\n" + "".join(lines))
    rows = FolderRows(tmp_path / "in")
    tables = metadata_tables({name: {} for name in rows.names}, {row.name: row for row in rows}, rows.columns, True)
    assert set(tables) == {f"{split}/metadata{kind}" for split in ("train", "test")}
    for home, text in tables.items():
        assert "Infinity" not in text
        (tmp_path / "in" / home).with_suffix(".csv").unlink()
        (tmp_path / "in" / home).write_text(text)
    loaded = load_dataset("imagefolder", data_dir=str(tmp_path / "in"))
    for split, cells in zip(("train", "test"), splits, strict=True):
        if kind == ".jsonl":
            assert [str(cell or "") for cell in loaded[split]["value"]] == cells


def test_the_table_of_failures_is_safe_and_there_only_with_failures():
    assert failures_text([("=a.png", "no face,\nat all")]) == 'file_name,reason\n./=a.png,"no face,\nat all"\n'
    assert failures_text([]) is None
