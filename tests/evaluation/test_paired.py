"""Figures of pairs: those of other libraries, known answers, baselines, and pairs that can't be measured."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from maskhub.errors import ConfigError, NoFaceError, SourceError
from maskhub.evaluation.baselines import COPY, MEAN_FACE, MeanFace, inpaint
from maskhub.evaluation.features import FeatureExtractor
from maskhub.evaluation.groups import GAP
from maskhub.evaluation.measures.pairs import measure_pairs
from maskhub.evaluation.paired import MADE, MatchedPictures, WornPictures
from maskhub.evaluation.sets import PictureSet
from maskhub.evaluation.similarity import LPIPS_FILE, MOST_PSNR, Lpips, change, psnr, ssim
from maskhub.faces.detect import detect
from maskhub.models.features import FeatureNetwork


@pytest.fixture
def two(astronaut):
    truth = np.asarray(astronaut.crop((120, 0, 330, 210)).resize((128, 128)))
    noise = np.random.default_rng(0).normal(0, 12, truth.shape)
    return (truth + noise).clip(0, 255).astype(np.uint8), truth


def test_psnr_and_ssim_are_those_of_skimage_and_torchmetrics(two):
    made, truth = two
    assert psnr(made, truth) == pytest.approx(peak_signal_noise_ratio(truth, made, data_range=255), abs=1e-9)
    options = {"channel_axis": 2, "data_range": 255, "gaussian_weights": True, "sigma": 1.5}
    theirs = structural_similarity(truth, made, use_sample_covariance=False, **options)
    assert ssim(made, truth) == pytest.approx(theirs, abs=1e-6)
    metrics = pytest.importorskip("torchmetrics.functional.image")
    tensors = [torch.from_numpy(x.copy()).permute(2, 0, 1)[None].double() for x in two]
    _, full = metrics.structural_similarity_index_measure(*tensors, data_range=255.0, return_full_image=True)
    # its mean takes in the windows over the edge, too
    assert ssim(made, truth) == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), abs=1e-6)


def test_parts_are_weighted_means(two):
    made, truth = two
    left = np.zeros((128, 128), np.float32)
    left[:, :64] = 1
    assert psnr(made, truth, left) == pytest.approx(psnr(made[:, :64].copy(), truth[:, :64].copy()))
    half = np.concatenate([truth[:, :64], made[:, 64:]], axis=1)
    assert psnr(half, truth, left) == MOST_PSNR and change(half, truth, left) == 0
    assert change(half, truth, 1 - left) > 5
    assert ssim(half, truth, left) > ssim(half, truth) > ssim(half, truth, 1 - left)
    assert np.isnan(psnr(made, truth, np.zeros((128, 128))))
    assert psnr(truth, truth) == MOST_PSNR and ssim(truth, truth) == pytest.approx(1)


def test_lpips_follows_its_definition(two, weights):
    made, truth = two
    lpips = Lpips(weights / LPIPS_FILE)
    look, other = lpips.layers(made), lpips.layers(truth)
    assert lpips(other, other) == [0]
    whole, everywhere = lpips(look, other, [None, np.ones((128, 128), np.float32)])
    assert whole == pytest.approx(everywhere, rel=0.02)  # maps resized: nearly the same mean
    # spelt out once more with LPIPS's own scaling of [-1, 1]
    shift, scale = (torch.tensor(v)[None, :, None, None] for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x = [(torch.from_numpy(p.copy()).permute(2, 0, 1)[None] / 127.5 - 1 - shift) / scale for p in (made, truth)]
    total = 0.0
    with torch.inference_mode():
        for number, layer in enumerate(lpips._vgg.features):
            x = [layer(v) for v in x]
            if number in (3, 8, 15, 22, 29):
                a, b = (v / v.norm(dim=1, keepdim=True) for v in x)
                total += float(
                    torch.nn.functional.conv2d((a - b) ** 2, lpips._heads[(3, 8, 15, 22, 29).index(number)]).mean()
                )
    assert whole == pytest.approx(total, rel=1e-3)
    blurred = cv2.GaussianBlur(truth, (0, 0), 4)
    assert lpips(lpips.layers(blurred), other)[0] > whole > 0
    with pytest.raises(ConfigError, match="at least 16 pixels"):
        lpips.layers(truth[:8, :8])


def test_pictures_that_do_not_match_are_refused(two):
    made, truth = two
    with pytest.raises(ConfigError, match="differ in size: 64×128 and 128×128"):
        psnr(made[:, :64], truth)
    with pytest.raises(ConfigError, match=r"must be uint8.*float64"):
        ssim(np.full(truth.shape, np.nan), truth)
    with pytest.raises(ConfigError, match="must be uint8 of shape"):
        psnr(made[..., 0], truth[..., 0])


def test_baselines_fill_the_region_and_nothing_else(two):
    _, truth = two
    face = detect(truth)[0]
    region = np.zeros((128, 128), np.float32)
    region[70:100, 40:90] = 0.7
    others = MeanFace()
    others.add(truth, face)
    assert others.fill(truth, region, face, left_out=truth) is None
    others.add(np.ascontiguousarray(255 - truth), face)
    filled = others.fill(truth, region, face, left_out=truth)
    assert np.abs(filled[75:95, 45:85].astype(int) - (255 - truth)[75:95, 45:85]).mean() < 8  # the other one alone
    for picture in (filled, inpaint(truth, region, cv2.INPAINT_TELEA), inpaint(truth, region, cv2.INPAINT_NS)):
        assert np.array_equal(picture[region == 0], truth[region == 0])
        assert (picture[region > 0] != truth[region > 0]).any()


def test_worn_pairs_and_baselines(heads, weights):
    from maskhub.evaluation.encoders import encoder

    pairs = WornPictures(PictureSet(heads), "unmask", seed=1)
    taken = list(pairs)
    assert [pair.name for pair in taken] == ["0.png", "1.png", "2.png", "3.png"]
    for pair in taken:
        assert np.array_equal(pair.input[pair.region == 0], pair.truth[pair.region == 0])
    found = measure_pairs(
        pairs,
        lambda photo: photo,  # what changes nothing is the copy
        lpips=Lpips(weights / LPIPS_FILE),
        encoder=encoder("mobilefacenet", weights),
        groups=("group",),
    )
    figures = found.rows
    ratio = figures[MADE].pop("lpips_ratio_inside")
    assert figures[MADE] == figures[COPY]
    best = min(row["lpips_inside"].value for name, row in figures.items() if name not in (MADE, COPY))
    assert ratio.value == pytest.approx(figures[COPY]["lpips_inside"].value / best) and ratio.n == 4
    assert found.groups["group"]["a"][""]["lpips_ratio_inside"].n == 2
    a, b = (found.groups["group"][value][""]["psnr_inside"].value for value in "ab")
    assert found.groups["group"]["a"][GAP]["psnr_inside"].value == pytest.approx(a - b)
    assert set(figures) == {MADE, COPY, MEAN_FACE, "inpainting (Telea)", "inpainting (Navier–Stokes)"}
    assert figures[COPY]["psnr_outside"].value == MOST_PSNR and figures[COPY]["non_mask_change"].value == 0
    assert figures[MEAN_FACE]["psnr_inside"].value > figures[COPY]["psnr_inside"].value
    assert figures[COPY]["lpips_inside"].value > figures[COPY]["lpips_outside"].value
    assert -1 <= figures[COPY]["identity"].value < 1
    assert figures[COPY]["psnr"].unit == "dB" and figures[COPY]["lpips"].better == "low"
    assert list(found.groups["group"]) == ["a", "b"] and found.baselines == list(figures)[1:]
    assert found.groups["group"]["a"][""]["psnr"].n == 2
    assert any("only 4 pairs" in warning for warning in found.warnings)
    assert len(found.galleries) == 2
    assert [row["photo"] for row in found.table] == ["0.png", "1.png", "2.png", "3.png"]
    assert np.mean([row["psnr"] for row in found.table]) == pytest.approx(figures[MADE]["psnr"].value)


def test_the_frechet_distance_is_of_whole_sets(heads):
    network = FeatureExtractor("small", FeatureNetwork("vgg16", layer=3, resolution=32), 32)
    pairs = WornPictures(PictureSet(heads), "unmask")
    truths = {pair.input.tobytes(): pair.truth for pair in pairs}
    found = measure_pairs(pairs, lambda photo: Image.fromarray(truths[photo.tobytes()]), network=network)
    made, copied = (found.rows[name]["frechet"] for name in (MADE, COPY))
    assert made.value == pytest.approx(0, abs=1e-3)  # the truths themselves
    assert copied.value > 10 * abs(made.value)
    assert made.network == found.settings["frechet"] == "small" and made.n == 4


def test_towards_masks_only_the_copy_is_a_baseline(heads):
    found = measure_pairs(WornPictures(PictureSet(heads, limit=1), "mask"), lambda photo: photo)
    assert set(found.rows) == {MADE, COPY}
    with pytest.raises(ConfigError, match="direction is 'sideways'"):
        WornPictures(PictureSet(heads), "sideways")


def test_matched_folders_and_what_has_no_match(heads, tmp_path):
    for name in ("truth", "made", "regions"):
        (tmp_path / name).mkdir()
    for number in range(3):
        image = Image.open(heads / f"{number}.png")
        image.save(tmp_path / "truth" / f"{number}.jpg", quality=95)
        image.resize((64, 64) if number == 2 else image.size).save(tmp_path / "made" / f"{number}.png")
        cover = np.zeros((128, 128), np.uint8)
        cover[64:] = 255
        Image.fromarray(cover).save(tmp_path / "regions" / f"{number}.png")
    pairs = MatchedPictures(PictureSet(heads), tmp_path / "truth", tmp_path / "regions", tmp_path / "made")
    found = measure_pairs(pairs)
    assert found.n == 2
    assert sorted(item.name for item in found.failures) == ["2.png", "3.png"]
    reasons = {item.name: item.reason for item in found.failures}
    assert "the made is 64×64, the input 128×128" in reasons["2.png"]
    assert "there is no truth picture of this name" in reasons["3.png"]
    assert found.rows[MADE]["psnr"].n == 2
    bare = measure_pairs(MatchedPictures(PictureSet(heads), tmp_path / "truth", None, tmp_path / "made"))
    assert "psnr_inside" not in bare.rows[MADE] and "no region" in " ".join(bare.warnings)
    (tmp_path / "other").mkdir()
    Image.new("RGB", (128, 128)).save(tmp_path / "other" / "else.png")
    with pytest.raises(SourceError, match=r"no picture of .* has a pair"):
        measure_pairs(MatchedPictures(PictureSet(heads), tmp_path / "other"), lambda photo: photo)


def test_a_pair_that_fails_is_listed_and_all_failing_is_one_line(heads):
    calls = []

    def fails_once(photo):
        calls.append(photo)
        if len(calls) == 1:
            raise NoFaceError("no face was found.")
        return photo

    found = measure_pairs(WornPictures(PictureSet(heads)), fails_once, baselines=False)
    assert found.n == 3 and [item.name for item in found.failures] == ["0.png"]
    assert found.failures[0].reason == "no face was found." and found.failures[0].picture

    def fails(photo):
        raise NoFaceError("no face was found.")

    with pytest.raises(ConfigError, match=r"no pair could be measured: 0.png: no face was found"):
        measure_pairs(WornPictures(PictureSet(heads)), fails, baselines=False)
    with pytest.raises(ConfigError, match="column 'age'"):
        measure_pairs(WornPictures(PictureSet(heads, limit=1)), lambda p: p, baselines=False, groups=("age",))
