"""Model cards of the re-imaging networks."""

from pathlib import Path

from maskhub.hub import THIS_REPOSITORY

__all__ = ["classifier_card", "generator_card"]

SPLITS = ("train", "test", "validation")
"""Folders that are part of a dataset, which has the name of the folder around them."""


def generator_card(trainer):
    """The card of a training run of :class:`~maskhub.training.reimaging.ReimagingTrainer`, as a ``README.md``."""
    config = trainer.config
    attributes = ", ".join(f"{key} {value}" for key, value in trainer.attributes.items()) or "none"
    return f"""---
library_name: diffusers
tags: [maskhub, gan, re-imaging, {config.architecture}]
license: other
license_name: terms-of-the-training-photos
---
# {config.model_name}: a generator for partial re-imaging

```python
from maskhub import ReimagingPipeline

output = ReimagingPipeline.from_pretrained("{THIS_REPOSITORY}")("covered.png")
output.result[0].save("uncovered.png")
```

Guaranteed attributes: {attributes}.

{_training(trainer)}
## Limits
What appears under a covering is invented from the faces that the generator has seen: it is nobody's face, and never
evidence of what someone looks like. It knows faces that lie as its training faces do, and no others.
"""


def classifier_card(trainer, report):
    """The card of a training run of :class:`~maskhub.training.attributes.ClassifierTrainer`, as a ``README.md``."""
    figures = "No test photos were given."
    if report:
        figures = f"Accuracy {report['accuracy']:.2%} on {report['photos']} test photos.\n\n```\n{report['text']}```"
    labels = ", ".join(trainer.networks["classifier"].config.labels)
    return f"""---
library_name: diffusers
tags: [maskhub, image-classification, re-imaging]
license: other
license_name: terms-of-the-training-photos
---
# Classifier of {trainer.config.attribute}

Tells {labels}, to choose the generator that fits a face.

{figures}

{_training(trainer)}
## Limits
It knows no other labels: shown anything else it still picks one.
"""


def _training(trainer):
    described = "\n".join(f"- {line}" for line in trainer.describe()).replace(trainer.photos.spec, _public(trainer))
    options = dict(sorted(trainer.config.resumable().items())) | {"source": _public(trainer)}
    options.pop("test_source", None)
    if start := options.pop("init_from"):
        options["init_from"] = Path(start).name
    table = "\n".join(f"| `{name}` | `{value}` |" for name, value in options.items())
    return f"## Training\n{described}\n- {trainer.step:,} steps\n\n| option | value |\n|---|---|\n{table}\n"


def _public(trainer):
    """The sources without the paths of folders, which are nobody else's business."""
    source = trainer.config.source
    return " ".join(_name(spec) for spec in ([source] if isinstance(source, str) else source))


def _name(spec):
    folder = Path(spec).expanduser()
    if not (folder.is_absolute() or folder.is_dir()):
        return spec
    folder = folder.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name in SPLITS else folder.name
