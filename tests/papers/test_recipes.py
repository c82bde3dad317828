"""Every recipe against its row of the documents' tables."""

import math
import re
from pathlib import Path

import pytest
import yaml

from maskhub.options import read_recipe
from maskhub.training.attentiongan import AttentionGANOptions
from maskhub.training.classifier import Classifier, ClassifierOptions
from maskhub.training.cyclegan import CycleGANOptions
from maskhub.training.pix2pix import Pix2PixOptions
from maskhub.training.reimaging import Reimaging, ReimagingOptions
from maskhub.training.simgan import SimGANOptions
from tests.papers.tables import document

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "train_scripts" / "recipes"
DOCUMENTS = ROOT / "docs" / "papers.md"


def recipe(name, options_class, **given):
    """The options of a recipe, with its epochs as steps, checked as the command checks them."""
    options = read_recipe(RECIPES / f"{name}.yaml", options_class)
    options = options.replaced(output="run", **given)
    options.check()
    return options, in_steps(options).timeline()


def in_steps(options):
    return options.in_steps(lambda stage: stage.limit_photos, options.batch_size)


def text_of(name):
    lines = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


BOTH = {"unmasked": "a", "masked": "b"}
rows = pytest.mark.parametrize


@rows("row", document(1)["table 1"], ids=lambda row: row["row"])
def test_document_1_cyclegan(row):
    paper, name = document(1), f"paper-1-table-1-row-{row['row']}"
    c, timeline = recipe(name, CycleGANOptions, **BOTH)
    assert (c.learning_rate, c.lambda_cycle, c.epochs) == (row["alpha"], row["lambda"], row["epochs"])
    assert (c.lambda_identity, c.gan_loss, c.lr_schedule) == (0, "vanilla", "constant")
    assert (c.limit_photos, c.blocks) == (paper["train"], paper["cyclegan"]["blocks"])
    assert (c.norm, c.batch_size, c.discriminator_layers) == ("instance", 1, 3)  # the base code's defaults
    assert [stage["steps"] for stage in timeline] == [row["epochs"] * paper["train"]]
    before = row.get("from", row["row"] - 1)  # the dead branch of row 2: row 3 goes on from row 1
    assert (f"--init-from RUN-OF-ROW-{before}/" in text_of(name)) == (before > 0)


@rows("row", document(1)["table 2"], ids=lambda row: row["row"])
def test_document_1_simgan(row):
    paper, name = document(1), f"paper-1-table-2-row-{row['row']}"
    c, timeline = recipe(name, SimGANOptions, **BOTH)
    assert (c.learning_rate, c.lambda_image, c.blocks) == (row["alpha"], row["beta"], row["blocks"])
    assert (c.image_distance, c.start) == ("norm", "unmasked")  # β weighs ‖G(x) - x‖₁ as written
    assert (c.generator_updates, c.discriminator_updates) == (1, row.get("d updates", 1))
    assert c.discriminator_convolutions == row.get("convolutions", paper["simgan"]["convolutions"])
    assert (c.generator_width, c.norm) == (paper["simgan"]["channels"], paper["simgan"]["norm"])
    assert (c.limit_photos, c.lr_schedule, c.pool_size) == (paper["train"], "constant", 0)
    per_epoch = math.ceil(paper["train"] / (c.batch_size * c.discriminator_updates))
    assert timeline[-1]["steps"] == row["epochs"] * per_epoch
    if row["row"] == 1:  # figure 9: the generator alone on the image loss
        first = c.replaced(stages=(), **{k: v for k, v in timeline[0].items() if k != "steps"})
        assert (len(timeline), first.lambda_gan, first.discriminator_updates) == (2, 0, 0)
    else:
        assert len(timeline) == 1 and f"--init-from RUN-OF-ROW-{row['row'] - 1}/" in text_of(name)


@rows(("row", "kind"), zip(document(2)["table 1"], ("l1", "cosine-mean", "cosine-sum"), strict=True), ids=str)
def test_document_2(row, kind):
    paper, name = document(2), f"paper-2-table-1-row-{row['row']}"
    c, timeline = recipe(name, Pix2PixOptions, unmasked="a")
    assert (c.reconstruction, c.direction, c.pairs) == (kind, "unmask", "worn")
    assert (c.limit_photos, c.epochs, c.style) == (paper["pairs"], paper["epochs"], "random")
    assert c.batch_size > 1  # else the sum would be the mean
    assert timeline == [{"steps": paper["epochs"] * paper["pairs"] // c.batch_size}]
    same, _ = recipe("paper-2-table-1-row-1", Pix2PixOptions, unmasked="a")
    assert c.replaced(reconstruction="l1") == same  # rows differ in the loss alone


def test_document_2s_future_work():
    c, _ = recipe("paper-2-wgan-gp", Pix2PixOptions, unmasked="a")
    assert (c.gan_loss, c.lambda_gp, c.discriminator_updates, c.beta1, c.learning_rate) == ("wgan-gp", 10, 5, 0, 1e-4)
    assert (c.limit_photos, c.epochs) == (document(2)["pairs"], document(2)["epochs"])


@rows("faces", document(3)["sets"], ids=lambda faces: faces["ours"])
def test_document_3_sets(faces, tmp_path):
    paper = document(3)
    c, timeline = recipe(f"paper-3-{faces['ours']}", ReimagingOptions)
    assert timeline == [{"steps": paper["steps"]}]
    assert list(c.sample_at) == paper["sheets at"]
    labels = {"combined": c.generator_label, "fake": c.fake_label, "real": c.real_label}
    assert labels == paper["labels"]
    assert (c.architecture, c.latent, c.resolution, c.ema_decay) == ("dense", paper["noise"], paper["resolution"], 0)
    assert c.hidden == [row[1] for row in paper["table 2"] if row[0] == "Dense"][:-1]
    assert c.discriminator_hidden == [row[1] for row in paper["table 3"] if row[0] == "Dense"][:-1]
    task = Reimaging(c)
    assert len(task.faces) == paper["faces in a set"]
    for column, value in (("tone", faces["ours"]), ("hair_colour", faces["hair"]), ("eye_colour", faces["eyes"])):
        assert task.faces.values(column) == [value]
    for column, count in (("nose", "noses"), ("mouth", "mouths"), ("eyes", "eyes")):
        assert len(task.faces.values(column)) == paper["structures"][count]
    assert len(task.faces.values("hair_style")) == 1


def test_document_3_classifier():
    paper = document(3)["classes"]
    c, _ = recipe("paper-3-classifier", ClassifierOptions)
    assert (c.width, c.hidden) == (128, [2048, 512])
    task = Classifier(c)
    assert (len(task.faces), len(task.validation), len(task.tests)) == (
        paper["train"], paper["validation"], paper["test"],
    )  # fmt: skip
    assert list(task.labels) == [faces["ours"] for faces in document(3)["sets"]]
    sets = [set(photos.names) for photos in (task.faces, task.validation, task.tests)]
    assert len(set.union(*sets)) == paper["faces"]


def test_document_3s_future_work():
    assert recipe("paper-3-dcgan", ReimagingOptions, source="faces")[0].architecture == "dcgan"


@rows("row", document(4)["table 1"], ids=lambda row: row["row"])
def test_document_4(row):
    paper = document(4)
    c, timeline = recipe(f"paper-4-table-1-row-{row['row']}", CycleGANOptions, **BOTH)
    assert (c.batch_size, c.norm, c.lr_schedule, c.gan_loss) == (row["batch"], row["norm"], row["policy"], row["loss"])
    assert (c.limit_photos, c.epochs) == (paper["train"], paper["epochs"])
    assert (c.blocks, c.resolution, c.discriminator_layers) == (paper["blocks"][256], 256, 3)
    per_epoch = math.ceil(paper["train"] / row["batch"])
    assert timeline == [{"steps": paper["epochs"] * per_epoch}]
    assert sorted(in_steps(c).sheets) == [epoch * per_epoch for epoch in paper["pictures at"]]


def test_document_5s_timeline():
    paper = document(5)
    c, timeline = recipe("paper-5-table-1", AttentionGANOptions, **BOTH)
    assert (c.batch_size, c.learning_rate, c.beta1, c.blocks) == (
        paper["batch"], paper["learning rate"], paper["beta1"], paper["blocks"],
    )  # fmt: skip
    assert (c.resolution, c.load_scale, c.nmc_reach, c.start) == (paper["resolution"], 1, 0, "worn")
    assert [stage["steps"] for stage in timeline] == [142_800, 67_050, 21_200, 66_992, 89_888]
    for row, stage in zip(paper["table 1"], timeline, strict=True):
        settings = c.replaced(stages=(), **{k: v for k, v in stage.items() if k != "steps"})
        assert [settings.lambda_cycle] * 2 == row["lambda"]
        assert list(settings.noise) == (paper["noise"] if row["noise"] else [0, 0])
        assert settings.lambda_nmc == (paper["nmc weight"] if row["nmc"] else 0)
        assert settings.limit_photos == row["photos"]
    sources = [stage["masked"] for stage in timeline]
    for number, row in enumerate(paper["table 1"][1:], 1):  # another source where the document adds a restriction
        assert (sources[number] != sources[number - 1]) == bool(row["added"])


def test_document_5s_pre_training_and_future_work():
    paper = document(5)
    c, timeline = recipe("paper-5-pretraining", AttentionGANOptions, **BOTH)
    assert (c.start, c.lambda_nmc, c.noise, c.batch_size, c.load_scale) == ("unmasked", 0, (0, 0), paper["batch"], 1)
    first = paper["pre-training"]
    assert timeline == [{"steps": first["epochs"] * first["photos"] // paper["batch"]}]
    c, _ = recipe("paper-5-one-sided", AttentionGANOptions, **BOTH)
    assert c.one_sided and c.lambda_distance and c.lambda_attention and c.nmc_reach and not c.lambda_cycle


def test_every_recipe_of_a_document_is_on_its_page():
    page = DOCUMENTS.read_text(encoding="utf-8")
    names = sorted(path.stem for path in RECIPES.glob("paper-*.yaml"))
    assert len(names) == 6 + 7 + 4 + 5 + 10 + 3
    assert [name for name in names if f"`{name}`" not in page] == []


@rows(
    ("number", "table", "keys"),
    [
        (1, "table 1", ("fid train", "fid test")),
        (1, "table 2", ("fid train", "fid test")),
        (2, "table 1", ("fid",)),
        (4, "table 1", ("fid mask", "fid unmask")),
    ],
)
def test_the_page_prints_the_figures_of_the_documents(number, table, keys):
    page = DOCUMENTS.read_text(encoding="utf-8").splitlines()
    for row in document(number)[table]:
        name = f"`paper-{number}-{table.replace(' ', '-')}-row-{row['row']}`"
        lines = [line for line in page if line.startswith(f"| {row['row']} |") and name in line]
        assert len(lines) == 1 and all(f"{row[key]:g}" in lines[0] for key in keys), name


def test_no_row_is_left_without_its_cost():
    """A row that has not been run says its hours at full length, which the page's table of costs holds."""
    page = DOCUMENTS.read_text(encoding="utf-8")
    left = [line for line in page.splitlines() if line.startswith("|") and "not run" in line]
    assert [line for line in left if not re.search(r"not run: [\d,]+ h \|$", line)] == []
    costs = page.partition("## What a row costs")[2].partition("\n## ")[0]
    assert all(f"document {number}" in costs for number in range(1, 6))


def test_the_readme_claims_what_the_page_holds():
    """A recipe for each row: the page names one in every row of the documents' tables of runs."""
    readme, page = (path.read_text(encoding="utf-8") for path in (ROOT / "README.md", DOCUMENTS))
    assert "a recipe for each" in " ".join(readme.split()) and "docs/papers.md" in readme
    for number, table in ((1, "table 1"), (1, "table 2"), (2, "table 1"), (4, "table 1")):
        for row in document(number)[table]:
            name = f"paper-{number}-{table.replace(' ', '-')}-row-{row['row']}"
            assert f"`{name}`" in page and (RECIPES / f"{name}.yaml").is_file()


@rows("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_a_recipe_says_what_it_is(name):
    lines = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and isinstance(yaml.safe_load("\n".join(lines)), dict)
