"""Whole photos through the pipeline: what changes, what must not change, and the errors."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from maskhub import (
    AttentionGenerator,
    CheckpointError,
    ConfigError,
    FaceMaskPipeline,
    NoFaceError,
    NothingToDoError,
    PhotoError,
    ResnetGenerator,
)
from maskhub.commands.network_masks import mask_by_network
from maskhub.data.masked import Wearing, mask_faces
from maskhub.data.portraits import FOLDER
from maskhub.faces.align import alignment
from maskhub.faces.detect import detect
from maskhub.faces.photo import open_photo
from maskhub.masks.detector import MASKED
from maskhub.masks.wear import wear
from maskhub.pipelines.changed import WIDER, changed_region, wider_for
from maskhub.pipelines.face_mask import BUNDLED
from maskhub.pipelines.live import FrameTranslator
from maskhub.pipelines.outcomes import described, tally
from maskhub.provenance import read_provenance


def pixels(image):
    return np.asarray(image).astype(np.int16)


@pytest.fixture(scope="module")
def group(astronaut):
    photo = Image.new("RGB", (1000, 560), "grey")
    photo.paste(astronaut, (0, 30))
    photo.paste(astronaut.resize((300, 300)), (600, 100))
    return photo


@pytest.mark.parametrize("direction", ["mask", "unmask"])
def test_the_face_changes_and_nothing_else(tiny_pipeline, astronaut, masked_astronaut, direction):
    photo = astronaut if direction == "mask" else masked_astronaut
    out = tiny_pipeline(photo, direction, details=True)
    change = np.abs(pixels(out.images[0]) - pixels(photo)).max(2)
    assert out.images[0].size == photo.size
    assert change[out.regions[0] == 0].max() == 0
    assert change[out.regions[0] > 0.5].mean() > 5
    left, top, width, height = out.boxes[0][0]
    assert out.regions[0][round(top + height / 2), round(left + width / 2)] > 0.5
    assert out.regions[0][-50:].max() == 0


def test_one_photo_or_a_list(tiny_pipeline, astronaut):
    one = tiny_pipeline.mask(astronaut)
    two = tiny_pipeline.mask([astronaut, astronaut.resize((256, 256))], batch_size=1)
    assert isinstance(one, Image.Image)
    assert [image.size for image in two] == [(512, 512), (256, 256)]
    assert np.array_equal(pixels(one), pixels(two[0]))


def test_every_face_of_a_group(tiny_pipeline, group):
    out = tiny_pipeline.mask(group, details=True)
    assert len(out.boxes[0]) == len(out.crops[0]) == len(out.translated[0]) == 2
    for left, top, width, height in out.boxes[0]:
        assert out.regions[0][round(top + height / 2), round(left + width / 2)] > 0.5
    assert np.abs(pixels(out.images[0]) - pixels(group))[out.regions[0] == 0].max() == 0


def test_there_and_back(tiny_pipeline, astronaut):
    out = tiny_pipeline.cycle(astronaut, details=True)
    there = tiny_pipeline.mask(astronaut)
    assert np.array_equal(pixels(out.there[0]), pixels(there))
    crop, back = pixels(out.crops[0][0]), pixels(out.translated[0][0])
    assert out.cycle_errors[0][0] == pytest.approx(np.abs(crop - back).mean(), abs=1e-4)


def test_the_generator_sees_the_design_resolution(tiny_pipeline, astronaut):
    out = tiny_pipeline.mask(astronaut, details=True)
    assert out.crops[0][0].size == out.translated[0][0].size == (64, 64)


def test_transparency_and_turn_are_kept(tiny_pipeline, astronaut, tmp_path):
    photo = astronaut.copy()
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.png", exif=exif)
    out = tiny_pipeline.mask(tmp_path / "turned.png")
    assert out.mode == "RGBA"
    expected = photo.transpose(Image.Transpose.ROTATE_270).getchannel("A")
    assert np.array_equal(pixels(out.getchannel("A")), pixels(expected))


def test_a_photo_without_a_face(tiny_pipeline, astronaut):
    blank = Image.new("RGB", (300, 200), "white")
    with pytest.raises(NoFaceError, match="no face was found in photo 1"):
        tiny_pipeline.mask([astronaut, blank])
    kept = tiny_pipeline.mask([astronaut, blank], on_no_face="keep")
    assert np.array_equal(pixels(kept[1]), pixels(blank))


def test_bad_input_is_named(tiny_pipeline, astronaut, tmp_path):
    with pytest.raises(PhotoError, match="no file"):
        tiny_pipeline.mask(tmp_path / "none.jpg")
    with pytest.raises(ConfigError, match="direction"):
        tiny_pipeline(astronaut, "sideways")
    with pytest.raises(ConfigError, match="no unmasker"):
        FaceMaskPipeline(masker=ResnetGenerator(width=4, blocks=1)).unmask(astronaut)
    with pytest.raises(ConfigError, match="on_no_face"):
        tiny_pipeline.mask(astronaut, on_no_face="shrug")


def test_save_and_load(tiny_pipeline, astronaut, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path)
    again = FaceMaskPipeline.from_pretrained(tmp_path)
    assert not list(tmp_path.rglob("*.bin"))
    weights, config = (tmp_path / "masker" / name for name in ("diffusion_pytorch_model.safetensors", "config.json"))
    assert weights.stat().st_mode & 0o444 == config.stat().st_mode & 0o444
    assert again.config.resolution == 64
    assert np.array_equal(pixels(again.mask(astronaut)), pixels(tiny_pipeline.mask(astronaut)))
    again.save_pretrained(tmp_path / "again")
    assert not [path for path in (tmp_path / "again").rglob("*.json") if str(tmp_path) in path.read_text()]


def test_one_way_pipelines_load(masked_astronaut, tmp_path):
    FaceMaskPipeline(unmasker=ResnetGenerator(width=4, blocks=1), resolution=32).save_pretrained(tmp_path)
    again = FaceMaskPipeline.from_pretrained(tmp_path)
    assert again.masker is None
    assert again.unmask(masked_astronaut).size == masked_astronaut.size
    with pytest.raises(ConfigError, match="no masker"):
        again(masked_astronaut, "auto")


@pytest.mark.parametrize(
    "options",
    [{"batch_size": value} for value in (-1, 0, 1.5, "x")] + [{"seed": value} for value in (-1, 2**70, 1.5, "x", [-1])],
)
def test_numbers_out_of_range_are_one_line(tiny_pipeline, astronaut, options):
    for call in (tiny_pipeline.mask, tiny_pipeline.cycle, tiny_pipeline.translate_crops):
        with pytest.raises(
            ConfigError, match=r"the (batch size|seed) is .*; it must be a whole number from [01]( to 1844\d+)?\."
        ):
            call([astronaut], **options)


def test_half_precision_runs(tiny_pipeline, astronaut, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path)
    low = FaceMaskPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert low.masker.dtype == torch.bfloat16
    assert np.abs(pixels(low.mask(astronaut)) - pixels(tiny_pipeline.mask(astronaut))).mean() < 2


def test_a_folder_without_a_pipeline(tmp_path):
    with pytest.raises(CheckpointError, match="no pipeline could be loaded") as caught:
        FaceMaskPipeline.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unchanged_crop_has_no_region():
    crop = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    matrix, photo = np.array([[1.0, 0, -10], [0, 1, -10]]), np.zeros((100, 100, 3), np.uint8)
    assert changed_region(crop, crop, matrix, photo).max() == 0
    painted = crop.copy()
    painted[24:40, 24:40] = 255 - painted[24:40, 24:40]
    region = changed_region(crop, painted, matrix, photo)
    assert region[32, 32] > 0.9
    assert region[0].max() == region[:, -1].max() == 0


def test_a_mask_that_reaches_out_of_the_crop():
    crop = np.random.default_rng(0).integers(0, 200, (64, 64, 3), dtype=np.uint8)
    inside, below, specks = crop.copy(), crop.copy(), crop.copy()
    inside[30:58, 16:48] += 40
    below[30:64, 16:48] += 40
    specks[63, :8] += 40
    matrix, photo = np.array([[1.0, 0, -10], [0, 1, -10]]), np.zeros((100, 100, 3), np.uint8)
    for made in (crop, inside, specks):
        assert wider_for(crop, made, matrix, photo) == 1
    assert wider_for(crop, below, matrix, photo) == WIDER
    assert wider_for(crop, below, matrix, photo[:74]) == 1  # the photo ends below
    assert wider_for(crop, below, matrix, photo[:76]) == pytest.approx(1 + 2 / 64 / 0.68)  # two pixels are
    turned = np.array([[0.0, 1, -10], [-1, 0, 66]])  # two pixels are, on its left
    assert wider_for(crop, below, turned, photo) == pytest.approx(1 + 2 / 64 / 0.68)


@pytest.mark.parametrize("style", [None, "surgical"])
def test_a_crop_too_small_for_what_is_changed_is_taken_wider(tiny_pipeline, astronaut, style):
    face = detect(np.asarray(astronaut))[0]
    usual, wider = alignment(face, 64), alignment(face, 64, WIDER)
    # an untrained network changes everything; a rule-based mask stays on the face
    pipe = FaceMaskPipeline(masker=tiny_pipeline.masker, resolution=64, wear=style)
    output = pipe.mask(astronaut, details=True)
    assert np.array_equal(output.matrices[0][0], usual if style else wider)
    assert (output.regions[0] > 0).sum() > 0
    again = pipe.mask([astronaut.resize((300, 300)), astronaut], details=True, seed=[1, 0])
    # two faces go through the network together, which rounds differently from one alone on some processors
    assert np.abs(pixels(again.images[1]) - pixels(output.images[0])).max() <= 2


def test_the_bundled_checkpoint(astronaut):
    size = sum(path.stat().st_size for path in BUNDLED.rglob("*.safetensors"))
    assert 0 < size <= 20 * 2**20
    pipe = FaceMaskPipeline.bundled()
    masked = pipe.mask(astronaut, details=True)
    left, top, width, height = masked.boxes[0][0]
    mouth = (
        slice(round(top + 0.6 * height), round(top + 0.9 * height)),
        slice(round(left + 0.3 * width), round(left + 0.7 * width)),
    )
    eyes = slice(round(top + 0.25 * height), round(top + 0.4 * height)), mouth[1]
    assert masked.regions[0][mouth].mean() > 0.8
    assert masked.regions[0][eyes].mean() < 0.5 * masked.regions[0][mouth].mean()


def test_without_a_masker_masks_are_drawn_by_rule_at_the_photos_own_resolution(astronaut):
    pipe = FaceMaskPipeline(resolution=64, wear="surgical")
    output = pipe.mask(astronaut, details=True, seed=3)
    drawn = wear(astronaut, output.faces[0][0].face, "surgical", seed=3)
    assert np.array_equal(pixels(output.images[0]), pixels(drawn.image))
    assert np.array_equal(output.regions[0], drawn.region)
    assert pipe.can("mask") and not pipe.can("unmask")
    with pytest.raises(ConfigError, match="has no masker"):
        pipe.translate_crops([np.zeros((64, 64, 3), np.uint8)])


def test_a_drawn_mask_is_pasted_onto_what_is_already_there(tiny_pipeline, astronaut):
    two = Image.new("RGB", (1024, 512))
    two.paste(astronaut)
    two.paste(astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (512, 0))
    output = FaceMaskPipeline(resolution=64, wear="cloth").mask(two, details=True)
    assert [face.changed for face in output.faces[0]] == [True, True]
    change = np.abs(pixels(output.images[0]) - pixels(two)).max(2) > 0
    assert change[:, :512].any() and change[:, 512:].any() and not change[output.regions[0] == 0].any()


def test_a_cycle_with_masks_by_rule(astronaut, masked_astronaut):
    pipe = FaceMaskPipeline.bundled()
    for photo, start in ((astronaut, "mask"), (masked_astronaut, "unmask")):
        output = pipe.cycle(photo, start, details=True)
        assert output.faces[0][0].changed and output.cycle_errors[0][0] > 0


def test_the_variant_reaches_the_networks(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "masker" / "diffusion_pytorch_model.fp16.safetensors").is_file()
    loaded = FaceMaskPipeline.from_pretrained(tmp_path)  # no other weights
    assert loaded.dtype == torch.float32
    with pytest.raises(ConfigError, match="safetensors only"):
        tiny_pipeline.save_pretrained(tmp_path, safe_serialization=False)


# ---- faces that need no change, and the automatic direction ----------------------------------------------------------


@pytest.fixture(scope="module")
def couple(astronaut, masked_astronaut):
    """An unmasked face on the left, and a smaller masked one on the right."""
    photo = Image.new("RGB", (760, 512))
    photo.paste(astronaut, (0, 0))
    photo.paste(masked_astronaut.crop((100, 0, 348, 250)).resize((198, 200)), (537, 100))
    return photo


@pytest.mark.parametrize(("direction", "why"), [("mask", "already masked"), ("unmask", "no mask worn")])
def test_a_face_that_needs_nothing_is_left_as_it_is(tiny_pipeline, astronaut, masked_astronaut, direction, why):
    photo = masked_astronaut if direction == "mask" else astronaut
    out = tiny_pipeline(photo, direction, details=True)
    assert [(face.outcome, face.changed) for face in out.faces[0]] == [(why, False)]
    assert np.array_equal(pixels(out.images[0]), pixels(photo)) and not out.regions[0].any()
    assert out.boxes == out.crops == out.translated == [[]]
    assert read_provenance(out.images[0]) is None
    assert described(tally(out.faces[0])) == f"1 face found: left as it is ({why})"
    with pytest.warns(UserWarning, match=rf"the photo stays as it is \({why}\); force=True"):
        tiny_pipeline(photo, direction)
    with pytest.raises(NothingToDoError, match=why):
        tiny_pipeline.cycle(photo, direction)
    forced = tiny_pipeline(photo, direction, force=True, details=True)
    assert forced.faces[0][0].changed and forced.regions[0].max() > 0.5
    assert len(tiny_pipeline.cycle(photo, direction, force=True, details=True).cycle_errors[0]) == 1


def test_a_high_collar_does_not_keep_a_mask_off(tiny_pipeline):
    photo = np.asarray(open_photo(FOLDER / "london_00075.webp").convert("RGB")).copy()
    photo[205:] = 0
    out = tiny_pipeline(Image.fromarray(photo), "mask", details=True)
    assert [face.changed for face in out.faces[0]] == [True] and out.faces[0][0].presence < MASKED
    assert tiny_pipeline(Image.fromarray(photo), "auto", details=True).faces[0][0].direction == "mask"
    for mask in (mask_faces, partial(mask_by_network, tiny_pipeline)):
        assert mask(photo, Wearing(bare_only=True, scores="none"), "a.png").region.max() > 0.5
    translator = FrameTranslator(tiny_pipeline, "mask")
    assert (translator(photo) != photo).any()


@pytest.mark.parametrize("direction", ["mask", "unmask"])
def test_one_face_in_the_automatic_direction(tiny_pipeline, astronaut, masked_astronaut, direction):
    photo = astronaut if direction == "mask" else masked_astronaut
    done, expected = tiny_pipeline(photo, "auto", details=True), tiny_pipeline(photo, direction, details=True)
    assert [face.direction for face in done.faces[0]] == [direction]
    assert np.array_equal(pixels(done.images[0]), pixels(expected.images[0]))
    assert np.array_equal(done.regions[0], expected.regions[0])
    assert read_provenance(done.images[0]).direction == "translate"


def test_each_face_goes_its_own_way(couple, tiny_pipeline):
    done = tiny_pipeline(couple, "auto", details=True)
    assert [face.direction for face in done.faces[0]] == ["mask", "unmask"]
    assert [face.presence > 0.5 for face in done.faces[0]] == [False, True]
    for direction, columns, others in (("mask", np.s_[:, :512], "unmask"), ("unmask", np.s_[:, 512:], "mask")):
        made, other = (pixels(tiny_pipeline(couple, way))[columns] for way in (direction, others))
        assert np.array_equal(pixels(done.images[0])[columns], made)
        assert (made != pixels(couple)[columns]).any() and np.array_equal(other, pixels(couple)[columns])
    assert described(tally(done.faces[0])) == "2 faces found: 1 mask put on, 1 mask taken off"
    left = tally(tiny_pipeline.mask(couple, details=True).faces[0])
    assert described(left) == "2 faces found: 1 mask put on, 1 left as it is (already masked)"
    assert described(left + left) == "4 faces found: 2 masks put on, 2 left as they are (already masked)"
    assert described(tally([])) == "no face found"
    with pytest.raises(ConfigError, match="force needs a direction"):
        tiny_pipeline(couple, "auto", force=True)


# ---- two steps: a rule-based mask, then a network that makes it realistic --------------------------------------------


@pytest.fixture(scope="module")
def two_step():
    """A masker whose attention passes everything through: the result is the rule-based mask."""
    torch.manual_seed(0)
    masker = AttentionGenerator(width=4, blocks=1, contents=2, noise=(1.0, 0.2))
    with torch.no_grad():
        masker.attention[-1].weight.zero_()
        masker.attention[-1].bias.copy_(torch.tensor([0.0, 0.0, 100.0]))
    return FaceMaskPipeline(masker=masker, resolution=64, wear="surgical")


def test_a_mask_is_worn_first_on_every_face_of_a_group(two_step, group):
    out = two_step.mask(group, details=True, seed=5)
    assert len(out.boxes[0]) == 2
    for (left, top, width, height), crop, made in zip(out.boxes[0], out.crops[0], out.translated[0], strict=True):
        assert out.regions[0][round(top + 0.75 * height), round(left + width / 2)] > 0.5
        change = np.abs(pixels(made) - pixels(crop)).mean(2)
        assert change[:16].max() <= 1 < 20 < change[40:48, 28:36].mean()  # forehead, mouth
    assert np.abs(pixels(out.images[0]) - pixels(group))[out.regions[0] == 0].max() == 0


def test_a_seed_fixes_the_mask_and_the_noise(two_step, astronaut, tmp_path):
    one, again, other = (two_step.mask(astronaut, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(pixels(one), pixels(again))
    assert not np.array_equal(pixels(one), pixels(other))
    two_step.save_pretrained(tmp_path)
    loaded = FaceMaskPipeline.from_pretrained(tmp_path)
    assert loaded.config.wear == "surgical"
    assert np.array_equal(pixels(loaded.mask(astronaut, seed=1)), pixels(one))


def test_each_photo_of_a_list_draws_its_own(astronaut):
    torch.manual_seed(0)
    masker = AttentionGenerator(width=4, blocks=1, contents=2, noise=(1.0, 1.0))
    pipe = FaceMaskPipeline(masker=masker, resolution=64, wear="random")
    alone = [pixels(pipe.mask(astronaut, seed=seed)) for seed in (3, 4)]
    first, second = (pixels(made) for made in pipe.mask([astronaut, astronaut], seed=3))
    assert np.array_equal(first, alone[0]) and not np.array_equal(second, first)
    # a convolution may round differently alone and in a batch
    listed = pipe.mask([astronaut, astronaut, astronaut], seed=[3, 4, 4], batch_size=2)
    for made, wanted in zip(listed, [alone[0], alone[1], alone[1]], strict=True):
        assert np.abs(pixels(made) - wanted).max() <= 1
    with pytest.raises(ConfigError, match="1 seeds for 2 photos"):
        pipe.mask([astronaut, astronaut], seed=[1])


def test_a_face_that_is_not_seen_clearly_is_left_alone(two_step, group, monkeypatch):
    from maskhub.pipelines import translator

    def picky(pixels, face, **how):
        if face.box[2] < 70:
            raise NoFaceError("too small")
        return wear(pixels, face=face, **how)

    monkeypatch.setattr(translator, "wear", picky)
    out = two_step.mask(group, details=True)
    assert len(out.boxes[0]) == 1
    assert [face.outcome for face in out.faces[0]] == ["changed", "not clear enough"]
    small = group.crop((600, 100, 900, 400))
    assert np.array_equal(pixels(out.images[0].crop((600, 100, 900, 400))), pixels(small))
    with pytest.raises(NoFaceError, match="clear enough to draw a mask on"):
        two_step.mask(small)
    assert np.array_equal(pixels(two_step.mask(small, on_no_face="keep")), pixels(small))


def test_what_it_does_not_have_is_said(two_step, astronaut):
    with pytest.raises(ConfigError, match="no unmasker"):
        two_step.unmask(astronaut)
