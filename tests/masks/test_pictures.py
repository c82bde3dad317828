"""Masks from the user's own pictures: cut-outs, masks on a plain background, and masks that somebody wears."""

import cv2
import numpy as np
import pytest
from PIL import Image

from maskhub.cli import main
from maskhub.data.folder import is_held_out
from maskhub.data.mask_images import mask_images_digest, mask_pictures
from maskhub.data.masked import Wearing, mask_faces
from maskhub.errors import ConfigError, PhotoError, SourceError
from maskhub.masks import WORN, wear
from maskhub.masks.pictures import PICTURE, MaskPicture, MaskPictures
from maskhub.training.unmasker import UnmaskerOptions

NOSE, LIPS, CHIN, FOREHEAD = 1, 14, 199, 10
GREEN, RED = (40, 150, 60), (190, 40, 40)


@pytest.fixture(scope="module")
def flat():
    """A green mask with a red stripe across and two straps, as RGBA."""
    picture = np.zeros((300, 480, 4), np.uint8)
    for x in (60, 420):
        cv2.ellipse(picture, (x, 150), (45, 90), 0, 0, 360, (250, 250, 250, 255), 6)
    cv2.rectangle(picture, (60, 50), (420, 250), (*GREEN, 255), -1)
    cv2.rectangle(picture, (60, 140), (420, 170), (*RED, 255), -1)
    return Image.fromarray(picture)


def files(folder, flat, photo):
    """A picture of each kind."""
    folder.mkdir(exist_ok=True)
    flat.save(folder / "cut-out.png")
    ground = Image.new("RGB", (600, 420), (150, 170, 190))
    ground.paste(flat, (60, 60), flat)
    ground.save(folder / "ground.jpg", quality=92)
    worn = wear(photo, style="cloth", colour="red", seed=4).image
    Image.fromarray(worn).save(folder / "worn.png")
    return folder


def covered(region, points, number):
    x, y = np.rint(points.points[number, :2]).astype(int)
    return region[y, x] > 0.9


def redness(image, where):
    r, g, _ = image[where].mean(0)
    return r / g


@pytest.mark.parametrize("name", ["cut-out.png", "ground.jpg", "worn.png"])
def test_each_kind_of_picture_is_put_on(tmp_path, flat, photo, points, name):
    picture = MaskPicture.read(files(tmp_path / "m", flat, photo) / name)
    for way in WORN[:2]:
        worn = wear(photo, style=MaskPictures((picture,)), seed=1, worn=way, landmarks=points)
        assert (worn.style, worn.colour, worn.worn) == (PICTURE, name, way)
        np.testing.assert_array_equal(worn.image[worn.region == 0], photo[worn.region == 0])
        assert covered(worn.region, points, NOSE) == (way == "correctly")
        assert covered(worn.region, points, LIPS)
        assert covered(worn.region, points, CHIN)
        assert not covered(worn.region, points, FOREHEAD)
        where = worn.region > 0.95
        assert redness(worn.image, where) > 1.8 if name == "worn.png" else redness(worn.image, where) < 0.9


def test_the_print_is_upright_and_the_straps_are_not_part_of_it(tmp_path, flat, photo, points):
    flat.save(tmp_path / "a.png")
    picture = MaskPicture.read(tmp_path / "a.png")
    middle = picture.texture[:, picture.texture.shape[1] // 2]
    red = np.flatnonzero(middle[:, 0] > 2 * middle[:, 1]) / len(middle) * 1.27 - 0.15
    assert 0.40 < red.min() < 0.50
    assert 0.55 < red.max() < 0.65
    assert picture.strap.min() > 0.9
    assert picture.alpha[:, :10].max() < 0.5


def broken(folder):
    (folder / "torn.png").write_bytes(b"\x89PNG no more")


def noise(folder):
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8)).save(folder / "noise.png")


def empty(folder):
    Image.new("RGB", (200, 200), (90, 90, 90)).save(folder / "grey.png")


def upright(folder):
    Image.fromarray(np.pad(np.full((300, 60, 4), 255, np.uint8), [(20, 20), (20, 20), (0, 0)])).save(folder / "bar.png")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (broken, "torn.png"),
        (noise, "plain background"),
        (empty, "nothing on"),
        (upright, "times as high as it is wide"),
    ],
)
def test_bad_pictures_give_one_line_and_the_others_are_used(tmp_path, flat, make, words):
    make(tmp_path)
    with pytest.raises(SourceError, match=f"no picture of a mask that can be used.*{words}"):
        mask_pictures(str(tmp_path))
    flat.save(tmp_path / "good.png")
    mask_pictures.cache_clear()
    with pytest.warns(UserWarning, match=words):
        assert [picture.name for picture in mask_pictures(str(tmp_path)).pictures] == ["good.png"]


def test_an_unmasked_face_is_no_mask(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "bare.png")
    with pytest.raises(PhotoError, match="a face without a mask"):
        MaskPicture.read(tmp_path / "bare.png")


def test_options(tmp_path, flat, photo):
    flat.save(tmp_path / "a.png")
    wearing = Wearing(mask_images=str(tmp_path), seed=2)
    made = mask_faces(photo, wearing, "x")
    assert made.faces[0]["style"] == PICTURE
    np.testing.assert_array_equal(made.image, mask_faces(photo, wearing, "x").image)
    assert wearing.identity()["mask_images"] == mask_images_digest(tmp_path)
    assert "mask_images" not in Wearing().identity()
    with pytest.raises(ConfigError, match="--mask-images are used instead"):
        Wearing(mask_images=str(tmp_path), style="cup")
    with pytest.raises(SourceError, match="no folder of mask pictures"):
        mask_faces(photo, Wearing(mask_images=str(tmp_path / "none")), "x")


def test_training_with_holdout_leaves_a_tenth_out(tmp_path, flat):
    names = [next(f"{n}.png" for n in range(100) if is_held_out(f"{n}.png") == held_out) for held_out in (True, False)]
    for name in names:
        flat.save(tmp_path / name)
    given = {"unmasked": "x", "output": "x", "mask_images": str(tmp_path)}
    for holdout, used in ((False, names), (True, names[1:])):
        look = UnmaskerOptions(**given, holdout=holdout).wearing().look
        assert {picture.name for picture in look.pictures} == {*used}
    (tmp_path / names[1]).unlink()
    mask_pictures.cache_clear()
    with pytest.raises(SourceError, match="no picture of a mask once the held-out tenth is left out"):
        mask_pictures(str(tmp_path), holdout=True)


def test_command(tmp_path, flat, photo, capsys):
    files(tmp_path / "masks", flat, photo)
    (tmp_path / "in").mkdir()
    Image.fromarray(photo[:300, 60:400]).save(tmp_path / "in" / "a.png")
    arguments = ["mask", str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "0", "--mask-images"]
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, str(tmp_path / "masks")])
    assert "picture" in (tmp_path / "out" / "metadata.csv").read_text()
    (tmp_path / "masks" / "ground.jpg").unlink()
    mask_pictures.cache_clear()
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, str(tmp_path / "masks")])
    assert "different mask_images" in capsys.readouterr().err
