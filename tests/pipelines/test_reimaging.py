"""Partial re-imaging: the covering is found and replaced in the tone of the surrounding skin; the rest is unchanged."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_reimaging import classifier, tiny

from maskhub import CheckpointError, ConfigError, PhotoError, ReimagingPipeline
from maskhub.data.labelled import LabelledPhotos
from maskhub.data.pixel_faces import SKIN, draw, pixel_faces
from maskhub.data.portraits import portraits
from maskhub.masks.detector import detect_mask_on_crop
from maskhub.masks.find_covering import by_colour, by_contrast, find_covering
from maskhub.pipelines.candidates import agreement_weights, best_candidates, refined
from maskhub.pipelines.tone import blend, kmeans_colours
from maskhub.provenance import read_provenance

COVERED = "builtin:pixel-faces/covered:test"


class Album(torch.nn.Module):
    """A generator that has memorised some faces; the noise chooses one."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, faces, latent=100, resolution=32):
        super().__init__()
        self.faces = torch.stack([torch.tensor(face).permute(2, 0, 1).float() / 127.5 - 1 for face in faces])
        self.config = type("Config", (), {"latent": latent, "resolution": resolution})

    def forward(self, latents):
        return self.faces[(latents[:, 0] * 1000).long() % len(self.faces)]


@pytest.fixture
def pipeline():
    pipe = ReimagingPipeline(classifier=classifier("dark"))
    for seed, tone in enumerate(("light", "medium", "dark")):
        pipe.add(tone, tiny(seed), {"tone": tone})
    return pipe


# ---- the covering ---------------------------------------------------------------------------------------------------


def test_every_drawn_covering_is_found_to_the_pixel():
    for face in pixel_faces(COVERED):
        assert (find_covering(face.pixels) == face.region).all(), face.name


def test_bare_faces_have_none():
    assert not any(find_covering(face.pixels).any() for face in pixel_faces("builtin:pixel-faces:test"))


def test_unknown_colours_are_found_by_contrast():
    """The covering repainted in an unknown colour."""
    faces, overlaps = pixel_faces("builtin:pixel-faces/mask:test"), []
    for face in faces:
        pixels = face.pixels.copy()
        pixels[face.region] = (40, 200, 30)
        found = by_contrast(pixels)
        overlaps.append((found & face.region).sum() / (found | face.region).sum())
        assert (by_colour(pixels, [(40, 200, 30)]) == face.region).all()
    assert np.mean(overlaps) > 0.95


# ---- candidates -----------------------------------------------------------------------------------------------------


def test_weights_are_high_next_to_the_covering_and_0_under_it():
    region = pixel_faces(COVERED)[0].region
    weights = agreement_weights(region)
    assert weights.sum() == pytest.approx(1, abs=1e-5) and (weights[region] == 0).all()
    assert weights[0, 0] < weights[~region].max() / 2


def test_the_candidate_that_agrees_with_the_visible_pixels_is_chosen():
    faces = pixel_faces("builtin:pixel-faces/medium:test")
    album = Album([face.pixels for face in faces])
    for number in (3, 17):
        covered = faces[number].covered("mask", "blue")
        chosen = best_candidates(album, covered.pixels, agreement_weights(covered.region), count=400)
        best = {tuple(np.unique(c.image.reshape(-1, 3), axis=0).ravel()) for c in chosen if c.error == chosen[0].error}
        assert (chosen[0].image == faces[number].pixels)[~covered.region].all() and len(best) >= 1
        assert [c.error for c in chosen] == sorted(c.error for c in chosen)


def test_latent_optimisation_comes_nearer():
    face = pixel_faces(COVERED)[4]
    generator, weights = tiny().eval().requires_grad_(False), agreement_weights(face.region)
    for parameter in generator.parameters():
        parameter.normal_(0, 0.2)
    start = best_candidates(generator, face.pixels, weights, count=32, keep=4)
    better = refined(generator, start, face.pixels, weights, steps=60, prior=0.0)
    assert better[0].error < start[0].error - 0.5
    assert all(not p.requires_grad for p in generator.parameters())


# ---- tone -----------------------------------------------------------------------------------------------------------


def test_kmeans_leaves_few_colours_near_the_old_ones():
    rng = np.random.default_rng(0)
    face = pixel_faces("builtin:pixel-faces")[0].pixels
    noisy = (face + rng.normal(0, 6, face.shape)).clip(0, 255).astype(np.uint8)
    smooth = kmeans_colours(noisy, 12)
    assert len(np.unique(smooth.reshape(-1, 3), axis=0)) <= 12
    assert np.abs(smooth.astype(int) - face).mean() < np.abs(noisy.astype(int) - face).mean()
    flat = np.full((32, 32, 3), 7, np.uint8)
    assert (kmeans_colours(flat) == flat).all()


@pytest.mark.parametrize("how", ["none", "shift", "poisson", "clone", "palette"])
def test_only_covered_pixels_change(how):
    face = pixel_faces(COVERED)[9]
    made = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    result = blend(face.pixels, made, face.region, how)
    assert (result == face.pixels)[~face.region].all() and (result != face.pixels)[face.region].any()
    assert (blend(face.pixels, made, np.zeros((32, 32), bool), how) == face.pixels).all()


@pytest.mark.parametrize("how", ["shift", "poisson", "palette"])
def test_a_darker_copy_of_the_face_gets_the_faces_tone(how):
    """The generated face is the true one, 15 levels too dark: matching must bring it closer."""
    for face in pixel_faces("builtin:pixel-faces/mask:test")[::15]:
        true = face.uncovered().pixels
        made = (true.astype(int) - 15).clip(0, 255).astype(np.uint8)
        error = {h: np.abs(blend(face.pixels, made, face.region, h).astype(int) - true).mean() for h in ("none", how)}
        assert error[how] < 0.35 * error["none"], (how, error)


def test_unknown_blending_is_named():
    with pytest.raises(ConfigError, match="it must be one of 'none', 'shift'"):
        blend(*[np.zeros((32, 32, 3), np.uint8)] * 2, np.zeros((32, 32), bool), "other")


# ---- the pipeline ---------------------------------------------------------------------------------------------------


def test_the_four_pictures(pipeline):
    faces = pixel_faces(COVERED)[:3]
    output = pipeline([face.image for face in faces], candidates=16, keep=3)
    for number, face in enumerate(faces):
        result = np.asarray(output.result[number])
        assert (result == face.pixels)[~face.region].all() and (result != face.pixels)[face.region].any()
        assert (output.regions[number] == face.region).all()
        clipping = np.asarray(output.clipping[number])  # the covered pixels of the test picture, and nothing else
        assert (clipping[..., 3] == 255 * face.region).all()
        assert (clipping[..., :3][face.region] == face.pixels[face.region]).all()
        assert output.raw[number].size == output.smoothed[number].size == (32, 32)
        assert (
            len(output.candidates[number]) == 3
            and output.candidates[number][0].tobytes() == output.raw[number].tobytes()
        )
        assert output.models[number] == "dark"  # as the classifier says
        assert output.scores[number]["dark"] == pytest.approx(output.distributions[number]["dark"], abs=1e-6)
        assert sum(output.scores[number].values()) == pytest.approx(1)
    assert len(np.unique(np.asarray(output.smoothed[0]).reshape(-1, 3), axis=0)) <= 16
    again = pipeline(faces[0].image, candidates=16, keep=3)
    assert again.result[0].tobytes() == output.result[0].tobytes()


def test_another_sample_can_be_picked(pipeline):
    face = pixel_faces(COVERED)[0]
    best = pipeline(face.image, candidates=16, keep=3)
    third = pipeline(face.image, candidates=16, keep=3, sample=2)
    errors = third.candidate_errors[0]
    assert errors == best.candidate_errors[0] == sorted(errors) and len(set(errors)) == 3
    assert third.errors == [errors[2]] and best.errors == [errors[0]]
    assert third.raw[0].tobytes() == best.candidates[0][2].tobytes() != best.raw[0].tobytes()
    assert third.result[0].tobytes() != best.result[0].tobytes()
    for sample in (3, -1):
        with pytest.raises(ConfigError, match=f"sample is {sample}; it must be a whole number from 0 to 2"):
            pipeline(face.image, candidates=16, keep=3, sample=sample)


def test_the_true_face_comes_back_where_the_generator_knows_it():
    faces = pixel_faces("builtin:pixel-faces/light:test")
    pipe = ReimagingPipeline()
    pipe.generators["album"] = Album([face.pixels for face in faces])
    pipe.register_to_config(models={"album": {}})
    covered = faces[6].covered("scarf", "teal")
    output = pipe(covered.image, candidates=400, smooth_colours=0)
    same = [(np.asarray(output.result[0]) == face.pixels).all() for face in faces]
    assert sum(same) == 1 or (np.asarray(output.raw[0]) == faces[6].pixels)[~covered.region].all()


def test_a_chosen_model_and_none_that_fits(pipeline):
    face = pixel_faces(COVERED)[0].image
    assert pipeline(face, model="light", candidates=4).models == ["light"]
    with pytest.raises(ConfigError, match=r"there is no generator 'green'\. Choose one of light, medium, dark"):
        pipeline(face, model="green")
    assert pipeline.classify(np.asarray(face))[1]["dark"] > 0.9
    pipeline.add("other", tiny(7), {"hair_colour": "red"})
    assert 0.1 < pipeline.classify(np.asarray(face))[1]["other"] < 0.4  # guarantees no tone


def test_without_a_classifier_all_are_tried():
    pipe = ReimagingPipeline()
    faces = pixel_faces("builtin:pixel-faces:test")
    for tone in ("light", "dark"):
        pipe.generators[tone] = Album([face.pixels for face in faces if face.attributes.tone == tone])
    pipe.register_to_config(models={"light": {}, "dark": {}})
    for number, tone in ((2, "light"), (-2, "dark")):
        output = pipe(faces[number].covered("mask", "mint").image, candidates=300)
        assert output.models == [tone] and output.distributions == [{}]


def test_larger_pictures_keep_their_size_and_pixels(pipeline):
    face = pixel_faces(COVERED)[1]
    large = face.image.resize((256, 256), Image.Resampling.NEAREST)
    result = np.asarray(pipeline(large, candidates=8).result[0])
    untouched = ~np.kron(face.region, np.ones((8, 8), bool))
    assert result.shape == (256, 256, 3) and (result == np.asarray(large))[untouched].all()
    clear = large.copy()
    clear.putalpha(200)
    assert pipeline(clear, candidates=8).result[0].getchannel("A").getextrema() == (200, 200)


def test_a_photo_is_filled_in_smoothly_and_only_under_its_covering(pipeline):
    photo = np.asarray(portraits("builtin:portraits/masked:test")[0].image)
    output = pipeline(photo, covering="learned", candidates=8, tone="none")
    found = detect_mask_on_crop(photo).region > 0.5  # on the photo itself, not on its 32 pixels
    result = np.asarray(output.result[0]).astype(int)
    assert output.regions[0].shape == (32, 32) and (result == photo)[~found].all()
    inside = cv2.erode(found.astype(np.uint8), np.ones((25, 25))) > 0
    assert np.abs(result - photo)[inside].mean() > 5
    steps = np.abs(np.diff(result, axis=1)).max(2)[:, 7::8][inside[:, 7:-1:8]]  # no blocks of 8 pixels
    assert np.median(steps) < 12


def test_ones_own_region_and_colours(pipeline):
    face = pixel_faces("builtin:pixel-faces:test")[0]
    region = np.zeros((32, 32), bool)
    region[18:24, 10:20] = True
    output = pipeline(face.image, region, candidates=8)
    assert (np.asarray(output.result[0]) == face.pixels)[~region].all()
    pixels = face.covered("mask", "blue").pixels.copy()
    pixels[face.covered("mask", "blue").region] = (250, 250, 0)
    output = pipeline(pixels, covering="colour", colours=[(250, 250, 0)], candidates=8)
    assert (output.regions[0] == face.covered("mask", "blue").region).all()


def test_what_cant_be_done_is_one_line(pipeline):
    bare = pixel_faces("builtin:pixel-faces:test")[0].image
    with pytest.raises(PhotoError, match="no covering was found on the face"):
        pipeline(bare)
    kept = pipeline(bare, on_none="keep", candidates=4).result[0]
    assert kept.tobytes() == bare.tobytes() and read_provenance(kept) is None
    with pytest.raises(PhotoError, match=r"is 32×20\. First crop it"):
        pipeline(bare.crop((0, 0, 32, 20)))
    for options, message in (
        ({"covering": "magic"}, "covering is 'magic'"),
        ({"covering": "colour"}, "needs colours"),
        ({"covering": "colour", "colours": [(250, 250)]}, "colours must be three numbers from 0 to 255 for each"),
        ({"covering": "colour", "colours": "red"}, "colours must be three numbers"),
        ({"candidates": 0}, "candidates is 0; it must be a whole number from 1"),
        ({"candidates": 1.5}, "candidates is 1.5"),
        ({"keep": 0}, "keep is 0"),
        ({"sample": 1.0}, "sample is 1.0; it must be a whole number from 0 to 7"),
        ({"refine_steps": -1}, "refine_steps is -1"),
        ({"smooth_colours": -1}, "smooth_colours is -1"),
        ({"seed": -1}, "the seed is -1; it must be a whole number from 0"),
        ({"on_none": "cry"}, "on_none is 'cry'"),
        ({"regions": np.zeros((3, 4))}, "a square boolean array"),
    ):
        with pytest.raises(ConfigError, match=message):
            pipeline(bare, **options)
    with pytest.raises(ConfigError, match="there are 1 regions for 2 faces"):
        pipeline([bare, bare], regions=[None])
    assert pipeline(bare, candidates=4, on_none="keep", seed=2**32).errors  # more than scikit-learn takes
    with pytest.raises(ConfigError, match="has no generator"):
        ReimagingPipeline()(bare)
    with pytest.raises(ConfigError, match="makes faces of 16 pixels"):
        pipeline.add("small", tiny(resolution=16))
    with pytest.raises(ConfigError, match="can't be called"):
        pipeline.add("../evil", tiny())


# ---- folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_saved_and_loaded(pipeline, variant, tmp_path):
    (pipeline.to(torch.float16) if variant else pipeline).save_pretrained(tmp_path, variant=variant)
    again = ReimagingPipeline.from_pretrained(tmp_path, variant=variant, dtype=torch.float32)
    assert again.models == pipeline.models and sorted(again.generators) == ["dark", "light", "medium"]
    for options in ({}, {"dtype": torch.float16}, {"torch_dtype": torch.float16}):  # no other weights
        unnamed = ReimagingPipeline.from_pretrained(tmp_path, **options)
        wanted = next(iter(options.values()), torch.float32)
        assert all(generator.dtype == wanted for generator in unnamed.generators.values())
    if not variant:
        face = pixel_faces(COVERED)[0].image
        assert again(face, candidates=8).result[0].tobytes() == pipeline(face, candidates=8).result[0].tobytes()
    assert not [p for p in tmp_path.rglob("*") if p.suffix not in (".json", ".safetensors") and p.is_file()]


def test_broken_folders_are_one_line(pipeline, tmp_path):
    with pytest.raises(CheckpointError):
        ReimagingPipeline.from_pretrained(tmp_path)
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    for name, message in (("gone", "no generators/gone"), ("../classifier", "a model can't be called")):
        (tmp_path / "model_index.json").write_text(json.dumps(index | {"models": {name: {}}}))
        with pytest.raises(CheckpointError, match=message):
            ReimagingPipeline.from_pretrained(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "generators" / "dark" / "config.json").write_text(json.dumps({"_class_name": "ResnetGenerator"}))
    with pytest.raises(CheckpointError, match="generators/dark is not one of DenseGenerator"):
        ReimagingPipeline.from_pretrained(tmp_path)


def test_drawn_faces_are_safe_from_the_pipeline(pipeline):
    """Drawn faces are cached and shared, so nothing may modify them."""
    face = pixel_faces(COVERED)[2]
    before = face.pixels.copy()
    pipeline(face.pixels, candidates=4)
    assert (draw(face.attributes)[0] == before).all()


def test_the_networks_in_the_package_know_the_test_faces():
    pipe = ReimagingPipeline.bundled()
    for spec in ("builtin:pixel-faces:test", COVERED):
        photos = LabelledPhotos.open(spec)
        odds = pipe.classifier.distribution(photos.tensor())
        assert [max(odd, key=odd.get) for odd in odds] == [known["tone"] for known in photos.columns]
    faces = pixel_faces(COVERED)[::9]
    output = pipe([face.image for face in faces], candidates=64)
    assert output.models == [face.attributes.tone for face in faces]
    for face, result in zip(faces, output.result, strict=True):
        assert (np.asarray(result) == face.pixels)[~face.region].all()
        skin = face.region & (face.uncovered().pixels == SKIN[face.attributes.tone][2]).all(2)
        middle = np.median(np.asarray(result)[skin], axis=0)
        assert min(SKIN, key=lambda tone: np.linalg.norm(middle - SKIN[tone][2])) == face.attributes.tone
