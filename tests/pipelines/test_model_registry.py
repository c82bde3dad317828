"""The registry of re-imaging models: folders that the app trains, each with its notes."""

import json

import pytest
from tiny_reimaging import classifier, tiny

from maskhub import CheckpointError, ConfigError, ReimagingPipeline
from maskhub.pipelines.model_registry import ModelRegistry


def test_a_registry_of_models(tmp_path):
    models = ModelRegistry(tmp_path / "models")
    for seed, tone in enumerate(("light", "dark")):
        pipe = ReimagingPipeline()
        pipe.add("anything", tiny(seed), {"tone": tone})
        pipe.save_pretrained(tmp_path / tone)
        models.add(tone, tmp_path / tone, dataset=f"{tone} faces", steps=10, created=seed)
    classifier("light").save_pretrained(tmp_path / "classifier")
    models.add("tones", tmp_path / "classifier")
    assert [entry.name for entry in models.list()] == ["tones", "dark", "light"]
    assert [entry.name for entry in models.list("generator", {"tone": "dark"})] == ["dark"]
    assert [entry.name for entry in models.list(dataset="light faces")] == ["light"]
    assert models.get("dark").row()["tone"] == "dark" and models.get("dark").facts["steps"] == 10
    with pytest.raises(ConfigError, match="there is already a model 'dark'"):
        models.add("dark", tmp_path / "light")
    with pytest.raises(ConfigError, match="can't be called"):
        models.add("../dark", tmp_path / "light")
    with pytest.raises(CheckpointError, match="neither a single re-imaging generator nor a classifier"):
        models.add("none", tmp_path)
    with pytest.raises(CheckpointError, match="there is no model 'gone'; there are tones, dark, light"):
        models.get("gone")
    models.remove("dark")
    assert [entry.name for entry in models.list("generator")] == ["light"]
    assert sorted(path.name for path in (tmp_path / "models").glob("[!.]*")) == ["light", "tones"]  # the lock stays


def test_a_classifier_that_cannot_be_loaded_is_passed_over(tmp_path):
    models, given = ModelRegistry(tmp_path / "models"), classifier("dark")
    for name, created in (("older", 1), ("newer", 2)):
        classifier("light").save_pretrained(tmp_path / name)
        models.add(name, tmp_path / name, created=created)
    wanted = {"a": {"tone": "light"}, "b": {"tone": "dark"}}
    assert models.classifier_for(wanted, 32)[0].config._name_or_path.endswith("newer")
    assert models.classifier_for(wanted, 32, given) == (given, ())  # which knows as many
    assert models.classifier_for(wanted, 64) == (None, ())
    for weights in (tmp_path / "models" / "newer").rglob("*.safetensors"):
        weights.write_bytes(b"")
    with pytest.warns(UserWarning, match="no AttributeClassifier could be loaded from"):
        found, broken = models.classifier_for(wanted, 32)
    assert found.config._name_or_path.endswith("older") and broken == ("newer",)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model_index.json", {"_class_name": "ReimagingPipeline", "models": ["dark"]}),
        ("model_index.json", {"_class_name": "ReimagingPipeline", "models": {"dark": ["tone"]}}),
        ("config.json", {"_class_name": "AttributeClassifier"}),
        ("config.json", {"_class_name": "AttributeClassifier", "attribute": "tone", "labels": 3}),
    ],
)
def test_a_folder_with_a_broken_description_is_no_model(file, content, tmp_path):
    """It is left out: otherwise one folder, copied by hand, would hide all models."""
    models = ModelRegistry(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / file).write_text(json.dumps(content))
    assert models.list() == [] and models.choices() == {}
    with pytest.raises(CheckpointError, match="there is no model 'broken'; there are no models yet"):
        models.get("broken")
