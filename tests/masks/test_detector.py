"""The bundled mask detector: correct on clear cases, regions in the right place, thread-safe."""

import threading

import cv2
import numpy as np
import pytest

from maskhub import MaskDetector, PhotoError
from maskhub.faces import align, worn
from maskhub.faces.detect import detect
from maskhub.masks import STYLES, WORN, wear
from maskhub.masks import detector as module
from maskhub.masks.detector import detect_mask, detect_mask_on_crop, detect_masks_on_crops


@pytest.fixture(scope="module")
def photo(astronaut):
    pixels = np.asarray(astronaut)
    return pixels, detect(pixels)[0]


def cropped(pixels, face, side=128):
    return align.crop(pixels, align.alignment(face, side), side)


def overlap(a, b):
    a, b = a > 0.5, b > 0.5
    return (a & b).sum() / (a | b).sum()


def test_a_bare_face_is_bare(photo):
    found = detect_mask(*photo)
    assert found.presence < 0.1 and not found.masked
    assert found.region.max() < 0.5


@pytest.mark.parametrize("style", STYLES)
def test_a_mask_is_found_where_it_is(photo, style):
    pixels, face = photo
    worn = wear(pixels, face, style=style, seed=3)
    found = detect_mask(worn.image, face)
    assert found.presence > 0.9 and found.masked
    assert overlap(found.region, worn.region) > 0.75
    assert found.region.shape == pixels.shape[:2] and found.region.dtype == np.float32
    # nothing beyond the face's crop
    inside = cv2.warpAffine(
        np.ones((128, 128), np.float32), cv2.invertAffineTransform(align.alignment(face, 128)), (512, 512)
    )
    assert found.region[inside == 0].max() == 0


@pytest.mark.parametrize("worn", WORN[1:3])
def test_a_mask_worn_wrongly_is_a_mask(photo, worn):
    pixels, face = photo
    made = wear(pixels, face, style="surgical", colour="blue", seed=1, worn=worn)
    assert detect_mask(made.image, face).masked
    assert overlap(detect_mask(made.image, face).region, made.region) > 0.6


def test_a_smeared_mouth_and_a_hand_of_skin_are_none(photo):
    pixels, face = photo
    crop = cropped(pixels, face)
    smeared = crop.copy()
    smeared[72:118, 34:94] = cv2.GaussianBlur(crop, (0, 0), 5)[72:118, 34:94]
    skin = np.median(crop[52:62, 40:52].reshape(-1, 3), 0)
    hand = crop.copy()
    cv2.line(hand, (128, 128), (75, 90), skin.tolist(), 16, cv2.LINE_AA)
    assert [found.masked for found in detect_masks_on_crops([smeared, hand])] == [False, False]


def test_crops_of_any_size_alone_and_together(photo):
    pixels, face = photo
    crops = [cropped(wear(pixels, face, style="kn95", seed=1).image, face, side) for side in (64, 128, 300)]
    together = detect_masks_on_crops([*crops, cropped(*photo)])
    for crop, found in zip(crops, together, strict=False):
        alone = detect_mask_on_crop(crop)
        assert alone.presence == pytest.approx(found.presence, abs=1e-4)
        assert found.region.shape == crop.shape[:2] and 0 <= found.region.min() <= found.region.max() <= 1
    assert [found.masked for found in together] == [True, True, True, False]
    assert detect_masks_on_crops([]) == []


def test_a_network_of_ones_own(photo):
    network = MaskDetector(width=4, pyramid=4, resolution=64).eval()
    assert detect_mask_on_crop(cropped(*photo), network).region.shape == (128, 128)
    assert detect_mask(*photo, network).region.shape == (512, 512)


def test_it_is_loaded_once_whichever_thread_is_first(photo, monkeypatch):
    loads, original = [], worn.OnnxNetwork
    monkeypatch.setattr(worn, "_loaded", {})
    monkeypatch.setattr(worn, "OnnxNetwork", lambda folder: loads.append(folder) or original(folder))
    answers, crop = [], cropped(*photo)
    threads = [threading.Thread(target=lambda: answers.append(detect_mask_on_crop(crop).presence)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1 and len(answers) == 4 and len(set(answers)) == 1


def test_onnxruntime_and_torch_agree(photo):
    pixels, face = photo
    crops = [cropped(*photo), cropped(wear(pixels, face, style="kn95", seed=1).image, face)]
    found, wanted = detect_masks_on_crops(crops), detect_masks_on_crops(crops, module.bundled_mask_detector())
    for one, other in zip(found, wanted, strict=True):
        assert one.presence == pytest.approx(other.presence, abs=1e-4)
        assert np.abs(one.region - other.region).max() < 1e-3


def test_what_is_no_crop_is_refused():
    for bad in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((8, 9, 3), np.uint8), None):
        with pytest.raises(PhotoError, match="crop must be"):
            detect_mask_on_crop(bad)
    with pytest.raises(PhotoError, match="photo must be"):
        detect_mask(np.zeros((8, 8), np.uint8), None)
