"""The recognition table from pairs of photos to its report; the pairs' list and what may be wrong with it."""

import csv
import io
import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maskhub.errors import ConfigError, SourceError
from maskhub.evaluation.encoders import Encoder
from maskhub.evaluation.face_views import Vectors
from maskhub.evaluation.identity_pairs import IdentityPair, read_pairs, some_pairs
from maskhub.evaluation.measures.recognition import Options, measure_recognition, pair_scores
from maskhub.evaluation.measures.recognition import measure as measure_options
from maskhub.faces.align import alignment, crop

PEOPLE = ("ann", "bob", "cy", "dot")


class Colours(Encoder):
    """Tells people apart who differ in the colour of their face: the mean colours of nine places."""

    name, dimensions = "colours", 27

    def crop(self, pixels, face):
        return crop(pixels, alignment(face, 48), 48)

    def encode(self, crops):
        return np.stack([cv2.resize(c, (3, 3), interpolation=cv2.INTER_AREA).ravel() - 128.0 for c in crops])


@pytest.fixture(scope="module")
def folder(astronaut, tmp_path_factory):
    """Four people, in truth one face in four tints, two photos each; fold 1 has the first two, fold 2 the others."""
    folder = tmp_path_factory.mktemp("people")
    face = np.asarray(astronaut.crop((100, 0, 356, 256)))
    for number, name in enumerate(PEOPLE):
        tint = np.roll([1.0, 0.75, 0.6], number) if number < 3 else np.array([0.7, 0.7, 0.7])
        for turn in (1, 2):
            shifted = np.roll(face, 6 * turn, axis=1) * tint
            Image.fromarray(shifted.astype(np.uint8)).save(folder / f"{name}_{turn}.png")
    pairs = [(1, "ann_1", "ann_2", 1), (1, "bob_1", "bob_2", 1), (1, "ann_1", "bob_2", 0), (1, "bob_1", "ann_2", 0)]
    pairs += [(2, "cy_1", "cy_2", 1), (2, "dot_1", "dot_2", 1), (2, "cy_1", "dot_2", 0), (2, "dot_1", "cy_2", 0)]
    write_pairs(folder / "pairs.csv", [(f, f"{a}.png", f"{b}.png", s) for f, a, b, s in pairs])
    with open(folder / "metadata.csv", "w", newline="") as file:
        rows = [("file_name", "fold"), *((f"{n}_{t}.png", "ab"[i > 1]) for i, n in enumerate(PEOPLE) for t in (1, 2))]
        csv.writer(file).writerows([("file_name", "half"), *rows[1:]])
    return folder


def write_pairs(path, rows, header=("fold", "first", "second", "same")):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def measure(folder, tmp_path, **options):
    return measure_recognition(
        folder, read_pairs(folder), [Colours()], resamples=10, cache=tmp_path, progress=False, **options
    )


def test_the_table(folder, tmp_path, tiny_pipeline):
    found = measure(folder, tmp_path, pipeline=tiny_pipeline, groups=["half"])
    figures = found.rows
    assert list(figures) == [
        "colours: unmasked–unmasked",
        "colours: masked–unmasked, baseline",
        "colours: masked–unmasked, bias projection",
        "colours: masked–unmasked, whitened",
        "colours: stripped–unmasked, unmasker strip",
        "colours: masked and stripped–unmasked, pooled",
        "colours: masked and stripped–unmasked, pooled and whitened",
    ]
    best, masked = figures["colours: unmasked–unmasked"], figures["colours: masked–unmasked, baseline"]
    assert best["equal-error rate"].value == 0
    assert (best["TAR at FAR 1 %"].value, best["TAR at FAR 1 %"].n) == (1.0, 4)
    assert best["same mean"].value > 0.98 and masked["same mean"].value < best["same mean"].value - 0.02
    assert found.settings["pairs_measured"] == found.n == 8 and found.settings["same"] == 4
    assert list(found.groups["half"]) == ["a", "b"] and len(found.groups["half"]["a"]) == 2 * 7
    assert any("only 4 items" in warning for warning in found.warnings)
    assert any("0.1 % is 0.0 of the different pairs" in warning for warning in found.warnings)
    assert found.curves[0].lines.keys() == {row.removeprefix("colours: ") for row in figures}
    pictures = [item.picture for gallery in found.galleries for item in gallery.items]
    assert len(pictures) == 4 and Image.open(io.BytesIO(pictures[0])).size == (4 * 128, 128)
    # again from the cache
    assert measure(folder, tmp_path, pipeline=tiny_pipeline, groups=["half"]).rows == figures


def test_a_photo_without_a_face_leaves_every_row(folder, tmp_path):
    blank = tmp_path / "people"
    blank.mkdir()
    for path in folder.iterdir():
        (blank / path.name).write_bytes(path.read_bytes())
    Image.new("RGB", (96, 96), (90, 120, 90)).save(blank / "ann_2.png")
    (blank / "bob_1.png").write_bytes(b"no picture")
    found = measure(blank, tmp_path, approaches=["baseline"])
    assert [item.name for item in found.failures] == ["ann_2.png", "bob_1.png"]
    assert "no face was found" in found.failures[0].reason
    assert found.warnings[0].startswith("3 of 8 pairs are left out of all rows")
    assert {figures["separation σ"].n for figures in found.rows.values()} == {5}


def test_what_an_approach_needs(folder, tmp_path, tiny_pipeline):
    with pytest.raises(ConfigError, match="the model has no unmasker: choose a --model"):
        measure(folder, tmp_path)
    with pytest.raises(ConfigError, match="the approach is 'magic'; it must be one of baseline, projection, wh"):
        measure(folder, tmp_path, approaches=["magic"])
    with pytest.raises(ConfigError, match="no face encoder 'eyes'"):
        measure_options(Options(folder=folder, encoders="eyes"))
    one = [IdentityPair(p.first, p.second, p.same, 1) for p in read_pairs(folder)]
    with pytest.raises(ConfigError, match="bias projection needs pairs of at least two folds"):
        measure_recognition(
            folder, one, [Colours()], approaches=["projection"], resamples=2, cache=tmp_path, progress=False
        )


@pytest.mark.parametrize("approach", ["projection", "whitened", "pooled-whitened"])
def test_nothing_is_learnt_on_the_fold_that_is_measured(approach):
    rng = np.random.default_rng(0)
    pairs = [IdentityPair(f"a{n}", f"b{n}", n % 2 == 0, n % 3) for n in range(30)]
    folds = np.array([pair.fold for pair in pairs])

    def vectors(names):
        return {name: [rng.normal(size=6)] for name in names}

    first, second = ([f"{side}{n}" for n in range(30)] for side in "ab")
    views = Vectors(vectors(first + second), vectors(second), vectors(second))
    before = pair_scores(views, 0, approach, pairs, folds, 1)
    for name in ("b0", "b3"):  # of fold 0
        views.masked[name] = [rng.normal(size=6)]
    changed = ~np.isclose(pair_scores(views, 0, approach, pairs, folds, 1), before, rtol=1e-9, atol=0)
    assert changed[[0, 3]].all() and changed[folds > 0].all() and changed.sum() == 22


def test_masks_by_the_model(folder, tmp_path, tiny_pipeline):
    class Same(torch.nn.Module):
        device, dtype, takes_noise = torch.device("cpu"), torch.float32, False

        def forward(self, batch):
            return batch

    tiny_pipeline.masker = Same()
    found = measure(folder, tmp_path, pipeline=tiny_pipeline, masks="model", approaches=["baseline"])
    unmasked, masked = found.rows.values()
    assert found.settings["masks"] == "model" and unmasked == masked


def test_pairs_are_read_with_their_metadata(folder, tmp_path):
    pairs = read_pairs(folder)
    assert pairs[0] == IdentityPair("ann_1.png", "ann_2.png", True, 1, {"half": "a"})
    write_pairs(tmp_path / "own.csv", [("ann_1.png", "cy_1.png", 0, "x")], ("first", "second", "same", "light"))
    assert read_pairs(folder, tmp_path / "own.csv") == [IdentityPair("ann_1.png", "cy_1.png", False, 1, {"light": "x"})]


@pytest.mark.parametrize(
    "header, row, message",
    [
        (("first", "second"), ("a", "b"), "have no column same"),
        (("first", "second", "same"), None, "have no row"),
        (("first", "second", "same"), ("ann_1.png", "eve.png", 1), r"line 2: there is no photo 'eve\.png'"),
        (("first", "second", "same"), ("ann_1.png", "ann_2.png", "yes"), "line 2: same is 'yes'; it must be 1 or 0"),
        (("fold", "first", "second", "same"), ("x", "ann_1.png", "ann_2.png", 1), "fold is 'x'"),
    ],
)
def test_a_bad_list_is_one_line(folder, tmp_path, header, row, message):
    write_pairs(tmp_path / "bad.csv", [row] if row else [], header)
    with pytest.raises(SourceError, match=message):
        read_pairs(folder, tmp_path / "bad.csv")


def test_a_missing_list_is_one_line(tmp_path):
    with pytest.raises(SourceError, match="columns first, second, same"):
        read_pairs(tmp_path)


def test_some_pairs_are_of_all_folds_and_kinds_and_nested():
    pairs = [IdentityPair(f"{i}", f"{i}", i % 2 == 0, i // 20) for i in range(100)]
    few, more = some_pairs(pairs, 20), some_pairs(pairs, 50)
    assert {(p.fold, p.same): sum((q.fold, q.same) == (p.fold, p.same) for q in few) for p in few} == {
        (fold, same): 2 for fold in range(5) for same in (True, False)
    }
    assert set(map(repr, few)) < set(map(repr, more)) and len(more) == 50 and some_pairs(pairs, 1000) == pairs
    with pytest.raises(ConfigError, match="must be at least 4"):
        some_pairs(pairs, 3)


def test_the_command(folder, tmp_path, monkeypatch, capsys):
    from maskhub import cli
    from maskhub.evaluation import encoders

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(encoders.ENCODERS, "colours", lambda weights: Colours())
    arguments = ["evaluate", "recognition", str(folder), "--encoders", "colours", "--resamples", "5"]
    with pytest.raises(SystemExit) as end:
        cli.main([*arguments, "--output", str(tmp_path / "r.json"), "--groups", "half"])
    assert end.value.code == 0 and "unmasker strip" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["settings"]["model"] == "bundled" and len(report["figures"]) == 7
    with pytest.raises(SystemExit) as end:
        cli.main([*arguments, "--groups", "age"])
    assert end.value.code == 2 and "no metadata column 'age' to group by: there are half" in capsys.readouterr().err
