"""Classifiers that choose among what visitors trained, datasets taken together, and the search through all of them."""

import os

import pytest
import torch
import yaml

from maskhub import AttributeClassifier, DenseGenerator, ReimagingPipeline
from maskhub.data.pixel_faces import write_folder
from maskhub.errors import MaskHubError
from maskhub.service.datasets import ALL, DRAWN
from maskhub.service.home import owner_of
from maskhub.service.jobs import Jobs, Request
from maskhub.service.supervisor import Supervisor
from maskhub.service.uploads import receive
from maskhub.service.worker import main

FACES = "builtin:pixel-faces"


@pytest.fixture
def jobs(home):
    return Jobs(home)


def add(jobs, name, attributes, resolution=32, dataset=FACES):
    pipeline = ReimagingPipeline(resolution=resolution)
    pipeline.add(name, DenseGenerator(resolution=resolution, latent=4, hidden=(4,)), attributes)
    pipeline.save_pretrained(jobs.home.root / "made" / name)
    jobs.models.add(name, jobs.home.root / "made" / name, dataset=dataset)


def bring(jobs, tmp_path, name, spec, place):
    folder = tmp_path / name
    write_folder(spec, folder)
    receive(jobs.home, [str(path) for path in sorted(folder.glob("*.png"))[:12]], name, "train", {"place": place}, "me")


def test_one_can_choose_where_two_values_of_one_size_are(jobs):
    add(jobs, "light", {"tone": "light", "hair_colour": "fair"})
    assert jobs.models.choices() == {}
    add(jobs, "dark", {"tone": "dark"})
    add(jobs, "large", {"tone": "medium"}, resolution=64)
    (attribute, choice), *others = jobs.models.choices().items()
    assert (attribute, choice.labels, choice.resolution, others) == ("tone", ("dark", "light"), 32, [])
    assert {entry.name for entry in choice.entries} == {"light", "dark"}


def test_a_classifier_is_trained_on_the_models_datasets(jobs, monkeypatch):
    add(jobs, "light", {"tone": "light"}, dataset=f"{FACES}/light")
    with pytest.raises(MaskHubError, match="at least two values of 'tone'"):
        jobs.submit(Request(attribute="tone", max_steps=20), key="me")
    add(jobs, "dark", {"tone": "dark"}, dataset=FACES)  # has medium faces too, which are left out
    add(jobs, "lost", {"tone": "green"}, resolution=64, dataset="gone")
    job = jobs.submit(Request(attribute="tone", max_steps=20), key="me")
    recipe = yaml.safe_load((jobs.folder(job.id) / "recipe.yaml").read_text())
    assert recipe["labels"] == ["dark", "light"] and {*recipe["source"]} == {f"{FACES}:train", f"{FACES}/light:train"}
    assert (job.kind, job.name, job.options["validation"]) == ("classifier", "choose-by-tone", 50)

    monkeypatch.setattr(os, "nice", lambda by: None)
    assert main(jobs.folder(job.id)) == 0
    lines = jobs.metrics(job.id)
    assert any("accuracy_train" in line for line in lines) and any("accuracy_validation" in line for line in lines)
    Supervisor(jobs)._publish(job)
    entry = jobs.models.get("choose-by-tone")
    assert (entry.kind, entry.attributes, entry.facts["owner"]) == (
        "classifier",
        {"tone": "dark light"},
        owner_of("me"),
    )
    assert AttributeClassifier.from_pretrained(entry.path).config.labels == ["dark", "light"]
    jobs.remove_model("choose-by-tone", "me")


def test_without_pictures_of_a_label_no_classifier_waits(jobs):
    add(jobs, "light", {"tone": "light"}, dataset=f"{FACES}/light")
    add(jobs, "green", {"tone": "green"}, dataset=f"{FACES}/light")
    with pytest.raises(MaskHubError, match="fewer than 8 training pictures of tone green"):
        jobs.submit(Request(attribute="tone", max_steps=20), key="me")


def test_everybodys_datasets_are_searched_and_taken_together(jobs, tmp_path):
    bring(jobs, tmp_path, "ohio", f"{FACES}/light", "Dayton, OH")
    bring(jobs, tmp_path, "mass", f"{FACES}/dark", "Boston, MA")
    found = jobs.datasets.faces(ALL, "train", {"place": "Dayton, OH"})
    assert len(found) == 12 and {face.dataset for face in found} == {"ohio"}
    assert {face.dataset for face in jobs.datasets.faces(ALL)} == {DRAWN, "ohio", "mass"}
    job = jobs.submit(Request(ALL, max_steps=20), key="me")
    recipe = yaml.safe_load((jobs.folder(job.id) / "recipe.yaml").read_text())
    assert job.name == "all-datasets" and len(recipe["source"]) == 3
    here = jobs.submit(Request(ALL, attributes={"place": "Dayton, OH"}, max_steps=20), key="me")
    assert here.attributes == {"place": "Dayton, OH"} and here.name == "all-datasets-Dayton-OH"
    add(jobs, "dayton", {"place": "Dayton, OH"})
    add(jobs, "boston", {"place": "Boston, MA"})
    assert jobs.models.choices()["place"].labels == ("Boston, MA", "Dayton, OH")
    assert [entry.name for entry in jobs.models.list(attributes={"place": "Boston, MA"})] == ["boston"]


def test_covered_faces_are_covered_from_below():
    from maskhub.training.classifier import Classifier, ClassifierOptions

    task = Classifier(ClassifierOptions(source=[FACES], width=4, hidden=[4], covered=1.0))
    images = task.faces.tensor(slice(0, 16))
    torch.manual_seed(0)
    changed = (task._partly_covered(images) != images).any(1)
    assert not changed[:, :13].any() and changed[:, -6:].float().mean() > 0.99
    task.options = task.options.replaced(covered=0.0)
    assert task._partly_covered(images) is images
