"""The outline: on the region's edge and nowhere else, visible on any background."""

import numpy as np
import pytest
from PIL import Image

from maskhub.errors import PhotoError
from maskhub.pipelines.outline import changed, outline


def disc(size=200, radius=50):
    y, x = np.mgrid[:size, :size] - size / 2
    return np.clip((radius - np.hypot(x, y)) / 10 + 0.5, 0, 1).astype(np.float32), np.hypot(x, y)


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_the_line_runs_along_the_edge_and_is_seen_on_any_ground(ground):
    region, distance = disc()
    image = Image.new("RGB", (200, 200), (ground,) * 3)
    drawn = np.asarray(outline(image, region)).astype(int).mean(2)
    changed = np.abs(drawn - ground) > 60
    assert np.abs(distance[changed] - 50).max() < 5
    # the line is hit in every direction from the centre
    y, x = np.nonzero(changed)
    angles = np.degrees(np.arctan2(y - 100, x - 100)).round().astype(int) % 360
    assert len(set(angles)) > 350
    assert np.asarray(image).min() == np.asarray(image).max() == ground


def test_the_line_is_anti_aliased_and_of_the_width_asked_for():
    region, _ = disc()
    image = Image.new("RGB", (200, 200))
    thin, wide = (np.asarray(outline(image, region, width=width))[..., 0] for width in (1, 5))
    assert len(np.unique(thin)) > 10
    assert (wide > 128).sum() > 3 * (thin > 128).sum()


def test_alpha_is_kept_and_a_bool_region_will_do():
    region, _ = disc()
    image = Image.new("RGBA", (200, 200), (9, 9, 9, 77))
    drawn = outline(image, region > 0.5)
    assert drawn.mode == "RGBA" and drawn.getchannel("A").getextrema() == (77, 77)
    assert np.array_equal(np.asarray(drawn), np.asarray(outline(image, region)))


def test_every_face_is_outlined_and_specks_are_not():
    region = np.zeros((300, 400), np.float32)
    region[50:250, 50:250], region[100:120, 300:320], region[10:12, 10:12] = 1, 1, 1
    drawn = np.asarray(outline(Image.new("RGB", (400, 300)), region)).max(2) > 0
    assert drawn[:, :270].any() and drawn[90:130, 290:330].any() and not drawn[:30, :30].any()


def test_nothing_changed_draws_nothing_and_a_wrong_size_is_refused():
    image = Image.new("RGB", (40, 30), "red")
    assert np.array_equal(np.asarray(outline(image, np.zeros((30, 40)))), np.asarray(image))
    with pytest.raises(PhotoError, match="the region is 30×40, the picture 40×30"):
        outline(image, np.zeros((40, 30)))


def test_what_was_changed_is_found_by_comparing():
    before = Image.new("RGB", (200, 160), (120, 100, 90))
    noise = np.random.default_rng(0).integers(-3, 4, (160, 200, 3))
    after = (np.asarray(before).astype(int) + noise).astype(np.uint8)
    after[40:120, 60:140] = (40, 90, 160)
    region = changed(before, Image.fromarray(after))
    inside = np.zeros((160, 200), bool)
    inside[40:120, 60:140] = True
    assert region[44:116, 64:136].min() > 0.5
    assert region[:36].max() < 0.5 and region[:, 145:].max() < 0.5
    assert ((region > 0.5) != inside).mean() < 0.03
    with pytest.raises(PhotoError, match="200×160 and the result 20×16"):
        changed(before, before.resize((20, 16)))
