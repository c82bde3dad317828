"""Units of a source: together they have each row once, in order, and each is read without the bytes of the others."""

import bz2
import gzip
import io
import lzma
import pickle
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from hub_photos import encoded, push_parquet, row
from huggingface_hub import HfApi

from maskhub.data import units as units_module
from maskhub.data.sources import open_source
from maskhub.data.units import read_unit, unit_limit, units
from maskhub.errors import SourceError

COUNT = 10


def numbers(source, unit, column="image", **options):
    return [int(cell[column]["path"].split("_")[1][:3]) for cell in read_unit(source, unit, **options)]


def push_files(repo, files):
    api = HfApi()
    api.create_repo(repo, repo_type="dataset", exist_ok=True)
    for name, data in files.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=repo, repo_type="dataset")
    return repo


def archive(kind, photos):
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as out:
            for number in photos:
                out.writestr(f"photo_{number:03d}.png", encoded(number))
    else:
        with tarfile.open(fileobj=file, mode="w") as out:
            for number in photos:
                entry = tarfile.TarInfo(f"photo_{number:03d}.png")
                entry.size = len(encoded(number))
                out.addfile(entry, io.BytesIO(encoded(number)))
    return file.getvalue()


@pytest.fixture
def parquet(hub_user, tmp_path):
    """Three files of row groups of two rows."""
    import pyarrow.parquet as pq

    def push(**more):
        push_parquet(tmp_path, hub_user.repo("faces"), [row(number) for number in range(COUNT)])
        files = {}
        for path in sorted(tmp_path.glob("train-*.parquet")):
            pq.write_table(pq.read_table(path), path, row_group_size=2)
            files[f"data/{path.stem}-of-00003.parquet".replace("train-", "train-0000")] = path.read_bytes()
        return push_files(hub_user.repo("faces"), files | more)

    return push


@pytest.mark.parametrize(("limit", "count", "rows"), [(None, 3, None), (0, 6, [2, 2, 1, 2, 1, 2])])
def test_parquet_files_and_row_groups(parquet, limit, count, rows):
    source = open_source(parquet())
    found = units(source, limit)
    assert len(found) == count and sorted(unit.rows or 0 for unit in found) == sorted(rows or [0] * count)
    assert [number for unit in found for number in numbers(source, unit)] == list(range(COUNT))
    assert [label for unit in found for label in (r["label"] for r in read_unit(source, unit, ["label"]))] == list(
        range(COUNT)
    )


def test_rows_are_as_datasets_has_them(parquet):
    source = open_source(parquet())
    assert [row for unit in units(source) for row in read_unit(source, unit)] == list(source.stream)


@pytest.mark.parametrize("start", range(6))
def test_a_unit_is_read_from_any_row(parquet, start):
    source = open_source(parquet())
    assert numbers(source, units(source)[0], start=start) == [0, 1, 2, 3][start:]
    assert numbers(source, units(source, 0)[1], start=start) == [2, 3][start:]


def test_names_follow_from_what_is_stored(parquet, tmp_path):
    before = units(open_source(parquet()))
    again = units(open_source(parquet(**{"README.md": b"another text"})))
    assert [unit.name for unit in before] == [unit.name for unit in again]
    assert before[0].path != again[0].path  # another commit
    changed = units(open_source(parquet(**{"data/train-00001-of-00003.parquet": _other_file(tmp_path)})))
    assert [a.name == b.name for a, b in zip(before, changed, strict=True)] == [True, False, True]
    assert len({unit.name for unit in units(open_source(parquet()), 0)}) == 6


def _other_file(folder):
    return (folder / "train-2.parquet").read_bytes()


@pytest.mark.parametrize("kind", ["tar", "zip", "photos"])
def test_archives_and_photos(hub_user, monkeypatch, kind):
    monkeypatch.setattr(units_module, "PHOTOS", 4)
    halves = (range(5), range(5, COUNT))
    if kind == "photos":
        files = {f"train/photo_{n:03d}.png": encoded(n) for n in range(COUNT)}
    else:
        files = {f"train-{number}.{kind}": archive(kind, half) for number, half in enumerate(halves)}
    source = open_source(push_files(hub_user.repo(kind), files))
    found = units(source)
    assert len(found) == (2 if kind == "tar" else 3)
    cells = [cell for unit in found for cell in read_unit(source, unit, [source.column])]
    assert [source.photo_bytes(cell[source.column]) for cell in cells] == [encoded(n) for n in range(COUNT)]
    assert [cell for unit in found for cell in read_unit(source, unit, [source.column], start=2)] == [
        cell for unit in found for cell in list(read_unit(source, unit, [source.column]))[2:]
    ]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_broken_archive_is_one_error(hub_user, kind):
    data = archive(kind, range(COUNT))
    repo = push_files(hub_user.repo(kind), {f"train-0.{kind}": data[1:] if kind == "tar" else data[:-10]})
    with pytest.raises(SourceError, match=r"a file of the dataset .* is damaged"):
        source = open_source(repo)
        list(read_unit(source, units(source)[0]))


SUFFIXES = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7z": ".xz"}


def in_parts(kind, data, place):
    return kind.compress(data[:place]) + kind.compress(data[place:])


@pytest.mark.parametrize(
    "broken, reason",
    [
        (lambda data, place: data[: place + 20] + b"?" + data[place + 21 :], "the header at byte 6,144 has a bad"),
        (lambda data, place: data[: place + 100], "the header at byte 6,144 has a truncated"),
        (lambda data, place: data[:place] + bytes(512) + data[place + 512 :], "data after its end"),
        (lambda data, place: data[:place], "it ends without its end mark"),
        (lambda data, place: data + data, "data after its end"),
        (lambda data, place: data + bytes(1 << 17), None),
        (lambda data, place: data[: len(data.rstrip(b"\0")) + 1023 & ~511], None),
        (lambda data, place: in_parts(gzip, data, place), None),
        (lambda data, place: in_parts(bz2, data, place), None),
        (lambda data, place: in_parts(lzma, data, place), None),
        (lambda data, place: gzip.compress(data[:place]), "it ends without its end mark"),
        (lambda data, place: gzip.compress(data)[:-50], "ended before"),
        (lambda data, place: gzip.compress(data) + b"more", "it can't be unpacked"),
        (lambda data, place: bz2.compress(data)[:40] + bz2.compress(data), "it can't be unpacked"),
    ],
    ids=[
        "header", "cut", "zeros", "cut before a header", "second archive", "more zeros", "one block of zeros",
        "gzip in parts", "bz2 in parts", "xz in parts", "gzip of a part", "cut gzip", "not only gzip", "damaged bz2",
    ],
)  # fmt: skip
def test_a_tar_is_read_to_its_end(hub_user, broken, reason):
    data = archive("tar", range(COUNT))
    place = data.index(b"photo_006.png")
    data = broken(data, place)
    suffix = next((kind for start, kind in SUFFIXES.items() if data.startswith(start)), "")
    repo = push_files(hub_user.repo("tar"), {f"train-0.tar{suffix}": data})

    def read():
        source = open_source(repo)
        return list(read_unit(source, units(source)[0]))

    if reason is None:
        assert len(read()) == COUNT
        return
    with pytest.raises(SourceError, match=rf"a file of the dataset .* is damaged: .*{reason}"):
        read()


@pytest.mark.parametrize("newer", [False, True])
def test_a_zip_with_an_empty_file_name_is_one_error(hub_user, monkeypatch, newer):
    if newer:  # as from Python 3.12 on, where an empty name is no IndexError, and datasets then finds no file
        monkeypatch.setattr(zipfile.ZipInfo, "is_dir", lambda self: self.filename.endswith("/"))
    file = io.BytesIO(archive("zip", range(2)))
    with zipfile.ZipFile(file, "a") as out:
        out.infolist()[0].filename = ""
        out.writestr("photo_002.png", encoded(2))  # so that the list of entries is written again
    repo = push_files(hub_user.repo("zip"), {"train-0.zip": file.getvalue()})
    newer = newer or sys.version_info >= (3, 12)
    reason = "the dataset .* holds no photo" if newer else "a file of the dataset .* is damaged: an entry has no name"
    with pytest.raises(SourceError, match=reason):
        source = open_source(repo)
        list(read_unit(source, units(source)[0]))


def test_other_index_errors_are_not_taken_for_a_broken_archive(parquet):
    with pytest.raises(IndexError), open_source(parquet()).errors():
        [].pop()


@pytest.mark.parametrize("how", ["damaged", "encrypted"])
def test_a_photo_that_is_damaged_in_a_zip_is_left_out(hub_user, how):
    data, photo = bytearray(archive("zip", range(COUNT))), encoded(3)
    if how == "damaged":
        data[data.index(photo) + len(photo) - 1] ^= 1
    else:
        data[data.rindex(b"photo_003.png") - 46 + 8] |= 1  # its flags in the list of entries
    source = open_source(push_files(hub_user.repo(how), {"train-0.zip": bytes(data)}))
    cells = [cell["image"] for unit in units(source) for cell in read_unit(source, unit)]
    assert [source.photo_bytes(cell) for cell in cells] == [b"" if n == 3 else encoded(n) for n in range(COUNT)]
    with pytest.warns(UserWarning, match=r"left out of training: .*photo_003\.png"):
        assert len(list(source.walk(range(COUNT), 0))) == COUNT


def test_each_byte_is_sent_once(hub, hub_user, tmp_path):
    noise, repo = np.random.default_rng(0), hub_user.repo("large")
    rows = [{"bytes": noise.bytes(100_000), "path": f"photo_{n:03d}.png"} for n in range(60)]
    push_parquet(tmp_path, repo, rows, shards=3)
    source = open_source(repo)
    for limit in (None, 0):
        found = units(source, limit)
        before, asked = hub.served, len(hub.log)
        for reader in range(3):  # three readers share the units
            for unit in found[reader::3]:
                list(read_unit(pickle.loads(pickle.dumps(source)), pickle.loads(pickle.dumps(unit))))
        assert hub.served - before < 1.1 * 6_000_000
        assert len(hub.log) - asked < 20


def test_a_large_row_group_is_read_in_pieces(parquet, hub, monkeypatch):
    monkeypatch.setattr(units_module, "WHOLE", 0)
    source = open_source(parquet())
    assert [number for unit in units(source) for number in numbers(source, unit)] == list(range(COUNT))


def test_large_sources_have_large_units():
    assert [unit_limit(size << 20) for size in (1, 12_800, 10_000_000)] == [64 << 20, 100 << 20, 1 << 30]


def test_a_broken_file_is_one_error(parquet, tmp_path):
    source = open_source(parquet(**{"data/train-00001-of-00003.parquet": b"no parquet"}))
    good, bad, _ = units(source)
    assert numbers(source, good) == [0, 1, 2, 3]
    with pytest.raises(SourceError, match=r"a file of the dataset .* is damaged"):
        list(read_unit(source, bad))
    with pytest.raises(SourceError, match="damaged"):
        units(source, 0)
