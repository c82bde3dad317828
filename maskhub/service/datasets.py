"""Uploaded datasets, each an imagefolder with two splits, and the built-in faces.

    datasets = Datasets(Home())
    datasets.names()                                            # ["builtin:pixel-faces", ..., "my-faces"]
    datasets.faces("my-faces", "test", {"tone": "light"})       # [Face(...), ...]

``load_dataset("imagefolder", data_dir="MASKHUB_HOME/datasets/my-faces")`` can read them too.
"""

import os
import re
import shutil
import time
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from maskhub.cards import DataCard
from maskhub.data.folder import ORIGINAL_NAME
from maskhub.data.pixel_faces import PixelFace, pixel_faces
from maskhub.data.portraits import Portrait, are_portraits, portraits
from maskhub.data.rows import FolderRows
from maskhub.data.tables import table_text
from maskhub.errors import ConfigError, SourceError
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.files import remove_folder, settle_folder, sweep, write_file, written_folder
from maskhub.json_file import FACTS, read_json, write_json
from maskhub.service.home import JOB, OwnerError, check_dataset_name, owner_of, owns

__all__ = ["ALL", "BUILT_IN", "SPLITS", "Dataset", "Datasets", "Face", "attribute_choices"]

SPLITS = ("train", "test")
BUILT_IN = {
    "builtin:portraits": "Portraits (built in)",
    "builtin:portraits/masked": "Portraits, masked (built in)",
    "builtin:pixel-faces": "Pixel faces (built in)",
    "builtin:pixel-faces/covered": "Pixel faces, covered (built in)",
    "builtin:pixel-faces/light": "Pixel faces, light (built in)",
    "builtin:pixel-faces/medium": "Pixel faces, medium (built in)",
    "builtin:pixel-faces/dark": "Pixel faces, dark (built in)",
}
"""Spec → display name."""
ALL, DRAWN = "*", "builtin:pixel-faces"
"""Instead of a name: the built-in pixel faces and all uploaded datasets together."""
MANY = 40
"""A column with this many values or more is an id, not an attribute."""


@dataclass(frozen=True)
class Face:
    """One picture of a dataset: its file name, metadata (text by column), and the built-in face or its file."""

    name: str
    dataset: str
    split: str
    columns: dict
    drawn: PixelFace | Portrait | None = None
    path: Path | None = None

    @property
    def image(self):
        """RGB ``PIL.Image``; :class:`PhotoError` if the file is gone or broken."""
        return self.drawn.image if self.drawn else split_alpha(open_photo(self.path))[0]


@dataclass(frozen=True)
class Dataset:
    """An uploaded dataset: its name, folder, photos by split, and other facts."""

    name: str
    folder: Path
    counts: dict
    facts: dict = field(default_factory=dict)


class Datasets:
    """The datasets of a :class:`~maskhub.service.home.Home`."""

    def __init__(self, home):
        self.home = home

    # ---- reading ------------------------------------------------------------------------------------------------

    def list(self):
        """Uploaded datasets, newest first, as :class:`Dataset`."""
        found = [self._entry(path) for path in self.home.datasets.iterdir() if path.is_dir() and path.name[0] != "."]
        return sorted(found, key=lambda entry: (-entry.facts.get("created", 0), entry.name))

    def names(self):
        """The built-in specs and the names of uploaded datasets."""
        return [*BUILT_IN, *(entry.name for entry in self.list())]

    def get(self, name):
        """An uploaded dataset; SourceError if it does not exist, ConfigError for an invalid name."""
        path = self.home.datasets / check_dataset_name(name)
        if not path.is_dir():
            raise SourceError(f"there is no dataset {name!r}.")
        return self._entry(path)

    def sources(self, name, split="train"):
        """The specs of a split for the training scripts, one or those of :data:`ALL`; SourceError if it
        does not exist or has no pictures."""
        if name == ALL:
            brought = [one.name for one in self.list() if one.counts[split]]
            return [spec for one in (DRAWN, *brought) for spec in self.sources(one, split)]
        if name and name.startswith("builtin:"):
            _built_in(name, split)
            return [f"{name}:{split}"]
        dataset = self.get(name)
        if not dataset.counts[split]:
            raise SourceError(f"the dataset {name} has no {split} pictures yet.")
        return [str(dataset.folder / split)]

    def faces(self, name=ALL, split=None, attributes=None):
        """The pictures of one dataset or of :data:`ALL`, of one split or of both, with these attributes: column →
        value, or a list of accepted values. SourceError if there is no such dataset."""
        names = [DRAWN, *(one.name for one in self.list())] if name == ALL else [name or ""]
        found = [
            face
            for one in names
            for part in ([split] if split else SPLITS)
            for face in (self._drawn(one, part) if one.startswith("builtin:") else self._brought(one, part))
        ]
        wanted = {key: [value] if isinstance(value, str) else value for key, value in (attributes or {}).items()}
        return [face for face in found if all(face.columns.get(key) in values for key, values in wanted.items())]

    def _drawn(self, spec, split):
        return [
            Face(face.name, spec, split, {k: v for k, v in face.columns.items() if v and k != "split"}, drawn=face)
            for face in _built_in(spec, split)
        ]

    def _brought(self, name, split):
        return [
            Face(row.name, name, split, {k: v for k, v in _filled(row).items() if k != ORIGINAL_NAME},
                 path=Path(row.photo))
            for row in _rows(self.get(name).folder / split)
        ]  # fmt: skip

    def _entry(self, path):
        counts = {split: len(list((path / split).glob("*.png"))) for split in SPLITS}
        return Dataset(path.name, path, counts, read_json(path / FACTS) or {})

    # ---- writing --------------------------------------------------------------------------------------------------

    def check_owner(self, name, key):
        """The :class:`Dataset` if the holder of ``key`` owns it and may add pictures, None for a new one. ConfigError
        for an invalid name, OwnerError if it belongs to somebody else."""
        if not (self.home.datasets / check_dataset_name(name)).is_dir():
            return None
        dataset = self.get(name)
        if not owns(key, dataset.facts):
            raise OwnerError(f"the dataset {dataset.name} belongs to somebody else: choose another name.")
        return dataset

    def take(self, name, staged, key):
        """Move pictures into a dataset, created if it is missing, all of them or none; returns how many.

        ``staged`` is split → list of (PNG file, desired file name, columns), ``key`` that of the uploader. Errors are
        as for :meth:`check_owner`; also ConfigError if a job is using the dataset, WriteError if it can't be written.
        """
        name = check_dataset_name(name)
        with self.home.lock():
            there = self.check_owner(name, key)
            if there and self._jobs_on(name, ("running",)):
                raise ConfigError(f"a job is training on {name}: wait until it is done, or cancel it.")
            facts = there.facts if there else {"owner": owner_of(key), "created": round(time.time())}
            with written_folder(self.home.datasets / name) as folder:
                if there:
                    shutil.copytree(there.folder, folder, dirs_exist_ok=True, copy_function=_link)
                for split, pictures in staged.items():
                    if pictures:
                        self._add(folder / split, pictures)
                # from the name, settle() knows where the folder belongs if a process dies between two renames
                write_json(folder / FACTS, facts | {"name": name})
                write_file(folder / "README.md", _card(replace(self._entry(folder), name=name)))
        return sum(map(len, staged.values()))

    def _add(self, folder, pictures):
        """Add pictures to the folder of a split."""
        folder.mkdir(exist_ok=True)
        known = {row.name: _filled(row) for row in _rows(folder)}
        for path, original, columns in pictures:
            free = _free(_safe_name(original), known)
            os.replace(path, folder / free)
            known[free] = {**columns}
            if free != original:
                known[free].setdefault(ORIGINAL_NAME, original)
        rows = [{"file_name": name, **columns} for name, columns in sorted(known.items())]
        write_file(folder / "metadata.csv", table_text(rows, ".csv"))

    def settle(self):
        """Clean up after killed processes: restore replaced datasets, delete half-written and half-deleted ones."""
        with self.home.lock():
            hidden = [read_json(folder / FACTS) or {} for folder in self.home.datasets.glob(".*")]
            for name in {*(facts["name"] for facts in hidden if "name" in facts), *(d.name for d in self.list())}:
                with suppress(ConfigError):  # a folder copied by hand, with a name that the app does not allow
                    settle_folder(self.home.datasets / check_dataset_name(name))
            sweep(self.home.root)

    def remove(self, name, key):
        """Delete a dataset that belongs to the holder of ``key``. SourceError if it does not exist, OwnerError if it
        belongs to somebody else, ConfigError if a job needs it."""
        with self.home.lock():
            dataset = self.get(name)
            if not owns(key, dataset.facts):
                raise OwnerError(f"the dataset {name} was uploaded by somebody else, or from another browser.")
            if self._jobs_on(dataset.name, ("running", "queued")):
                raise ConfigError(f"a job needs {name}: cancel it first.")
            remove_folder(dataset.folder)

    def bytes(self):
        """Disk space used by all datasets, in bytes."""
        return sum(path.stat().st_size for path in self.home.datasets.rglob("*") if path.is_file())

    def _jobs_on(self, name, states):
        jobs = [read_json(path) or {} for path in self.home.jobs.glob(f"*/{JOB}")]
        return [job for job in jobs if job.get("dataset") == name and job.get("state") in states]


def attribute_choices(faces):
    """``["column=value", ...]`` of a list of :class:`Face`, without columns that are ids."""
    values = {}
    for face in faces:
        for key, value in face.columns.items():
            values.setdefault(key, set()).add(value)
    return [
        f"{key}={value}"
        for key, found in values.items()
        if len(found) <= MANY and (len(found) < len(faces) or len(faces) <= 3)
        for value in sorted(found)
        if "=" not in key + value
    ]


def _built_in(name, split):
    return (portraits if are_portraits(name) else pixel_faces)(f"{name}:{split}")


def _rows(folder):
    """The :class:`~maskhub.data.folder_rows.Row` s of a split's folder; none if it is missing or empty."""
    try:
        return [*FolderRows(folder)] if folder.is_dir() else []
    except SourceError:
        return []


def _filled(row):
    """The columns of a row that have a value, as text."""
    return {key: str(value) for key, value in row.columns.items() if value not in (None, "")}


def _safe_name(name):
    """A file name that is safe everywhere, with ``.png``."""
    stem = unicodedata.normalize("NFKC", PurePosixPath(name).stem)
    return (re.sub(r"[^\w-]+", "_", stem).strip("_-")[:60] or "picture") + ".png"


def _free(name, taken):
    stem, number = Path(name).stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}.png"
    return name


def _link(source, target):
    """Hard-link a file that is never modified, or copy it if the disk has no links."""
    if Path(source).suffix == ".png":
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _card(dataset):
    splits = ", ".join(f"{count} {split}" for split, count in dataset.counts.items())
    front = {"license": "other", "license_name": "terms-of-the-pictures", "tags": ["maskhub", "faces"]}
    about = f"""\
Pictures of faces uploaded to maskhub's app: {splits}. `metadata.csv` has their attributes. They were re-encoded as PNG
of at most 512 pixels a side, without camera metadata."""
    return DataCard(dataset.name, front | {"task_categories": ["image-to-image"]}, about=about).render()
