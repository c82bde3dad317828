"""Curation: what is kept, what is dropped, and the reasons given."""

import csv
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from maskhub import ConfigError
from maskhub.data.curate import Criteria, curate_source, measure, sharpness
from maskhub.data.masked import Wearing, mask_faces
from maskhub.masks import wear


@pytest.fixture(scope="module")
def head(astronaut):
    return astronaut.crop((120, 20, 330, 230))


@pytest.fixture(scope="module")
def folder(head, tmp_path_factory):
    root = tmp_path_factory.mktemp("curate") / "in"
    (root / "sub").mkdir(parents=True)
    head.save(root / "sub" / "good.png")
    head.resize((60, 60)).save(root / "small.png")
    head.filter(ImageFilter.GaussianBlur(4)).save(root / "blurred.png")
    head.rotate(60).save(root / "tilted.png")
    two = Image.new("RGB", (420, 210))
    two.paste(head, (0, 0))
    two.paste(head, (210, 0))
    two.save(root / "two.png")
    Image.new("RGB", (100, 100), "grey").save(root / "blank.png")
    masked = mask_faces(np.asarray(head), Wearing(style="surgical", seed=3), "x").image
    Image.fromarray(masked).save(root / "masked.png")
    (root / "broken.png").write_text("no photo")
    (root / "metadata.csv").write_text("file_name,who\nsub/good.png,Eileen\n")
    return root


REASONS = {
    "sub/good.png": "",
    "small.png": "face too small",
    "blurred.png": "blurred",
    "tilted.png": "tilted",
    "two.png": "too many faces",
    "blank.png": "no face",
    "masked.png": "seems masked",
}


@pytest.mark.parametrize("workers", [0, 1])
def test_reasons(folder, tmp_path, workers):
    out = tmp_path / "out"
    report = curate_source(folder, out, Criteria(mask="unmasked"), workers=workers, progress=False)
    assert report.kept_photos == 1
    assert [name for name, _ in report.failures] == ["broken.png"]
    rows = {row["file_name"]: row for row in csv.DictReader((out / "report.csv").open())}
    for name, reason in REASONS.items():
        assert reason in rows[name]["reasons"], name
        assert rows[name]["kept"] == str(int(not reason))
    summary = json.loads((out / "report.json").read_text())
    assert (summary["photos"], summary["kept"], summary["failed"]) == (8, 1, 1)
    assert sum(summary["dropped"].values()) == 6
    assert (out / "sub" / "good.png").read_bytes() == (folder / "sub" / "good.png").read_bytes()
    (row,) = csv.DictReader((out / "metadata.csv").open())
    assert (row["file_name"], row["who"], row["faces"]) == ("sub/good.png", "Eileen", "1")
    assert sorted(path.name for path in out.rglob("*.png")) == ["good.png"]


def test_it_goes_on_and_makes_crops(folder, tmp_path):
    out = tmp_path / "out"
    curate_source(folder, out, Criteria(max_faces=0, min_size=0, min_sharpness=0), crops=96, progress=False)
    assert Image.open(out / "sub" / "good.png").size == (96, 96)
    (out / "two.png").unlink()
    again = curate_source(folder, out, Criteria(max_faces=0, min_size=0, min_sharpness=0), crops=96, progress=False)
    assert (again.made, again.kept) == (1, 6)
    assert (out / "two.png").exists()
    with pytest.raises(ConfigError, match="a different crops"):
        curate_source(folder, out, Criteria(max_faces=0, min_size=0, min_sharpness=0), progress=False)


def test_measures(head):
    measured, face = measure(np.asarray(head))
    assert measured["faces"] == 1
    assert abs(measured["yaw"]) < 15 and abs(measured["roll"]) < 10
    assert measured["size"] == pytest.approx(min(face.box[2:]), abs=0.01)
    assert measured["mask_presence"] < 0.5


def test_sharpness_does_not_mind_the_light(head):
    crop = np.asarray(head.resize((128, 128)))
    dark = (crop * 0.4).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(crop).filter(ImageFilter.GaussianBlur(2)))
    assert sharpness(dark) == pytest.approx(sharpness(crop), rel=0.1)
    assert sharpness(blurred) < 0.5 * sharpness(crop)
    assert sharpness(np.zeros((128, 128, 3), np.uint8)) == 0


@pytest.mark.parametrize(
    "options", [{"mask": "some"}, {"min_faces": 0}, {"min_faces": 3, "max_faces": 2}, {"max_yaw": -1}]
)
def test_bad_criteria(options):
    with pytest.raises(ConfigError):
        Criteria(**options)


def test_a_hub_dataset(folder, tmp_path, hub_user):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    features = Features({"image": ImageFeature(), "age": Value("int32")})
    photos = [Image.open(folder / name) for name in ("sub/good.png", "blank.png")]
    Dataset.from_dict({"image": photos, "age": [3, 4]}, features).push_to_hub(hub_user.repo("curate"))
    assert curate_source(hub_user.repo("curate"), tmp_path / "out", progress=False).kept_photos == 1
    (row,) = csv.DictReader((tmp_path / "out" / "metadata.csv").open())
    assert row["age"] == "3"


def test_masks_in_place_clear_realistic_and_light(head):
    """Study 4's and the two-step method's criteria, on masks that are drawn well, worn wrongly, flat, and dark."""
    bare, made = np.asarray(head), {}
    for name, options in {
        "good": {"style": "surgical", "colour": "white"},
        "nose": {"style": "surgical", "colour": "white", "worn": "nose-out"},
        "dark": {"style": "cloth", "colour": "black"},
    }.items():
        made[name] = measure(wear(bare, seed=2, **options).image)[0]
    worn = wear(bare, seed=2, style="surgical", colour="white")
    flat = np.where(worn.region[..., None] > 0.5, np.uint8([128, 128, 128]), bare)
    made["flat"] = measure(flat)[0]
    assert made["good"]["mask_placement"] == made["dark"]["mask_placement"] == 1 > made["nose"]["mask_placement"]
    assert made["good"]["mask_lightness"] > 70 > 40 > made["dark"]["mask_lightness"]
    assert made["good"]["mask_realism"] > 0.5 > made["flat"]["mask_realism"]
    assert made["good"]["mask_clarity"] > 0.75
    strict = {"min_mask_placement": 1, "min_mask_clarity": 0.75, "min_mask_realism": 0.5, "min_mask_lightness": 60}
    criteria = Criteria(mask="masked", min_size=0, min_sharpness=0, **strict)
    reasons = {name: criteria.reasons(measured) for name, measured in made.items()}
    assert reasons["good"] == [] and "mask misplaced" in reasons["nose"] and "mask too dark" in reasons["dark"]
    assert "mask not realistic" in reasons["flat"]
    unmasked = measure(bare)[0]
    assert Criteria(min_size=0, min_sharpness=0, **strict).reasons(unmasked) == []  # they are about masked faces
