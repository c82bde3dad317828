"""The light unmasker: what its batch is made of, what it grows from, what can't be."""

import pytest
import torch

from maskhub import FaceMaskPipeline
from maskhub.errors import ConfigError
from maskhub.training.covered import mask_alone, printed
from maskhub.training.trainer import Trainer
from maskhub.training.unmasker import Unmasker, UnmaskerOptions

TINY = {"resolution": 32, "batch_size": 3, "workers": 0, "max_steps": 2, "sample_every": 0, "mixed_precision": "no",
        "widths": (8, 16), "blocks": (1, 1), "discriminator_width": 4, "discriminator_layers": 2, "real_faces": 1,
        "bare_faces": 1, "transplanted": 0, "lambda_perceptual": 0, "lambda_identity": 0, "ema_decay": 0.0}  # fmt: skip


@pytest.fixture
def trained(drawn, faces, tmp_path):
    """A function of changed options that trains and returns the pipeline's folder."""

    def train(name, **changes):
        options = {"unmasked": str(faces), "masked": str(drawn / "masked"), "output": str(tmp_path / name)}
        trainer = Trainer(Unmasker, UnmaskerOptions(**TINY | options | changes))
        folder = trainer.run()
        trainer.close()
        return folder

    return train


def test_bare_faces_come_first_and_really_masked_ones_last():
    task = Unmasker(UnmaskerOptions(**TINY))
    batch = {name: torch.rand(3, 3, 32, 32) for name in ("unmasked", "worn", "masked")}
    given, region = task._given(batch | {"region": torch.ones(3, 1, 32, 32)})
    expected = [batch["unmasked"][0], batch["worn"][1], batch["worn"][2], batch["masked"][0]]
    assert torch.equal(given, torch.stack(expected))
    assert region.mean((1, 2, 3)).tolist() == [0, 1, 1]


def test_what_is_really_masked_is_judged_without_a_truth():
    task = Unmasker(UnmaskerOptions(**TINY | {"bare_faces": 0}))
    batch = {name: torch.rand(3, 3, 32, 32) * 2 - 1 for name in ("unmasked", "worn", "masked")}
    batch["region"] = torch.zeros(3, 1, 32, 32)
    _, terms, made = task._objective(batch, *task._given(batch))
    assert len(made) == 4
    other = batch | {"masked": -batch["masked"]}
    _, changed, _ = task._objective(other, *task._given(other))
    assert changed["L1"] == terms["L1"] and changed["G_GAN"] != terms["G_GAN"]


def test_it_learns_from_drawn_masks_alone(trained):
    folder = trained("drawn", real_faces=0, transplanted=0, sample_every=1)
    assert (folder.parent / "samples" / "step-00000002.png").is_file()


def test_a_teachers_results_are_the_truth_of_real_masks(trained):
    folder = trained("teacher")
    task = Unmasker(UnmaskerOptions(**TINY | {"teacher": str(folder), "lambda_gan": 0}))
    batch = {name: torch.rand(3, 3, 32, 32) * 2 - 1 for name in ("unmasked", "worn", "masked")}
    batch["region"] = torch.zeros(3, 1, 32, 32)
    given, region = task._given(batch)
    _, before, made = task._objective(batch, given, region)
    # what it learns is how far its own results are from the teacher's
    task.nets["unmasker"] = lambda given, with_attention: (
        torch.cat([batch["unmasked"], task.teacher(given[3:])]), torch.full((4, 2, 32, 32), 0.5)
    )  # fmt: skip
    _, taught, _ = task._objective(batch, given, region)
    assert taught["L1"] < 1e-6 < before["L1"] and not made[3].equal(task.teacher(given[3:])[0])


def test_a_teacher_without_a_fitting_unmasker_is_one_line(trained):
    folder = trained("teacher")
    with pytest.raises(ConfigError, match="must have an unmasker for 64 pixels"):
        Unmasker(UnmaskerOptions(**TINY | {"teacher": str(folder), "resolution": 64}))


def test_compared_pairs_are_spread_over_all_masks():
    task = Unmasker(UnmaskerOptions(**TINY | {"batch_size": 8, "bare_faces": 2, "compared_faces": 3}))
    assert task._compared(8, "cpu").tolist() == [2, 4, 6]
    task.options = task.options.replaced(compared_faces=9)
    assert task._compared(8, "cpu").tolist() == [2, 3, 4, 5, 6, 7]


def test_a_transplanted_mask_lies_where_it_was_and_its_face_is_the_truth(monkeypatch):
    task = Unmasker(UnmaskerOptions(**TINY | {"batch_size": 4, "transplanted": 2}))
    batch = {name: torch.rand(4, 3, 32, 32) * 2 - 1 for name in ("unmasked", "worn", "masked")}
    seen = torch.zeros(4, 1, 32, 32)
    seen[2, :, 16:28, 8:24] = 1  # on the last masked face no mask is found
    monkeypatch.setattr("maskhub.training.covered.covered", lambda masked: seen[[2, 3]])
    given, region = task._given(batch | {"region": torch.ones(4, 1, 32, 32)})
    assert torch.equal(given[0], batch["unmasked"][0]) and torch.equal(given[3], batch["worn"][3])
    assert torch.equal(given[2], batch["worn"][2]) and region[2].mean() == 1
    inside = region[1, 0].bool()
    assert 12 * 16 <= inside.sum() <= 14 * 18 and inside[16:28, 8:24].all()
    assert torch.equal(given[1][:, inside], batch["masked"][2][:, inside])
    assert torch.equal(given[1][:, ~inside], batch["unmasked"][1][:, ~inside])


def test_transplanted_masks_are_cut_out_with_different_margins(monkeypatch):
    region = torch.zeros(64, 1, 128, 128)
    region[:, :, 60:70, 60:70] = 1
    monkeypatch.setattr("maskhub.training.covered.covered", lambda faces: region)
    sizes = {
        (margin, int(a.sum())) for margin in (0.0, 3 / 128) for a in mask_alone(torch.zeros(64, 3, 128, 128), margin)
    }
    assert sizes == {(0.0, 12**2), (3 / 128, 12**2), (3 / 128, 14**2), (3 / 128, 16**2)}


def test_the_attention_reaches_beyond_masks_by_their_margins(monkeypatch):
    task = Unmasker(UnmaskerOptions(**TINY | {"attention_margin": 2 / 32, "real_margin": 5 / 32}))
    wanted = []
    monkeypatch.setattr("maskhub.training.unmasker.attention_loss", lambda _, region: wanted.append(region) or 0)
    one = torch.zeros(1, 1, 32, 32)
    one[..., 16, 16] = 1
    monkeypatch.setattr("maskhub.training.unmasker.covered", lambda faces: one)
    batch = {name: torch.zeros(3, 3, 32, 32) for name in ("unmasked", "worn", "masked")}
    task._objective(batch, *task._given(batch | {"region": one.repeat(3, 1, 1, 1)}))
    assert [int(region.sum()) for region in wanted[0]] == [0, 5**2, 5**2, 11**2]


def test_prints_lie_on_masks_alone():
    worn, photos, region = torch.zeros(200, 3, 32, 32), torch.ones(200, 3, 32, 32), torch.zeros(200, 1, 32, 32)
    region[:, :, 16:28, 8:24] = 1
    torch.manual_seed(0)
    changed = printed(worn, region, photos, 0.4)
    assert (changed * (1 - region)).abs().max() == 0 and changed.max() <= 1
    touched = changed.amax((1, 2, 3)) > 0
    whole = (changed[..., 16:28, 8:24] > 0).all((1, 2, 3))
    assert 0.3 < touched.float().mean() < 0.5 and 0.1 < whole.float().mean() < touched.float().mean() - 0.1
    assert torch.equal(printed(worn, region, photos, 0.0), worn)


def test_transplanted_masks_go_to_faces_turned_alike(monkeypatch):
    task = Unmasker(UnmaskerOptions(**TINY | {"batch_size": 4, "bare_faces": 0, "transplanted": 4, "real_faces": 4}))
    regions = torch.zeros(4, 1, 32, 32)
    for number, left in enumerate((10, 0, 20, 15)):
        regions[number, :, 16:28, left : left + 12] = 1
    monkeypatch.setattr("maskhub.training.covered.covered", lambda masked: regions.flip(0))
    batch = {name: torch.rand(4, 3, 32, 32) for name in ("unmasked", "worn", "masked")}
    given, region = task._given(batch | {"region": regions})
    for number in range(4):
        inside = regions[number, 0].bool()
        assert (region[number, 0] > 0)[inside].all()
        assert torch.equal(given[number][:, inside], batch["masked"][3 - number][:, inside])


def test_a_deeper_run_begins_as_what_it_begins_with(trained):
    first = trained("shallow")
    second = trained("deep", init_from=str(first), blocks=(2, 4), learning_rate=1e-9)
    shallow, deep = (FaceMaskPipeline.from_pretrained(folder).unmasker for folder in (first, second))
    assert tuple(deep.config.blocks) == (2, 4)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(deep(x), shallow(x), atol=1e-4)
    with pytest.raises(ConfigError, match="can only gain"):
        deep.deepened((1, 4))


def test_a_run_of_twice_the_side_grows_what_it_begins_with(trained):
    first = trained("small")
    second = trained(
        "large", init_from=str(first), resolution=64, fold=2, detail=16, detail_blocks=1, learning_rate=1e-9
    )
    small, large = (FaceMaskPipeline.from_pretrained(folder).unmasker for folder in (first, second))
    assert (large.config.fold, large.config.detail) == (2, 16)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.inference_mode():
        expected = small(x).repeat_interleave(2, 2).repeat_interleave(2, 3)
        found = large(x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"real_faces": 4}, "real-faces"),
        ({"bare_faces": 3}, "bare-faces"),
        ({"teacher": "d", "real_faces": 0}, "--teacher needs --real-faces"),
        ({"transplanted": 3}, "transplanted"),
        ({"perceptual_stages": 6}, "from 1 to 5"),
        ({"moved_faces": 1.5}, "moved-faces is 1.5; it must be from 0 to 1"),
        ({"recoloured_faces": -0.1}, "recoloured-faces is -0.1"),
        ({"resolution": 36}, "multiple of 8"),
        ({"resolution": 40, "fold": 2}, "multiple of 16"),
    ],
)
def test_what_can_not_be_is_one_line(changes, message):
    with pytest.raises(ConfigError, match=message):
        UnmaskerOptions(unmasked="a", masked="b", output="c", **TINY | changes).check()
