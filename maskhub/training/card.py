"""The model card of a training run, one structure for every task; figures are left to ``maskhub evaluate``."""

from maskhub.cards import FIGURES, THIS_REPOSITORY, ModelCard, Section, markdown_table, public_name
from maskhub.direction import Direction

__all__ = ["classifier_card", "face_mask_card", "generator_card", "mask_detector_card", "training_card"]

LICENCE = """These weights carry the terms of the photos that they were trained on: where one of these sets is for
research only (CelebA and Labeled Faces in the Wild are), so are the weights."""


def training_card(trainer):
    """The card of a run: the task's, with a section on its training.

    Folders are named without their path, which concerns nobody else; the licence is "other", since maskhub can't know
    the terms of the photos.

    Args:
        trainer: a :class:`~maskhub.training.trainer.Trainer`.

    Returns:
        :class:`~maskhub.cards.ModelCard`.
    """
    options, task = trainer.options, trainer.task
    card = task.card()
    named = {}  # specs that are written in another way
    values = options.resumable()
    for name in (*options.needs(), "test_source", "init_from"):
        spec = values.get(name)
        if spec:
            values[name] = [public_name(one) for one in spec] if isinstance(spec, list) else public_name(spec)
            named |= dict(zip([spec] if isinstance(spec, str) else spec, _list(values[name]), strict=True))
    lines = []
    for line in trainer.describe():
        if line.partition(": ")[0] in options.needs():
            for spec in sorted(named, key=len, reverse=True):
                line = line.replace(spec, named[spec], 1)
        lines.append(f"- {line}")
    samples = trainer.timeline.batches_before(trainer.step) * options.batch_size * trainer.accelerator.num_processes
    lines.append(
        f"- {trainer.step:,} steps so far, {samples:,} samples, {trainer.seconds / 3600:.2f} hours, seed {options.seed}"
    )
    table = markdown_table(("option", "value"), [(f"`{name}`", f"`{value}`") for name, value in sorted(values.items())])
    datasets = {spec.partition("#")[0].partition(":")[0].partition("@")[0] for spec in named if _on_hub(spec)}
    card.front |= {
        "library_name": "diffusers",
        "license": "other",
        "license_name": "terms-of-the-training-photos",
        "license_link": f"https://huggingface.co/{THIS_REPOSITORY}#licence",
        "trained_against": list(task.trained_against) or None,
        "datasets": sorted(datasets) or None,
    }
    card.sections = [
        Section("Training", "\n".join(lines) + f"\n\n{table}"), Section(FIGURES, ""), *card.sections,
        Section("Licence", LICENCE),
    ]  # fmt: skip
    return card


def _list(value):
    return value if isinstance(value, list) else [value]


def _on_hub(spec):
    return not spec.startswith("builtin:") and public_name(spec) == spec and spec.count("/") == 1


def face_mask_card(task):
    """The card of a pipeline that an adversarial method trained."""
    directions = [direction for direction in Direction if direction.role in task.generators]
    usage = ["from maskhub import FaceMaskPipeline", ""]
    usage += [f'pipe = FaceMaskPipeline.from_pretrained("{THIS_REPOSITORY}")']
    usage += [f'{direction.past} = pipe.{direction}("photo.jpg")' for direction in directions]
    return ModelCard(
        f"{task.name} between unmasked and masked faces",
        {"pipeline_tag": "image-to-image", "tags": ["maskhub", "face-mask", task.name.lower(), "gan"]},
        usage="\n".join(usage),
        about=f"Method: [{task.name}]({task.paper}), trained with maskhub.",
        sections=[
            Section(
                "Limits",
                "An unmasked face is a plausible invention, not the person's face, and never evidence of what someone "
                "looks like.",
            )
        ],
    )


def generator_card(task):
    """The card of a generator of the re-imaging paper."""
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
                "nobody's face, and never evidence of what someone looks like. It knows faces placed like its training "
                "faces, and no others.",
            )
        ],
    )


def classifier_card(task, report):
    """The card of a classifier of the re-imaging paper; ``report`` is its classification of test photos, or None."""
    tested = "No test photos were given."
    if report:
        tested = f"Accuracy {report['accuracy']:.2%} on {report['photos']} test photos.\n\n```\n{report['text']}```"
    return ModelCard(
        f"Classifier of {task.options.attribute}",
        {"tags": ["maskhub", "image-classification", "re-imaging"]},
        about=f"Tells {', '.join(task.labels)}, to choose the generator that fits a face.",
        sections=[
            Section("Test", tested),
            Section("Limits", "It knows no other labels: shown anything else it still picks one."),
        ],
    )


def mask_detector_card(task):
    """The card of a mask detector."""
    return ModelCard(
        "Mask detector",
        {"tags": ["maskhub", "face-mask", "image-segmentation"]},
        usage=f'from maskhub import MaskDetector\n\ndetector = MaskDetector.from_pretrained("{THIS_REPOSITORY}")',
        about="Tells whether a mask is worn on an aligned crop of a face, and which pixels it covers.",
        sections=[Section("Limits", "It was trained on aligned crops of faces, and knows no other pictures.")],
    )
