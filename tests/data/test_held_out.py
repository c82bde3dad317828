"""A photo that is held out of a source is held out of every data set made from it, whatever its pictures are called."""

import itertools
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from hub_photos import push_parquet, row
from PIL import Image

from maskhub.data.batch import process_folder
from maskhub.data.curate import Criteria, curate_source
from maskhub.data.folder import is_held_out, original_name
from maskhub.data.labelled import LabelledPhotos
from maskhub.data.masked_files import mask_source
from maskhub.data.rows import open_rows
from maskhub.data.shards import build_dataset
from maskhub.data.sources import FolderSource, open_source
from maskhub.errors import SourceError
from maskhub.evaluation.self_pairs import Photos
from maskhub.evaluation.sets import PictureSet
from maskhub.faces.photo import open_photo
from maskhub.service.datasets import Datasets
from maskhub.service.home import Home
from maskhub.service.uploads import receive

SHAPES = ("{}.png", "j{}.jpg", "g{}.gif", "sub/s{}.png", "20240101-{}.png", "240101-123456-{}.png", "=({}).jpg")
COLUMNS = ("unmasked", "masked")


def named(shape, held_out):
    """The first name of this shape that is held out, or used."""
    return next(name for n in itertools.count() if is_held_out(name := shape.format(n)) == held_out)


NAMES = sorted(named(shape, held_out) for shape in SHAPES for held_out in (False, True))
HELD_OUT = {Path(name).name for name in NAMES if is_held_out(name)}
USED = {Path(name).name for name in NAMES} - HELD_OUT
TWO_FACES = named("{}.png", True), named("{}.png", False)
NO_SUFFIX = named("photo {}", True)


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    """Photos of a face, two with two faces; of each shape of name one is held out, the other is used."""
    root = tmp_path_factory.mktemp("source") / "in"
    head = astronaut.crop((120, 20, 330, 230)).resize((72, 72), Image.Resampling.LANCZOS)
    for name in NAMES:
        faces = 2 if name in TWO_FACES else 1
        photo = Image.new("RGB", (72 * faces, 72))
        for place in range(faces):
            photo.paste(head, (72 * place, 0))
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        photo.save(root / name)
    return root


SLOW = pytest.mark.slow
"""For what is checked in the suite with the other source or target."""


@pytest.fixture
def on_the_hub(folder, hub_user):
    """The same photos in one parquet file on the Hub; and one more, whose name has no suffix, which is held out."""
    from datasets import Dataset, Features
    from datasets import Image as ImageFeature

    rows = [{"bytes": (folder / name).read_bytes(), "path": Path(name).name} for name in NAMES]
    rows.append({**rows[-1], "path": NO_SUFFIX})
    repo = hub_user.repo("photos")
    Dataset.from_dict({"image": rows}, Features({"image": ImageFeature()})).push_to_hub(repo)
    return repo


def build(source, out, **options):
    return build_dataset(source, out, shard_size=4, progress=False, **options)


def taken(spec):
    """The names of the pictures that training with --holdout takes of a stream."""
    source = open_source(spec, holdout=True)
    names = [[cells[0]["path"] for cells in source.photos(unit)] for unit in source.whole_files]
    again = open_source(spec, holdout=True)
    assert [again.count(unit) for unit in again.whole_files] == list(map(len, names))  # reads the names alone
    return list(itertools.chain(*names))


def measured(spec):
    """The photos that measures with --held-out take, by the names in the first source."""
    pictures = [picture.name for picture in PictureSet(spec, held_out=True)]
    rows = [row for row in open_rows(spec) if row.held_out]
    assert len(pictures) == len(rows)
    return [row.original for row in rows]


def check_columns(spec, more=0, start=""):
    """Training takes the pictures of :data:`USED` in both columns, and measures those of :data:`HELD_OUT`; ``more``
    of each have a second face, and ``start`` is what their names start with."""
    for column in COLUMNS:
        names = taken(f"{spec}#{column}")
        own = {re.sub(f"^{start}(.*)-{column}.png$", r"\1", name).removeprefix("sub_") for name in names}
        assert own == {Path(name).stem for name in USED} and len(names) == len(USED) + more
        found = measured(f"{spec}#{column}")
        assert {*found} - {NO_SUFFIX} == HELD_OUT and len(found) == len({*found}) + more


def check_folder(folder):
    """The same for a folder of pictures made from the photos, one of each."""
    rows = [row for row in open_rows(folder) if not row.held_out]
    assert {row.original for row in rows} == USED and len(rows) == len(USED)
    assert [*map(str, FolderSource(folder, holdout=True).paths)] == [row.photo for row in rows]
    assert {*measured(str(folder))} - {NO_SUFFIX} == HELD_OUT


def test_the_photos_themselves(folder):
    check_folder(folder)
    assert {Path(name).name for name in Photos.of(folder, True).columns} == HELD_OUT
    assert {Path(name).name for name in LabelledPhotos.open(str(folder), holdout=True).names} == USED


@pytest.mark.parametrize(
    ("crops", "target"),  # crops: with a row for each face
    [(None, "folder"), (32, "Hub"), pytest.param(None, "Hub", marks=SLOW), pytest.param(32, "folder", marks=SLOW)],
)
def test_a_build_of_a_folder(folder, hub_user, tmp_path, target, crops):
    spec = hub_user.repo(f"of-folder-{crops}") if target == "Hub" else str(tmp_path / "out")
    build(folder, f"hf://datasets/{spec}" if target == "Hub" else spec, crops=crops)
    check_columns(spec, more=int(crops is not None))


@pytest.mark.parametrize("target", [pytest.param("folder", marks=SLOW), "Hub"])
def test_a_build_of_a_data_set_on_the_hub(on_the_hub, hub_user, tmp_path, target):
    assert {*taken(on_the_hub)} == USED and {*measured(on_the_hub)} == {*HELD_OUT, NO_SUFFIX}
    assert len(LabelledPhotos.open(on_the_hub, holdout=True)) == len(USED)
    spec = hub_user.repo("of-hub") if target == "Hub" else str(tmp_path / "out")
    build(on_the_hub, f"hf://datasets/{spec}" if target == "Hub" else spec)
    check_columns(spec, start=r"\d{6}-\d{6}-")
    build(f"{spec}#unmasked", tmp_path / "again", crops=32)  # a build of a build
    check_columns(tmp_path / "again", more=1, start=r"\d{6}-\d{6}-")


def turned(folder, out):
    process_folder(folder, out, lambda path: open_photo(path).rotate(180), png=True, progress=False)


def turned_twice(folder, out):
    turned(folder, out / ".once")
    turned(out / ".once", out / "twice")


def masked_as_png(spec, out):
    mask_source(spec, out, png=True, progress=False)


def cropped(spec, out):
    curate_source(spec, out, Criteria(max_faces=0, min_size=0, min_sharpness=0), crops=32, progress=False)


def uploaded(folder, out):
    """In two uploads, a zip and single files, to the app."""
    home, names = Home(out / ".home"), sorted(NAMES, key=is_held_out)
    with zipfile.ZipFile(out / ".first.zip", "w") as archive:
        for name in names[::2]:
            archive.write(folder / name, name)
    for files in ([out / ".first.zip"], [folder / name for name in names[1::2]]):
        assert not receive(home, files, "faces", key="mine").refused
    assert {key for face in Datasets(home).faces("faces") for key in face.columns} == set()
    shutil.copytree(home.datasets / "faces" / "train", out, dirs_exist_ok=True)


@pytest.mark.parametrize("way", [masked_as_png, cropped, turned, turned_twice, uploaded])
def test_results_of_a_folder_with_other_names(folder, tmp_path, way):
    way(folder, tmp_path)
    assert ".gif" not in {Path(name).suffix for name in FolderSource(tmp_path).names}
    check_folder(tmp_path)


@pytest.mark.parametrize("way", [masked_as_png, cropped])
def test_results_of_a_data_set_on_the_hub(on_the_hub, tmp_path, way):
    way(on_the_hub, tmp_path)
    check_folder(tmp_path)


def test_names_that_decide():
    assert original_name({}, "zip://a/x.png::hf://datasets/u/d/a.zip") == "x.png"
    assert original_name({}, None) is original_name({"file_name": None}, None) is None
    assert original_name({"file_name": "a\\x.jpg", "age": 3}, "other.png") == "x.jpg"
    assert original_name({"file_name": "b.jpg", "original_name": "a.heic"}, "b.jpg") == "a.heic"
    # the numbers are only those of `dataset build` where the pictures are called like the row
    assert original_name({"file_name": "000001-000002-x.jpg"}, "000001-000002-x-masked.png") == "x.jpg"
    assert original_name({"file_name": "000001-000002-x.jpg"}, "7.jpg") == "000001-000002-x.jpg"
    assert original_name({"file_name": "000001-000002.png"}, "000001-000002-masked.png") == "000001-000002.png"


def test_a_labelled_data_set_without_names_has_no_held_out_tenth(hub_user, tmp_path):
    push_parquet(tmp_path, hub_user.repo("nameless"), [{**row(1), "path": None}] * 2, shards=1)
    with pytest.raises(SourceError, match="train without --holdout"):
        LabelledPhotos.open(hub_user.repo("nameless"), holdout=True)
