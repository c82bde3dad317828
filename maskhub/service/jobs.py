"""Training jobs: submit, follow and cancel them.

    jobs = Jobs(Home())
    job = jobs.submit(Request("my-faces", attributes={"tone": "light"}, max_steps=500), key=key)
    jobs.progress(job.id)           # Progress(step=120, total=500, losses={...}, ...)
    jobs.cancel(job.id, key)

This module only stores jobs; :mod:`maskhub.service.supervisor` runs them, one at a time, and adds finished models to
the registry.
"""

import os
import re
import secrets
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import yaml

from maskhub.data.labelled import parse_attributes
from maskhub.errors import ConfigError, MaskHubError
from maskhub.files import remove_folder, write_file, written_folder
from maskhub.json_file import read_json, write_json
from maskhub.pipelines.fetch import check_name
from maskhub.pipelines.model_registry import ModelRegistry
from maskhub.service.datasets import ALL, BUILT_IN, Datasets
from maskhub.service.home import JOB, OwnerError, owner_of, owns
from maskhub.service.job_options import classifier_options, generator_options
from maskhub.service.mail import check_email
from maskhub.service.webhook import check_webhook
from maskhub.training.status import read_metrics, read_status

__all__ = ["ACTIVE", "FEWEST", "Job", "Jobs", "Progress", "Request", "max_steps", "why"]

ACTIVE = ("queued", "running")
WAITING, OWN = 20, 3
"""Maximum number of active jobs, in total and per key."""
FEWEST = 8
"""Minimum number of training pictures."""


def max_steps():
    """``MASKHUB_MAX_STEPS``, the maximum steps of a job; 100,000 by default."""
    text = os.environ.get("MASKHUB_MAX_STEPS", "")
    return int(text) if text.isdecimal() and int(text) else 100_000


@dataclass(frozen=True)
class Request:
    """A request to train a model.

    Attributes:
        dataset: name of a dataset, a built-in spec, or :data:`~maskhub.service.datasets.ALL` for all of them together;
            a classifier is trained on the datasets of the generators among which it chooses.
        attributes: attributes of the training pictures, which the model then guarantees.
        name: name of the model; chosen automatically if empty.
        init_from: model to start from, which also sets the architecture.
        webhook: URL to call at the end.
        email: address to write to at the end.
        attribute: train a classifier of this attribute instead of a generator.
        others: options of ``train_scripts/train_reimaging.py``.
    """

    dataset: str = ""
    attributes: dict = field(default_factory=dict)
    name: str = ""
    init_from: str = ""
    max_steps: int = 1000
    architecture: str = "dense"
    resolution: int = 32
    batch_size: int = 32
    learning_rate: float = 2e-4
    seed: int = 0
    webhook: str = ""
    email: str = ""
    attribute: str = ""


@dataclass(frozen=True)
class Job:
    """A job as in ``job.json``.

    Attributes:
        state: queued, running, finished, failed or cancelled.
        created, ended: seconds since 1970.
        message, model: why it failed or finished early; name of the resulting model.
        cancel, keep: whether it is being stopped, and whether its model is kept then.
        attempts, last_step: number of starts since the last new step, and that step.
        email, notice_problem: address to write to, forgotten once that is done; why the webhook or the e-mail failed.
        kind: ``"generator"`` or ``"classifier"``.
    """

    id: str
    dataset: str
    name: str
    attributes: dict
    options: dict
    owner: str = ""
    init_from: str = ""
    webhook: str = ""
    state: str = "queued"
    created: float = 0.0
    ended: float = 0.0
    message: str = ""
    model: str = ""
    cancel: bool = False
    keep: bool = False
    attempts: int = 0
    last_step: int = 0
    notice_problem: str = ""
    email: str = ""
    kind: str = "generator"

    @property
    def active(self):
        return self.state in ACTIVE

    def belongs_to(self, key):
        return owns(key, {"owner": self.owner})


@dataclass(frozen=True)
class Progress:
    """The progress of a job: steps, newest losses and speed, and sample pictures (paths, or None)."""

    step: int
    total: int
    line: dict
    curves: Path | None
    samples: Path | None

    @property
    def share(self):
        return self.step / max(1, self.total)


class Jobs:
    """The jobs of a :class:`~maskhub.service.home.Home`."""

    def __init__(self, home):
        self.home, self.datasets, self.models = home, Datasets(home), ModelRegistry(home.models)

    # ---- reading ------------------------------------------------------------------------------------------------

    def list(self):
        """All jobs, newest first."""
        found = [job for path in self.home.jobs.iterdir() if (job := self._read(path)) is not None]
        return sorted(found, key=lambda job: (-job.created, job.id))

    def get(self, id):
        """One job; ConfigError if no job has this id."""
        job = self._read(self.home.jobs / id) if id and id.isalnum() else None
        if job is None:
            raise ConfigError("there is no such job any more.")
        return job

    def progress(self, id):
        """The progress of a job, as :class:`Progress`."""
        job, run = self.get(id), self.folder(id) / "run"
        lines, status = read_metrics(run), read_status(run) or {}
        samples = sorted((run / "samples").glob("step-*.png"))
        curves = run / "curves.png"
        step = max(status.get("step", 0), lines[-1].get("step", 0) if lines else 0)
        return Progress(
            step=min(step, job.options["max_steps"]),
            total=job.options["max_steps"],
            line=lines[-1] if lines else {},
            curves=curves if curves.is_file() else None,
            samples=samples[-1] if samples else None,
        )

    def metrics(self, id):
        """The lines of a job's ``metrics.jsonl`` and ``tests.jsonl`` as dicts, by step."""
        lines = [
            line for name in ("metrics.jsonl", "tests.jsonl") for line in read_metrics(self.folder(id) / "run", name)
        ]
        return sorted(lines, key=lambda line: line.get("step", 0))

    def folder(self, id):
        return self.home.jobs / id

    # ---- writing --------------------------------------------------------------------------------------------------

    def submit(self, request, key=""):
        """Store the :class:`Job` of a :class:`Request` by the holder of ``key``, which the supervisor starts when it is
        next. MaskHubError for an unknown dataset, too few pictures, an invalid option or name, or too many jobs."""
        if not 1 <= request.max_steps <= max_steps():
            raise ConfigError(f"steps must be from 1 to {max_steps():,}.")
        told = {"webhook": check_webhook(request.webhook), "email": check_email(request.email)}
        attributes = parse_attributes([f"{key}={value}" for key, value in request.attributes.items()])
        recipe = self._classifier(request) if request.attribute else self._generator(request, attributes)
        with self.home.lock():
            jobs = [job for job in self.list() if job.active]
            if len(jobs) >= WAITING or sum(job.belongs_to(key) for job in jobs) >= OWN:
                raise ConfigError(
                    f"too many jobs are waiting ({len(jobs)} in total, at most {OWN} per person): wait until one ends."
                )
            name = self._name(request, attributes, {job.name for job in jobs})
            job = Job(
                id=secrets.token_hex(6), dataset=request.dataset or f"the models' datasets, by {request.attribute}",
                name=name, attributes=attributes, options=_shown(recipe), owner=owner_of(key),
                init_from=request.init_from, created=time.time(), **told,
                kind="classifier" if request.attribute else "generator",
            )  # fmt: skip
            recipe = recipe | ({} if request.attribute else {"name": name})
            with written_folder(self.folder(job.id)) as folder:
                write_file(folder / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False))
                write_json(folder / JOB, asdict(job))
        return job

    def _generator(self, request, attributes):
        """The recipe of a generator."""
        sources = self.datasets.sources(request.dataset)
        recipe = generator_options(request, self.models)
        count = len(self.datasets.faces(request.dataset, "train", attributes))
        if count < FEWEST:
            raise ConfigError(f"only {count} training pictures match; a model needs at least {FEWEST}.")
        recipe |= {"source": sources, "attributes": [f"{key}={value}" for key, value in attributes.items()]}
        return recipe | ({"init_from": str(self.models.get(request.init_from).path)} if request.init_from else {})

    def _classifier(self, request):
        """The recipe of a classifier that chooses among the generators of an attribute."""
        choice = self.models.choices().get(request.attribute)
        if not choice:
            raise ConfigError(
                f"a classifier needs generators of at least two values of {request.attribute!r} and of one size: "
                "train them first."
            )
        names = dict.fromkeys(entry.facts.get("dataset", "") for entry in choice.entries)
        sources, count = [], Counter()
        for name in names:
            with suppress(MaskHubError):  # a model copied in by hand, or whose dataset is gone
                faces = self.datasets.faces(name, "train", {request.attribute: list(choice.labels)}) if name else []
                count.update(face.columns[request.attribute] for face in faces)
                sources += [spec for spec in self.datasets.sources(name) if faces and spec not in sources]
        few = [label for label in choice.labels if count[label] < FEWEST]
        if few:
            raise ConfigError(f"fewer than {FEWEST} training pictures of {request.attribute} {few[0]} are left.")
        recipe = classifier_options(request, choice.labels, choice.resolution, sum(count.values()))
        return recipe | {"source": sources}

    def cancel(self, id, key, keep=False):
        """Cancel a job of the holder of ``key``: a waiting one at once, a running one after the current step. With
        ``keep`` it finishes early instead, and what it has learnt becomes the model. Errors as for :meth:`remove`."""
        with self.home.lock():
            job = self._own(id, key)
            if job.state == "queued":
                self.write(replace(job, state="cancelled", ended=time.time()))
            elif job.active:
                self.write(replace(job, cancel=True, keep=keep))

    def remove(self, id, key):
        """Delete an ended job of the holder of ``key``; its model is kept. ConfigError if it does not exist or has not
        ended, OwnerError if it belongs to somebody else."""
        with self.home.lock():
            if self._own(id, key).active:
                raise ConfigError("this job has not ended: cancel it first.")
            remove_folder(self.folder(id))

    def remove_model(self, name, key):
        """Delete a model of the holder of ``key``; MaskHubError if it does not exist, belongs to somebody else, or a
        job starts from it."""
        with self.home.lock():
            entry = self.models.get(name)
            if not owns(key, entry.facts):
                raise OwnerError(f"the model {name} was trained by somebody else, or from another browser.")
            if any(job.active and job.init_from == name for job in self.list()):
                raise ConfigError(f"a job starts from {name}: cancel it first.")
            self.models.remove(name)

    def write(self, job):
        """Replace a job's record; the caller holds the lock."""
        write_json(self.folder(job.id) / JOB, asdict(job))
        return job

    # ---- helpers --------------------------------------------------------------------------------------------------

    def _read(self, path):
        record = read_json(path / JOB) if path.name[0] != "." else None
        known = {f.name for f in fields(Job)}
        try:
            return Job(**{key: value for key, value in record.items() if key in known}) if record else None
        except TypeError:
            return None

    def _own(self, id, key):
        job = self.get(id)
        if not job.belongs_to(key):
            raise OwnerError("this job was started by somebody else, or from another browser.")
        return job

    def _name(self, request, attributes, waiting):
        def taken(name):
            return name in waiting or (self.models.root / name).exists()

        if request.name.strip():
            name = check_name(request.name.strip())
            if taken(name):
                raise ConfigError(f"there is already a model {name!r}, or a job for one: choose another name.")
            return name
        home = request.dataset.split("/")[-1].replace(":", "-") if request.dataset in BUILT_IN else request.dataset
        home = "all-datasets" if request.dataset == ALL else home or f"choose-by-{request.attribute}"
        words = "-".join([home, *attributes.values()])
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", words)[:48].strip("-") or "model"
        names = (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
        return check_name(next(name for name in names if not taken(name)))


def _shown(recipe):
    """The options of a recipe without the places of its files, for a job's record."""
    return {name: value for name, value in recipe.items() if name not in ("source", "init_from", "name")}


def why(error):
    """An error in one line, for a job's record."""
    return str(error) if isinstance(error, MaskHubError) else f"{type(error).__name__}: {error}"
