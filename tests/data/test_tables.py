"""Metadata tables: every cell is read back, no cell is a formula, and a broken table gives a one-line error."""

import csv
import io
import json

import pytest

from maskhub.data.rows import FolderRows
from maskhub.data.tables import METADATA, csv_text, metadata_names, read_table, table_text
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
