"""Pixel faces: complete, unlike one another, the same for ever, and a source like any other."""

import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from maskhub.data.bias_faces import bias_faces
from maskhub.data.given import GivenPairs
from maskhub.data.labelled import LabelledPhotos, parse_attributes
from maskhub.data.paired import WornPairs
from maskhub.data.pixel_faces import (
    CHOICES,
    HAIR_COLOURS,
    SETS,
    SKIN,
    Attributes,
    BuiltinSpec,
    draw,
    pixel_faces,
    write_folder,
)
from maskhub.data.rows import open_rows
from maskhub.data.sources import is_held_out, open_source
from maskhub.data.unpaired import UnpairedPhotos
from maskhub.errors import ConfigError, SourceError

ALL = "builtin:pixel-faces:all"


def test_three_sets_of_125_with_every_combination_once():
    faces = pixel_faces(ALL)
    assert len(faces) == 375
    for tone in SETS:
        kinds = [(f.attributes.eyes, f.attributes.nose, f.attributes.mouth) for f in faces if f.attributes.tone == tone]
        assert sorted(kinds) == sorted(itertools.product(CHOICES["eyes"], CHOICES["nose"], CHOICES["mouth"]))
    assert len({face.pixels.tobytes() for face in faces}) == len({face.name for face in faces}) == 375


def test_the_split_is_the_papers_and_even():
    train, test = pixel_faces("builtin:pixel-faces"), pixel_faces("builtin:pixel-faces:test")
    assert (len(train), len(test)) == (300, 75)
    assert not {face.name for face in train} & {face.name for face in test}
    for name in ("tone", "eyes", "nose", "mouth"):
        assert set(Counter(getattr(face.attributes, name) for face in test).values()) == {75 // len(CHOICES[name])}


def test_every_choice_changes_the_picture():
    base = {name: choices[0] for name, choices in CHOICES.items()}
    for name, choices in CHOICES.items():
        colours = {"mask": "blue", "scarf": "teal"}
        pictures = {
            draw(Attributes(**base | {name: choice}, covering_colour=colours.get(choice, "")))[0].tobytes()
            for choice in choices
        }
        assert len(pictures) == len(choices), name


def test_what_is_drawn_today_is_drawn_tomorrow():
    """Weights in the package were trained on these very pixels."""
    for spec, expected in {
        ALL: "55f9eb536685eb8c", "builtin:pixel-faces/covered:all": "f66db314ec104e00",
    }.items():  # fmt: skip
        digest = hashlib.sha256(b"".join(face.name.encode() + face.pixels.tobytes() for face in pixel_faces(spec)))
        assert digest.hexdigest()[:16] == expected


def test_a_covering_covers_its_region_and_nothing_else():
    for face in pixel_faces("builtin:pixel-faces/covered:all"):
        bare = face.uncovered()
        changed = (bare.pixels != face.pixels).any(2)
        assert not (changed & ~face.region).any()
        assert not bare.region.any()
        assert 90 < face.region.sum() < 330
        assert face.region[21:24, 12:20].all()  # every mouth
    kinds = Counter(face.attributes.covering for face in pixel_faces("builtin:pixel-faces/covered:all"))
    assert set(kinds) == {"mask", "scarf"}
    assert {f.attributes.covering for f in pixel_faces("builtin:pixel-faces/scarf")} == {"scarf"}


def test_uniform_sets_are_those_of_the_thesis():
    """125 faces, 5 eyes × 5 noses × 5 mouths; all else the same in a set, colours with the thesis's bias."""
    colours = {"light": ("fair", "blue"), "medium": ("black", "black"), "dark": ("black", "black")}
    for tone in SETS:
        faces = pixel_faces(f"builtin:pixel-faces/{tone}/uniform:all")
        assert len({face.pixels.tobytes() for face in faces}) == 125
        values = {name: {getattr(face.attributes, name) for face in faces} for name in CHOICES}
        assert {name for name, found in values.items() if len(found) > 1} == {"eyes", "nose", "mouth"}
        assert (values["hair_colour"], values["eye_colour"]) == tuple({colour} for colour in colours[tone])
    styles = {face.attributes.hair_style for face in pixel_faces("builtin:pixel-faces/uniform:all")}
    assert len(styles) == 1  # the sets have the same structures


def test_the_faces_of_the_figures_on_bias():
    """Their skin lies where the figure says, and nothing but the skin is mixed."""
    by_figure = {face.figure: face for face in bias_faces()}
    assert sorted(by_figure) == [23, 24, 25]
    cheek = {tone: np.array(SKIN[tone][2], float) for tone in SETS}
    for number, (first, second, share) in {23: ("light", "medium", 0.3), 24: ("medium", "dark", 0.5)}.items():
        expected = cheek[first] + share * (cheek[second] - cheek[first])
        pixels = by_figure[number].pixels.reshape(-1, 3)
        assert (np.abs(pixels - expected).max(1) <= 0.5).sum() > 50
    assert (by_figure[25].pixels == np.array(SKIN["light"][2])).all(2).sum() > 50
    for face in bias_faces():
        colours = {tuple(colour) for colour in face.pixels.reshape(-1, 3).tolist()}
        assert set(HAIR_COLOURS["black" if face.figure == 25 else "fair"]) <= colours
        assert not any((face.pixels == known.pixels).all() for known in pixel_faces("builtin:pixel-faces/uniform:all"))


def test_varied_sets_have_a_thousand_faces_of_the_same_split():
    light = pixel_faces("builtin:pixel-faces/light/varied")
    assert len(light) == 800
    test = pixel_faces("builtin:pixel-faces/light/varied:test")
    kinds = [{(f.attributes.eyes, f.attributes.nose, f.attributes.mouth) for f in part} for part in (light, test)]
    assert not kinds[0] & kinds[1]


@pytest.mark.parametrize("spec", ["nonsense", "/nonsense", ":dev", "/mask/scarf", "/uniform/varied", "/light:", "s"])
def test_unknown_specs_are_named(spec):
    with pytest.raises(SourceError, match="there is no source builtin:pixel-faces"):
        open_source(f"builtin:pixel-faces{spec}")


def test_a_spec_taken_apart():
    spec = BuiltinSpec.parse("builtin:pixel-faces/dark/scarf/varied:test")
    assert spec == BuiltinSpec(("dark",), "scarf", varied=True, split="test")


def test_impossible_attributes_are_named():
    base = {name: choices[0] for name, choices in CHOICES.items()}
    with pytest.raises(ConfigError, match="nose is 'long'; it must be one of button"):
        Attributes(**base | {"nose": "long"})
    with pytest.raises(ConfigError, match="a mask's colour is one of blue, mint, lilac"):
        Attributes(**base | {"covering": "mask"})


def test_a_source_is_walked_by_position():
    source = open_source("builtin:pixel-faces/light")
    seen = [photo.tobytes() for _, photo in source.walk(range(200), seed=3)]
    assert source.size == 100 and len(set(seen[:100])) == 100
    assert [photo.tobytes() for _, photo in source.walk(range(150, 200), seed=3)] == seen[150:]
    assert seen[:100] != seen[100:]


def test_held_out_faces_are_left_out():
    names = [face.name for face in open_source("builtin:pixel-faces", holdout=True).faces]
    assert 0 < len(names) < 300 and not any(map(is_held_out, names))


def test_unpaired_batches_come_from_it():
    unmasked, masked = open_source("builtin:pixel-faces"), open_source("builtin:pixel-faces/covered")
    sample = next(iter(UnpairedPhotos({"unmasked": unmasked, "masked": masked}, 32, seed=0)))
    assert {name: tuple(photo.shape) for name, photo in sample.items()} == dict.fromkeys(sample, (3, 32, 32))
    assert sample["unmasked"].abs().max() <= 1


def test_pairs_are_the_same_face_twice():
    source = open_source("builtin:pixel-faces")
    for position in (0, 5, 301):
        unmasked, masked, region = source.pair(position, seed=1)
        assert (unmasked == np.asarray(next(source.walk([position], 1))[1])).all()
        assert region.any() and (unmasked == masked)[region == 0].all()
    assert {source.pair(n, 1)[1][22, 16].tobytes() for n in range(40)} != {source.pair(0, 1)[1][22, 16].tobytes()}


def test_pairs_worn_and_given_come_from_it():
    unmasked, masked = open_source("builtin:pixel-faces"), open_source("builtin:pixel-faces/covered")
    for pairs in (WornPairs(unmasked, 64, seed=0), GivenPairs(unmasked, masked, 32, seed=0, load_scale=1.0)):
        for pair in itertools.islice(pairs, 3):
            changed = (pair["unmasked"] != pair["masked"]).any(0)
            assert 0.05 < changed.float().mean() < 0.4
            assert not (changed & (pair["region"][0] == 0)).any() if "region" in pair else True
    with pytest.raises(SourceError, match="have no pair: light-000"):
        GivenPairs(unmasked, open_source("builtin:pixel-faces/dark/mask"), 32, seed=0)


@pytest.mark.parametrize("command", ["build", "curate"])
def test_masking_and_curating_say_why_not(command, tmp_path):
    from maskhub.data.curate import curate_source
    from maskhub.data.masked import Wearing
    from maskhub.data.shards import build_dataset

    with pytest.raises(SourceError, match="too small for face detectors"):
        if command == "curate":
            curate_source("builtin:pixel-faces", tmp_path / "out")
        else:
            build_dataset("builtin:pixel-faces", tmp_path / "out", Wearing())


def test_written_as_a_folder_it_reads_back_alike(tmp_path):
    assert write_folder("builtin:pixel-faces/dark/mask:test", tmp_path) == 25
    rows = list(open_rows(tmp_path))
    faces = {face.name: face for face in pixel_faces("builtin:pixel-faces/dark/mask:test")}
    assert {row.name: row.columns for row in rows} == {name: face.columns for name, face in faces.items()}
    for row in rows:
        with Image.open(row.photo) as photo:
            assert (np.asarray(photo) == faces[row.name].pixels).all()
    there, here = LabelledPhotos.open(str(tmp_path)), LabelledPhotos.open("builtin:pixel-faces/dark/mask:test")
    assert there.fingerprint() == here.fingerprint() and there.columns == here.columns


def test_photos_by_attribute():
    photos = LabelledPhotos.open(["builtin:pixel-faces", "builtin:pixel-faces/covered"])
    assert photos.images.shape == (600, 32, 32, 3)
    dark = photos.where({"tone": "dark", "covering": "scarf"})
    assert {known["tone"] for known in dark.columns} == {"dark"} and 10 < len(dark) < 100
    assert photos.values("tone") == ["dark", "light", "medium"]
    assert photos.labels("tone", SETS).bincount().tolist() == [200, 200, 200]
    assert torch.equal(
        ((photos.tensor([3]) + 1) * 127.5).round().byte()[0], torch.tensor(photos.images[3]).permute(2, 0, 1)
    )
    with pytest.raises(SourceError, match=r"no photo of .* has tone=green \(tone: dark, light, medium\)"):
        photos.where({"tone": "green"})
    with pytest.raises(SourceError, match="has no size; it must be one of"):
        photos.labels("size", ("a", "b"))
    assert parse_attributes(["place=a=b", " tone = light "]) == {"place": "a=b", "tone": "light"}
    for text in ("tone", "tone=", "=light", " = "):
        with pytest.raises(ConfigError, match="column=value"):
            parse_attributes(["tone=light", text])


def test_magnified_pixel_art_comes_back_exactly(tmp_path):
    face = pixel_faces("builtin:pixel-faces:test")[7]
    face.image.resize((256, 256), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    Image.new("RGB", (60, 40), "red").save(tmp_path / "other.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"left out: .*broken.png"):
        photos = LabelledPhotos.open(str(tmp_path))
    assert photos.names == ["large.png", "other.png"]
    assert (photos.images[0] == face.pixels).all()
