"""What of a face is re-imaged: coverings that are found, drawn for the visitor, or painted."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from maskhub.data.pixel_faces import pixel_faces
from maskhub.data.portraits import portraits
from maskhub.errors import CheckpointError, PhotoError
from maskhub.models.dense import DenseGenerator
from maskhub.pipelines.model_registry import ModelRegistry
from maskhub.pipelines.reimaging import ReimagingPipeline
from space import rooms
from space.coverings import GRID, WAYS, covered, from_photo, subject
from space.reimage_models import CLASSIFIER, choices, knows_photos, pipeline_of
from space.tabs import reimage


@pytest.fixture(scope="module")
def faces():
    """Name → :class:`~space.coverings.Subject`."""
    drawn, masked = (pixel_faces(f"builtin:pixel-faces/{kind}:test")[0] for kind in ("light", "light/mask"))
    photo, worn = (portraits(f"builtin:portraits{kind}:test")[0].image for kind in ("", "/masked"))
    given = {"drawn": drawn.image, "drawn, masked": masked.image, "photo": photo, "photo, masked": worn}
    return {name: subject(image, name) for name, image in given.items()}


def painting(cells):
    bits = np.zeros((GRID, GRID), bool)
    bits[cells] = True
    return bits, np.packbits(bits).tobytes().hex()


def test_a_covering_is_found_on_drawn_faces_and_on_photos(faces):
    assert {name: given.photo for name, given in faces.items()} == {
        "drawn": False, "drawn, masked": False, "photo": True, "photo, masked": True,
    }  # fmt: skip
    given, region, found = covered(faces["drawn, masked"], "auto")
    assert found and np.array_equal(region, pixel_faces("builtin:pixel-faces/light/mask:test")[0].region)
    given, region, found = covered(faces["photo, masked"], "auto")
    assert found and given is faces["photo, masked"] and region.shape == (256, 256)
    assert region[150:200, 100:156].mean() > 0.9 and not region[:80].any()  # mouth and nose, not the eyes


@pytest.mark.parametrize("name", ["drawn", "photo"])
@pytest.mark.parametrize("way", [way for _, way in WAYS if way != "paint"])
def test_a_face_without_a_covering_gets_one_and_no_way_ends_in_nothing(faces, name, way):
    whole = faces[name]
    given, region, found = covered(whole, way)
    assert found == (way == "cover")
    assert region.any() and 0.05 < region.mean() < 0.5
    assert np.array_equal(given.pixels[~region], whole.pixels[~region]) or whole.photo  # a photo's mask has a shadow
    assert (given.pixels[region] != whole.pixels[region]).any()


def test_a_region_is_painted(faces):
    bits, text = painting(np.s_[40:56, 20:44])
    for name, side in (("drawn", 32), ("photo", 256)):
        given, region, found = covered(faces[name], "paint", text)
        assert found and given is faces[name] and region.shape == (side, side)
        assert region.mean() == bits.mean()


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "paint over"), ("00" * 512, "paint over"), ("ff" * 512, "unpainted"), ("zz", "paint"), ("ff", "paint")],
)
def test_what_is_no_painting_is_said(faces, text, words):
    with pytest.raises(PhotoError, match=words):
        covered(faces["drawn"], "paint", text)


def test_the_face_is_cut_out_of_a_photo(astronaut):
    given = from_photo(Image.fromarray(np.asarray(astronaut)), "a.jpg")
    assert given.photo and given.pixels.shape == (256, 256, 3)
    assert not from_photo(Image.new("RGB", (300, 200), "teal"), "b.png").photo


def test_a_face_goes_back_into_its_photo_with_only_the_region_changed():
    photo = Image.new("RGB", (900, 700), "white")
    photo.paste(portraits("builtin:portraits:test")[0].image.resize((400, 400)), (250, 150))
    given = from_photo(photo, "me.jpg")
    assert given.photo and 300 < given.side < 500  # in the photo's pixels
    region = np.zeros((256, 256), bool)
    region[150:220, 80:170] = True
    red = Image.fromarray(np.where(region[..., None], (255, 0, 0), given.pixels).astype(np.uint8))
    changed = (np.asarray(given.in_its_photo(red, region)) != np.asarray(photo)).any(2)
    rows, columns = np.nonzero(changed)
    for found, expected in ((np.ptp(columns), 90), (np.ptp(rows), 70)):
        assert abs(found - expected * given.side / 256) < 20
    assert changed[rows.min() : rows.max(), columns.min() : columns.max()].mean() > 0.8


@pytest.mark.parametrize(("side", "chosen"), [(90, 64), (400, 128)])
def test_the_size_of_a_face_chooses_the_model_for_photos(faces, side, chosen):
    by = pipeline_of(CLASSIFIER, replace(faces["photo"], side=side))
    assert by.pipeline.config.resolution == chosen and by.generator is None and f"{chosen}-pixel" in by.shown["photos"]
    assert not knows_photos(CLASSIFIER)
    offered = [value for label, value in choices("") if label == f"Photos, {chosen} pixels (built in)"]
    assert pipeline_of(offered[0], faces["drawn"]).pipeline.config.resolution == chosen and knows_photos(offered[0])


def test_a_model_that_cannot_be_loaded_is_left_out_of_the_choice(faces, monkeypatch, tmp_path):
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path))
    models = ModelRegistry(tmp_path / "models")
    monkeypatch.setattr(rooms, "jobs", lambda: SimpleNamespace(models=models))
    for name in ("whole", "broken"):
        made = ReimagingPipeline()
        made.add(name, DenseGenerator(hidden=(16,)), {"hat": "red" if name == "whole" else "blue"})
        made.save_pretrained(tmp_path / name)
        models.add(name, tmp_path / name)
    assert {"whole", "broken"} < set(pipeline_of(CLASSIFIER, faces["drawn"]).pipeline.models)
    for weights in (tmp_path / "models" / "broken").rglob("*.safetensors"):
        weights.write_bytes(b"")
    with pytest.warns(UserWarning, match="no pipeline could be loaded from"):
        by = pipeline_of(CLASSIFIER, faces["drawn"])
    assert "whole" in by.pipeline.models and "broken" not in by.pipeline.models and by.broken == ("broken",)
    with pytest.raises(CheckpointError, match="no pipeline could be loaded from"):  # chosen by itself
        pipeline_of("broken", faces["drawn"])
    picked = ("builtin:pixel-faces/covered", "")
    monkeypatch.setattr(reimage, "_subject", lambda picked, path: faces["drawn"])
    with pytest.warns(UserWarning, match="no pipeline could be loaded from"):
        answer = reimage.reimage(None, picked, CLASSIFIER, "cover", 16, 0, 16, 0, "")
    assert "By " in answer[2] and "Could not be loaded, so left out: broken." in answer[2]
