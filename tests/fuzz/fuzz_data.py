"""What data sets are read from: metadata tables, journals of earlier runs, parquet shards, archives."""

import io
import json
import random
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

from fuzzing import fuzz, mutated_bytes, mutated_json
from PIL import Image

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-data-"))
PHOTOS = ("a.png", "b.png")


def inputs():
    from datasets import Features, Value
    from datasets import Image as ImageFeature

    from maskhub.data.shard_file import open_shard
    from maskhub.data.tables import table_text

    warnings.simplefilter("ignore")
    for name in PHOTOS:
        (FOLDER / "in").mkdir(exist_ok=True)
        Image.new("RGB", (24, 24), "red").save(FOLDER / "in" / name)
    rows = [{"file_name": name, "who": "=1+2", "age": n, "boxes": [[1, 2.5], [n]]} for n, name in enumerate(PHOTOS)]
    found = {f"metadata{suffix}": table_text(rows, suffix).encode() for suffix in (".csv", ".jsonl")}
    run()
    found["journal.jsonl"] = (FOLDER / "out" / ".maskhub" / "journal.jsonl").read_bytes()
    with open_shard(FOLDER / "shard.parquet", Features({"image": ImageFeature(), "age": Value("int64")})) as shard:
        data = (FOLDER / "in" / "a.png").read_bytes()
        shard.add([{"image": {"bytes": data, "path": "a.png"}, "age": n} for n in range(4)])
    found["shard.parquet"] = (FOLDER / "shard.parquet").read_bytes()
    found["table.parquet"] = table(data)
    return found | {f"train-0.{kind}": archive(kind, data) for kind in ("tar", "zip")}


def archive(kind, photo):
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            for number in range(4):
                made.writestr(zipfile.ZipInfo(f"{number}.png"), photo)
        return file.getvalue()
    with tarfile.open(fileobj=file, mode="w") as made:
        for number in range(4):
            for name, data in ((f"{number}.png", photo), (f"{number}.json", b'{"age": 7}')):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                made.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def table(photo):
    """A parquet file of another program: several row groups and pages, empty cells, no checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"image": {"bytes": photo, "path": f"{n}.png"}, "boxes": [[n, 1]] * (n % 3) or None} for n in range(12)]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=5, data_page_version="2.0", data_page_size=300)
    return file.getvalue()


def run():
    from maskhub.data.batch import process_folder
    from maskhub.faces.photo import open_photo

    return process_folder(FOLDER / "in", FOLDER / "out", open_photo, progress=False)


def mutate(data, rng):
    if data.startswith(b"PAR1") and rng.random() < 0.5:  # the footer alone, whose length is right
        footer = 8 + int.from_bytes(data[-8:-4], "little")
        broken = mutated_bytes(data[-footer:-8], rng)
        return data[:-footer] + broken + len(broken).to_bytes(4, "little") + b"PAR1"
    if data.startswith(b"PAR1") or rng.random() < 0.5:
        return mutated_bytes(data, rng)
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    try:
        lines[place] = json.dumps(mutated_json(json.loads(lines[place]), rng)).encode()
    except ValueError:  # a line of CSV
        lines[place] = b",".join(rng.choices([*lines[place].split(b","), b'"', b"\0", b"x" * 200_000], k=4))
    return b"\n".join(lines)


def read(name, data):
    from datasets import disable_caching

    from maskhub.data.rows import FolderRows
    from maskhub.data.tables import metadata_names, table_text
    from maskhub.errors import MaskHubError

    if name.startswith("metadata"):
        (FOLDER / "in" / name).write_bytes(data)
        try:
            rows = FolderRows(FOLDER / "in")
            names = metadata_names(rows.columns, from_folder=True)
            for suffix in (".csv", ".jsonl"):
                lines = [{"file_name": row.name} | {names[k]: v for k, v in row.columns.items()} for row in rows]
                table_text(lines, suffix).encode()
            for row in rows:
                rows.typed(row.columns)
        finally:
            (FOLDER / "in" / name).unlink()
    elif name == "journal.jsonl":
        (FOLDER / "out" / ".maskhub" / name).write_bytes(data)
        assert run().failures == []
    else:
        disable_caching()
        folder = FOLDER / f"shards{random.getrandbits(60)}"
        folder.mkdir()
        (folder / name).write_bytes(data)
        refusals = []
        for each in (read_note_of, walk, read_pieces) if name.endswith(".parquet") else (stream,):
            try:
                each(folder / name)
            except MaskHubError as error:
                refusals.append(error)
        shutil.rmtree(folder)
        if refusals:
            raise refusals[0]


def read_note_of(path):
    from maskhub.data.shard_file import read_note

    if path.name == "shard.parquet":
        read_note(path)


def walk(path):
    from maskhub.data.sources import open_source

    for _ in open_source(f"{path.parent}#image").walk(range(4), 0):
        pass


def stream(path):
    from maskhub.data.hub_source import HubSource

    for _ in HubSource(str(path.parent)).walk(range(4), 0):
        pass


def read_pieces(path):
    from maskhub.data.sources import open_source
    from maskhub.data.units import filled_rows, read_names, read_unit, units

    source = open_source(f"{path.parent}#image")
    for unit in units(source, limit=0):
        filled_rows(source, unit)
        for rows in (read_names(source, unit, []), read_unit(source, unit, most=0)):
            for _ in rows:
                pass


if __name__ == "__main__":
    fuzz(inputs(), read, mutate)
