"""Model cards of training runs; ``maskhub evaluate`` adds the figures."""

from maskhub.cards import FIGURES, THIS_REPOSITORY, ModelCard, Section, markdown_table
from maskhub.direction import Direction
from maskhub.source_spec import hub_dataset, public_name

__all__ = ["classifier_card", "face_mask_card", "generator_card", "mask_detector_card", "training_card"]

LICENCE = """These weights are subject to the terms of the photos they were trained on: if one of these data sets is
for research only (as CelebA and Labeled Faces in the Wild are), so are the weights."""


def training_card(trainer):
    """The :class:`~maskhub.cards.ModelCard` of a :class:`~maskhub.training.trainer.Trainer`'s run: the task's card plus
    a section on the training.

    Folders are named without their path, which is private. The licence is "other", since maskhub doesn't know the terms
    of the photos.
    """
    options, task = trainer.options, trainer.task
    card = task.card()
    sources = (*options.needs(), "test_source")
    values = options.resumable()
    stages = values["stages"]
    specs = [spec for given in (values, *stages) for name in sources for spec in _listed(given.get(name))]
    places = (*sources, "init_from", "mask_images")
    values = _public(values, places) | {"stages": [_public(stage, places) for stage in stages]}
    described = list(trainer.describe(public_name))
    photos = [line for line in described if line.partition(": ")[0] in options.needs()]
    lines = [f"- {line}" for line in described]
    samples = trainer.timeline.batches_before(trainer.step) * options.batch_size * trainer.accelerator.num_processes
    lines.append(
        f"- {trainer.step:,} steps so far, {samples:,} samples, {trainer.seconds / 3600:.2f} hours, seed {options.seed}"
    )
    shown = {name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in values.items()}
    table = markdown_table(("option", "value"), [(f"`{name}`", f"`{value}`") for name, value in sorted(shown.items())])
    card.front |= {
        "library_name": "maskhub",  # the Hub's own snippet for diffusers would not run
        "license": "other",
        "license_name": "terms-of-the-training-photos",
        "license_link": f"https://huggingface.co/{THIS_REPOSITORY}#licence",
        "trained_against": list(task.trained_against) or None,
        "trained_on": photos or None,
        "datasets": sorted({*filter(None, map(hub_dataset, specs))}) or None,
    }
    card.sections = [
        Section("Training", "\n".join(lines) + f"\n\n{table}"), Section(FIGURES, ""), *card.sections,
        Section("Licence", LICENCE),
    ]  # fmt: skip
    return card


def _public(values, places):
    """Options with the public names of what they have in ``places``."""
    return values | {
        name: [*map(public_name, given)] if isinstance(given, list) else public_name(given)
        for name in places
        if (given := values.get(name))
    }


def _listed(given):
    return given if isinstance(given, list) else filter(None, [given])


def face_mask_card(task):
    """The card of a pipeline trained by an adversarial method."""
    directions = [direction for direction in Direction if direction.role in task.generators]
    usage = ["from maskhub import FaceMaskPipeline", ""]
    usage += [f'pipe = FaceMaskPipeline.from_pretrained("{THIS_REPOSITORY}")']
    usage += [f'{direction.past} = pipe.{direction}("photo.jpg")' for direction in directions]
    return ModelCard(
        f"{task.name} between unmasked and masked faces",
        {"pipeline_tag": "image-to-image", "tags": ["maskhub", "diffusers", "face-mask", task.name.lower(), "gan"]},
        usage="\n".join(usage),
        about=_ways_to_load(task) + f"\n\nMethod: [{task.name}]({task.paper}), trained with maskhub.",
        sections=[
            Section(
                "Limits",
                "An unmasked face is a plausible invention, not the person's face, and never evidence of what someone "
                "looks like.",
            )
        ],
    )


def _ways_to_load(task):
    """Markdown: what to install, and the other ways to load a pipeline or one of its networks."""
    role, network = next(iter(task.generators.items()))
    kind = type(network).__name__
    return f"""Needs `pip install 'maskhub[torch]'`. diffusers loads it too; `pipeline.py` here only imports maskhub:

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{THIS_REPOSITORY}", trust_remote_code=True)
```

A single network:

```python
from maskhub import {kind}

{role} = {kind}.from_pretrained("{THIS_REPOSITORY}", subfolder="{role}")
```"""


def generator_card(task):
    """The card of a re-imaging generator."""
    attributes = ", ".join(f"{key} {value}" for key, value in task.attributes.items()) or "none"
    return ModelCard(
        f"{task.options.model_name}: a generator for partial re-imaging",
        {"tags": ["maskhub", "gan", "re-imaging", task.options.architecture]},
        usage=(
            f'from maskhub import ReimagingPipeline\n\noutput = ReimagingPipeline.from_pretrained("{THIS_REPOSITORY}")'
            '("covered.png")\noutput.result[0].save("uncovered.png")'
        ),
        about=f"Guaranteed attributes: {attributes}.",
        sections=[
            Section(
                "Limits",
                "What appears under a covering is invented from the faces that the generator was trained on: it is "
                "nobody's face, and never evidence of what someone looks like. It only works on faces aligned like its "
                "training faces.",
            )
        ],
    )


def classifier_card(task, report):
    """The card of a re-imaging classifier; ``report`` is its :meth:`Classifier.report`, or None without test photos."""
    tested = "No test photos were given."
    if report:
        tested = f"Accuracy {report['accuracy']:.2%} on {report['photos']} test photos.\n\n```\n{report['text']}```"
    return ModelCard(
        f"Classifier of {task.options.attribute}",
        {"tags": ["maskhub", "image-classification", "re-imaging"]},
        about=f"Tells {', '.join(task.labels)} apart, to choose the generator that fits a face.",
        sections=[
            Section("Test", tested),
            Section("Limits", "It always picks one of these labels, whatever the picture shows."),
        ],
    )


def mask_detector_card(task):
    """The card of a mask detector."""
    return ModelCard(
        "Mask detector",
        {"tags": ["maskhub", "face-mask", "image-segmentation"]},
        usage=f'from maskhub import MaskDetector\n\ndetector = MaskDetector.from_pretrained("{THIS_REPOSITORY}")',
        about="Tells whether a mask is worn on an aligned crop of a face, and which pixels it covers.",
        sections=[Section("Limits", "It was trained on aligned crops of faces and is meant for nothing else.")],
    )
