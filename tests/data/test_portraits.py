"""``builtin:portraits``: photos that everything can be tried on, with the masks drawn as they are read."""

import numpy as np
import pytest
from PIL import Image

from maskhub.cli import main
from maskhub.data.given import GivenPairs
from maskhub.data.labelled import LabelledPhotos
from maskhub.data.portraits import FOLDER, are_portraits, masked_portrait, portraits, write_portraits
from maskhub.data.rows import open_rows
from maskhub.data.sources import is_held_out, open_source
from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.identity_pairs import read_pairs
from maskhub.evaluation.sets import PictureSet
from maskhub.faces.photo import open_photo
from maskhub.masks.styles import STYLES
from maskhub.service.datasets import Datasets
from maskhub.service.home import Home


def test_the_photos_their_people_and_their_attribution():
    everyone = portraits()
    assert len(everyone) == 161 and len({portrait.columns["person"] for portrait in everyone}) == 102
    assert {portrait.image.size for portrait in everyone[::20]} == {(256, 256)}
    text = (FOLDER / "README.md").read_text()
    assert "DeBruine" in text and "CC BY 4.0" in text and "doi.org/10.6084/m9.figshare.5047666" in text


def test_the_splits_follow_the_rule_of_all_photos():
    train, test = portraits("builtin:portraits:train"), portraits("builtin:portraits/masked:test")
    assert len(test) == 24 and all(is_held_out(portrait.name) for portrait in test)
    assert sorted(portrait.name for portrait in (*train, *test)) == [portrait.name for portrait in portraits()]
    assert open_source("builtin:portraits", holdout=True).size == open_source("builtin:portraits:train").size == 137
    with pytest.raises(SourceError, match="holds no photo"):
        open_source("builtin:portraits:test", holdout=True)


@pytest.mark.parametrize("spec", ["builtin:portraits/mask", "builtin:portraits:dev", "builtin:portraits/masked/test"])
def test_a_wrong_spec_is_one_line(spec):
    assert are_portraits(spec)
    for open_it in (open_source, open_rows, LabelledPhotos.open):
        with pytest.raises(SourceError, match="the portraits are builtin:portraits"):
            open_it(spec)


def test_another_built_in_name_says_what_there_is():
    with pytest.raises(SourceError, match=r"builtin:portraits\[/masked\]"):
        open_source("builtin:portraitsx")


def test_a_mask_is_drawn_on_each_face():
    masked = portraits("builtin:portraits/masked")
    assert {portrait.columns["mask"] for portrait in masked} == set(STYLES)
    bare, worn = (np.asarray(image).astype(int) for image in (open_photo(masked[3].path), masked[3].image))
    change = np.abs(bare - worn).max(2) > 8
    assert change[140:].mean() > 0.2 and change[:80].mean() < 0.02
    source = open_source("builtin:portraits/masked")
    (_, drawn), *_ = source.walk([0], 0)
    name = source.names[np.random.default_rng((0, 0)).permutation(source.size)[0]]
    assert (np.asarray(drawn) == np.asarray(masked_portrait(name))).all()


def test_sources_rows_and_labelled_photos_agree():
    bare, masked = (open_source(f"builtin:portraits{kind}:test") for kind in ("", "/masked"))
    sample = next(iter(GivenPairs(bare, masked, 64, seed=0)))
    assert sample["unmasked"].shape == (3, 64, 64) and not (sample["unmasked"] == sample["masked"]).all()
    rows = open_rows("builtin:portraits/masked:test")
    assert len(rows) == 24 and [row.name for row in rows] == bare.names and {*rows.others} == {"README.md"}
    splits = {part: open_rows(f"builtin:portraits{part}") for part in ("", ":all", ":train", ":test", "/masked:test")}
    splits = {part: {rows.split_of(unit) for unit in rows.units(10)} for part, rows in splits.items()}
    assert [part for part, names in splits.items() if names == {"test"}] == [":test", "/masked:test"]
    assert [part for part, names in splits.items() if names == {"train"}] == ["", ":all", ":train"]
    row = next(iter(rows))
    assert rows.typed(row.columns)["yaw"] == float(row.columns["yaw"]) and row.columns["mask"] in STYLES
    assert row.digest() != next(iter(open_rows("builtin:portraits:test"))).digest()
    pictures = list(PictureSet("builtin:portraits", held_out=True, limit=3))
    assert [picture.name for picture in pictures] == bare.names[:3] and all(p.held_out for p in pictures)
    known = LabelledPhotos.open(["builtin:portraits:test", "builtin:portraits/masked:test"])
    assert len(known) == 48 and {*known.values("mask")} == {"none", *STYLES}


def test_the_app_lists_them(tmp_path):
    datasets = Datasets(Home(tmp_path))
    assert datasets.sources("builtin:portraits/masked") == ["builtin:portraits/masked:train"]
    faces = datasets.faces("builtin:portraits/masked", "test")
    assert len(faces) == 24 and faces[0].image.size == (256, 256)


def test_pairs_of_people_for_verification():
    pairs = read_pairs(FOLDER)
    people = {portrait.name: portrait.columns["person"] for portrait in portraits()}
    assert sum(pair.same for pair in pairs) == 59 and len(pairs) == 5 * 59
    assert all((people[pair.first] == people[pair.second]) == pair.same for pair in pairs)
    folds = [{people[name] for p in pairs if p.fold == fold for name in (p.first, p.second)} for fold in range(1, 6)]
    assert sum(map(len, folds)) == len(set.union(*folds))


@pytest.fixture
def two(monkeypatch):
    """Only two test photos, since lossless WebP is slow to write."""
    portraits.cache_clear()
    monkeypatch.setattr(
        "maskhub.data.portraits.is_held_out", lambda name: name in ("london_00003.webp", "london_00005.webp")
    )
    yield
    portraits.cache_clear()


def test_they_can_be_written_as_a_folder(two, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["dataset", "draw", "builtin:portraits/masked:test", str(tmp_path / "o")])
    assert not stop.value.code and "2 faces written" in capsys.readouterr().out
    rows = list(open_rows(tmp_path / "o"))
    assert len(rows) == 2 and rows[0].columns["mask"] in STYLES and (tmp_path / "o" / "README.md").is_file()
    with Image.open(rows[0].photo) as photo:
        assert (np.asarray(photo) == np.asarray(masked_portrait(rows[0].name))).all()
    with pytest.raises(ConfigError, match="another data set"):
        write_portraits("builtin:portraits", tmp_path / "o")


@pytest.mark.parametrize(
    "command", ["mask builtin:portraits:test --workers 0", "unmask builtin:portraits/masked:test --model {model}"]
)
def test_commands_take_them_as_they_take_a_folder(command, two, tiny_pipeline, tmp_path, capsys):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    name, spec, *options = command.format(model=tmp_path / "model").split()
    with pytest.raises(SystemExit) as stop:
        main([name, spec, str(tmp_path / "o"), *options, "--force"])
    assert not stop.value.code and "2 made" in capsys.readouterr().out
    rows = list(open_rows(tmp_path / "o"))
    assert len(rows) == 2 and (name == "unmask" or {*rows[0].columns} > {"person", "mask", "worn"})
    assert name == "unmask" or "CC BY 4.0" in (tmp_path / "o" / "README.md").read_text()  # the attribution goes along
