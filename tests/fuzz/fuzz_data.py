"""What data sets are read from: metadata tables, journals of earlier runs, parquet shards."""

import json
import random
import shutil
import tempfile
import warnings
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
    return found


def run():
    from maskhub.data.batch import process_folder
    from maskhub.faces.photo import open_photo

    return process_folder(FOLDER / "in", FOLDER / "out", open_photo, progress=False)


def mutate(data, rng):
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
    from maskhub.data.shard_file import read_note
    from maskhub.data.sources import open_source
    from maskhub.data.tables import metadata_names, table_text

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
        try:
            read_note(folder / name)
            for _ in open_source(f"{folder}#image").walk(range(4), 0):
                pass
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    fuzz(inputs(), read, mutate)
