"""A registry of trained models, each an ordinary pipeline folder with notes about it.

    models = ModelRegistry("~/maskhub/models")
    models.add("my-faces", "runs/a/pipeline", dataset="my faces", steps=2000, init_from="light")
    models.list(attributes={"tone": "dark"})

Each model is a folder ``<root>/<name>/`` as written by a training run: a pipeline with one generator, or a classifier.
Its ``.maskhub.json`` holds the notes. There is no other state: a folder copied in by hand is a model, and every model
can be pushed to the Hub as it is.
"""

import shutil
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from maskhub.errors import CheckpointError
from maskhub.files import make_folder, remove_folder, write_errors
from maskhub.json_file import FACTS, read_json
from maskhub.models.classifier import AttributeClassifier
from maskhub.pipelines.fetch import check_index, check_name
from maskhub.pipelines.new_model import new_model
from maskhub.pipelines.reimaging import Settings

__all__ = ["Choice", "ModelEntry", "ModelRegistry"]


@dataclass(frozen=True)
class ModelEntry:
    """A model in the registry: the ``name`` of its folder, and its ``path``; ``kind``, ``"generator"`` or
    ``"classifier"``; and ``resolution`` in pixels. ``attributes`` are what a generator guarantees, or a classifier's
    attribute → its ``labels``, separated by spaces; ``facts`` all other notes: dataset, steps, the model it was
    initialised from, its author, and its time (``created``, seconds since 1970)."""

    name: str
    path: Path
    kind: str
    attributes: dict
    resolution: int
    facts: dict = field(default_factory=dict)
    labels: tuple = ()

    def row(self):
        """Everything as one flat dict, for a table."""
        own = {"name": self.name, "kind": self.kind, "resolution": self.resolution}
        return own | self.attributes | self.facts


@dataclass(frozen=True)
class Choice:
    """Generators of one size among which a classifier can choose by an attribute: ``labels`` are the values that they
    guarantee, sorted, ``entries`` the :class:`ModelEntry` of each."""

    labels: tuple
    resolution: int
    entries: tuple


class ModelRegistry:
    """The models in a folder, which is created if missing."""

    def __init__(self, root):
        self.root = Path(root).expanduser()
        with write_errors(self.root):
            make_folder(self.root)

    def list(self, kind=None, attributes=None, dataset=None):
        """The models, newest first, filtered by kind, attributes or training dataset."""
        found = [self._entry(path) for path in self.root.iterdir() if not path.name.startswith(".")]
        found = [
            entry
            for entry in found
            if entry
            and kind in (None, entry.kind)
            and all(entry.attributes.get(key) == value for key, value in (attributes or {}).items())
            and dataset in (None, entry.facts.get("dataset"))
        ]
        return sorted(found, key=lambda entry: (-entry.facts.get("created", 0), entry.name))

    def choices(self):
        """attribute → :class:`Choice`, where generators of one size guarantee at least two values of an attribute; of
        several sizes the one with most values."""
        found, generators = {}, self.list("generator")
        for attribute in dict.fromkeys(key for entry in generators for key in entry.attributes):
            for size in dict.fromkeys(entry.resolution for entry in generators):
                some = tuple(e for e in generators if e.resolution == size and attribute in e.attributes)
                labels = tuple(sorted({entry.attributes[attribute] for entry in some}))
                if len(labels) > (len(found[attribute].labels) if attribute in found else 1):
                    found[attribute] = Choice(labels, size, some)
        return found

    def classifier_for(self, models, resolution, given=None):
        """The classifier that knows the attribute of most generators, ``models`` (name → attributes) of this
        resolution; the newest of several. One from elsewhere is ``given``, or None; it is taken unless one in the
        registry knows more. Returns it, and the names of classifiers that would have come first but can't be loaded."""

        def known(attribute, labels):
            return sum(attributes.get(attribute) in labels for attributes in models.values())

        enough, broken = known(given.config.attribute, given.config.labels) if given is not None else 0, []
        found = [
            (known(*entry.attributes, entry.labels), entry)
            for entry in self.list("classifier")
            if entry.resolution == resolution
        ]
        for count, entry in sorted(found, key=lambda pair: -pair[0]):  # stable: the newest of several first
            if count <= enough:
                break
            try:
                return AttributeClassifier.from_pretrained(entry.path).eval(), tuple(broken)
            except CheckpointError as error:
                warnings.warn(str(error), stacklevel=2)
                broken.append(entry.name)
        return given, tuple(broken)

    def get(self, name):
        """One model; :class:`CheckpointError` if no model has this name."""
        entry = self._entry(self.root / check_name(name))
        if entry is None:
            known = ", ".join(other.name for other in self.list())
            raise CheckpointError(f"there is no model {name!r}; there are {known or 'no models yet'}.")
        return entry

    def add(self, name, folder, **facts):
        """Copy a run's ``pipeline/`` or ``classifier/`` into the registry atomically. ConfigError for an invalid name
        or one that is taken, CheckpointError if ``folder`` does not contain such a model, WriteError if it can't be
        written."""
        if self._entry(Path(folder)) is None:
            raise CheckpointError(f"{folder} contains neither a single re-imaging generator nor a classifier.")
        taken = f"there is already a model {name!r}. Choose another name."
        with new_model(self.root, name, facts, taken) as temporary:
            shutil.copytree(folder, temporary, dirs_exist_ok=True)
        return self.get(name)

    def remove(self, name):
        """Delete a model."""
        remove_folder(self.get(name).path)

    def _entry(self, path):
        """The model in a folder, or None if it does not contain one."""
        facts = read_json(path / FACTS) or {}
        with suppress(CheckpointError):
            index, _ = check_index(path, "ReimagingPipeline", Settings, {"classifier": None})
            if len(index.models) == 1:
                (attributes,) = index.models.values()
                return ModelEntry(path.name, path, "generator", attributes, index.resolution, facts)
        config = read_json(path / "config.json") or {}
        attribute, labels = config.get("attribute"), config.get("labels")
        if config.get("_class_name") != "AttributeClassifier" or not isinstance(attribute, str):
            return None
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            return None
        attributes, resolution = {attribute: " ".join(labels)}, config.get("resolution", 32)
        return ModelEntry(path.name, path, "classifier", attributes, resolution, facts, tuple(labels))
