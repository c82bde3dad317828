"""Cards are rendered from a structure and read back into it."""

import pytest
from huggingface_hub import EvalResult
from huggingface_hub import ModelCard as HubCard

from maskhub.cards import FIGURES, DataCard, ModelCard, Section, markdown_table
from maskhub.errors import ConfigError
from maskhub.source_spec import hub_dataset, public_name


def result(name, value, photos="faces", **details):
    return EvalResult(
        task_type="image-to-image", dataset_type="imagefolder", dataset_name=photos, dataset_config=photos,
        metric_type="psnr", metric_name=name, metric_value=value, metric_args=details,
    )  # fmt: skip


@pytest.fixture
def card():
    sections = [Section("Training", "- 10 steps\n\n```\n## no heading\n```"), Section("Limits", "Some.")]
    return ModelCard("A model", {"license": "other", "tags": ["gan"], "mine": 3}, "run()", "It runs.", sections)


def test_a_card_is_what_it_was_read_from(card, tmp_path):
    (tmp_path / "README.md").write_text(card.render())
    assert ModelCard.load(tmp_path) == card
    assert HubCard.load(tmp_path / "README.md").data.to_dict() == card.front
    card.set_figures([result("psnr", 21.0, n=10, interval=[20.0, 22.0]), result("psnr", 19.0, "others")])
    assert [section.title for section in card.sections] == ["Training", FIGURES, "Limits"]
    text = card.render()
    assert "| psnr | 21 | 20 to 22 | 10 | faces |\n| psnr | 19 |  |  | others |" in text
    (tmp_path / "README.md").write_text(text)
    read = ModelCard.load(tmp_path)
    assert read.render() == text and [figure.dataset_name for figure in read.figures] == ["faces", "others"]
    read.set_figures(read.figures[:1])
    assert "others" not in read.render() and read.render().count(FIGURES) == 1


def test_a_section_of_figures_without_figures_says_so(card):
    card.sections.append(Section(FIGURES, ""))
    assert f"## {FIGURES}\nNo figures have been measured for this checkpoint yet." in card.render()


def test_what_people_wrote_stays(tmp_path):
    body = "Some words before.\n\n# Late title\n\n## Figures\n\nMeasured by hand.\n\n## Limits\nNone.\n"
    (tmp_path / "README.md").write_text(body)
    card = ModelCard.load(tmp_path)
    card.set_figures([result("psnr", 21.0)])
    text = card.render()
    assert all(line in text for line in body.splitlines()) and text.index(FIGURES) < text.index("## Limits")


def test_figures_of_an_older_maskhub_are_replaced(tmp_path):
    old = "<!-- figures of maskhub evaluate -->\n## Figures\n\n| stale |\n\n<!-- end of figures -->"
    (tmp_path / "README.md").write_text(f"# A model\n\n{old}\n\n## Limits\n")
    card = ModelCard.load(tmp_path)
    card.set_figures([result("psnr", 21.0)])
    assert "stale" not in card.render() and "<!--" not in card.render() and "## Figures" not in card.render()


def test_a_card_is_begun_or_refused(tmp_path):
    (tmp_path / "new").mkdir()
    assert ModelCard.load(tmp_path / "new") == ModelCard("new", {})
    with pytest.raises(ConfigError, match="there is no folder"):
        ModelCard.load(tmp_path / "none")
    (tmp_path / "new" / "README.md").write_text("---\na: [\n---\n# x\n")
    with pytest.raises(ConfigError, match=r"front matter of .* can't be read"):
        ModelCard.load(tmp_path / "new")


def test_a_model_name_of_its_own_stays(tmp_path):
    (tmp_path / "README.md").write_text("---\nmodel_name: mine\n---\n# A model\n")
    card = ModelCard.load(tmp_path)
    card.set_figures([result("psnr", 21.0)])
    (tmp_path / "README.md").write_text(card.render())
    assert HubCard.load(tmp_path / "README.md").data.model_name == "mine"


def test_a_data_card_has_a_datasets_front_matter():
    text = DataCard("Faces", {"pretty_name": "Faces", "source_datasets": None}, about="Some.").render()
    assert text == "---\npretty_name: Faces\n---\n# Faces\n\nSome.\n"


def test_folders_are_named_without_their_path(tmp_path):
    (tmp_path / "faces" / "train").mkdir(parents=True)
    assert public_name(tmp_path / "faces") == "faces" and public_name(tmp_path / "faces" / "train") == "faces/train"
    assert [public_name(name) for name in ("user/set:train#photo", "builtin:pixel-faces")] == [
        "user/set:train#photo",
        "builtin:pixel-faces",
    ]
    assert public_name("/home/someone/gone") == "gone"


def test_a_folder_with_a_split_and_a_column_is_no_data_set_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "someone" / "pairs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for rest in ("", "#masked", ":test#masked"):
        assert public_name(f"someone/pairs{rest}") == f"pairs{rest}" and hub_dataset(f"someone/pairs{rest}") is None
    assert hub_dataset("builtin:portraits/masked") is None and hub_dataset("faces") is None
    for rest in ("", ":train", "/small:train@v1.0#face", "@refs/convert/parquet"):
        assert public_name(f"user/set{rest}") == f"user/set{rest}" and hub_dataset(f"user/set{rest}") == "user/set"


def test_a_table():
    assert markdown_table(("a", "b"), [("1", 2)]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_the_bundled_card_is_a_card():
    from maskhub.pipelines.face_mask import BUNDLED

    card = ModelCard.load(BUNDLED)
    assert card.render() == (BUNDLED / "README.md").read_text()
    names = {figure.dataset_name for figure in card.figures}
    assert {"never-trained-on", "really-masked", "held-celeba"} <= names
