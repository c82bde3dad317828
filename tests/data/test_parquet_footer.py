"""The row groups that a footer describes are those that pyarrow finds; broken ones are one error, and end nothing."""

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features, Value
from datasets import Image as ImageFeature
from fuzzing import mutated_bytes

from maskhub.data.parquet_footer import row_groups
from maskhub.data.shard_file import open_shard, read_note
from maskhub.data.sources import open_source
from maskhub.data.units import filled_rows, read_names, read_unit, units
from maskhub.errors import SourceError


def footer_of(data):
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


def with_footer(data, footer):
    return data[: -8 - len(footer_of(data))] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def written(count, **layout):
    """A file of many columns, one of them nested and some with empty cells."""
    rows = [{f"c{column}": row if row % 3 else None for column in range(20)} for row in range(count)]
    rows = [row | {"faces": [{"box": [0.5, number]}] * (number % 4)} for number, row in enumerate(rows)]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, **layout)
    return file.getvalue()


@pytest.mark.parametrize(
    "layout",
    [
        {"row_group_size": 4, "write_page_index": True},
        {"compression": "zstd", "data_page_version": "2.0", "write_page_checksum": True},
        {"compression": "none", "write_statistics": False, "use_dictionary": False, "version": "1.0"},
        {"row_group_size": 7, "write_statistics": ["c3"], "sorting_columns": [pq.SortingColumn(1)]},
    ],
)
def test_row_groups_are_those_of_pyarrow(layout):
    data = written(50, **layout)
    metadata, found = pq.read_metadata(io.BytesIO(data)), row_groups(footer_of(data))
    assert len(found) == metadata.num_row_groups
    for number, group in enumerate(found):
        theirs = metadata.row_group(number)
        columns = [theirs.column(place) for place in range(theirs.num_columns)]
        assert (group.rows, group.decoded) == (theirs.num_rows, theirs.total_byte_size)
        assert group.size == sum(column.total_compressed_size for column in columns)
        nulls = {column.path_in_schema: column.statistics and column.statistics.null_count for column in columns}
        assert group.nulls == nulls and len(nulls) == 21


def test_broken_footers_are_refused():
    footer, refused = footer_of(written(4)), 0
    for number in range(300):
        rng = random.Random(number)
        broken = footer[:number] if number % 2 else mutated_bytes(footer, rng)
        try:
            assert all(group.rows >= 0 and group.size >= 0 for group in row_groups(broken))
        except ValueError as error:
            refused += str(error).startswith("its footer ")
    assert refused > 200
    for nested in (b"\x1c" * 10_000, b"\x19\x19" + b"\x19" * 10_000, b"\x19\xfc" + b"\xff" * 9 + b"\x01"):
        with pytest.raises(ValueError, match="its footer"):
            row_groups(nested)


def test_a_column_that_does_not_fit_its_description_ends_no_process(tmp_path):
    """pyarrow aborts on it: ``Definition level histogram size mismatch``."""
    features, path = Features({"image": ImageFeature(), "age": Value("int64")}), tmp_path / "data" / "a.parquet"
    path.parent.mkdir()
    with open_shard(path, features) as shard:
        shard.add([{"image": {"bytes": b"no photo", "path": "a.png"}, "age": number} for number in range(4)])
    data = path.read_bytes()
    counts = b"\x36\x00\x00\x08"  # a list of three numbers: 0, 0 and 4 of its values are on the levels 0, 1 and 2
    assert footer_of(data).count(counts) == 2
    path.write_bytes(with_footer(data, footer_of(data).replace(counts, b"\x26\x00\x08")))  # of two: 0 and 4

    source = open_source(f"{tmp_path}#image")
    (unit,) = units(source, limit=0)
    assert filled_rows(source, unit) == 4 and read_note(path)["rows"] == 4
    for read in (read_unit, lambda *given: read_unit(*given, most=0), lambda *given: read_names(*given, ["age"])):
        with pytest.raises(SourceError, match="Definition level histogram size mismatch"):
            list(read(source, unit))
    with pytest.raises(SourceError, match="histogram"):
        list(source.walk(range(4), 0))
