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
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import yaml

from maskhub.data.labelled import parse_attributes
from maskhub.errors import ConfigError, MaskHubError
from maskhub.files import remove_folder, write_file, written_folder
from maskhub.json_file import read_json, write_json
from maskhub.pipelines.model_registry import ModelRegistry
from maskhub.pipelines.reimaging import check_name
from maskhub.service.datasets import BUILT_IN, Datasets
from maskhub.service.home import OwnerError, owner_of
from maskhub.service.webhook import check_webhook
from maskhub.training.status import read_metrics, read_status

__all__ = ["ACTIVE", "Job", "Jobs", "Progress", "Request", "max_steps"]

ACTIVE = ("queued", "running")
WAITING, OWN = 20, 3
"""Maximum number of active jobs, in total and per key."""
FEWEST = 8
"""Minimum number of training pictures."""


def max_steps():
    """``MASKHUB_MAX_STEPS``, the maximum steps of a job; 20,000 by default."""
    text = os.environ.get("MASKHUB_MAX_STEPS", "")
    return int(text) if text.isdecimal() and int(text) else 20_000


@dataclass(frozen=True)
class Request:
    """A request to train a model.

    Attributes:
        dataset: name of a dataset, or a built-in spec.
        attributes: attributes of the training pictures, which the model then guarantees.
        name: name of the model; chosen automatically if empty.
        init_from: model to start from, which also sets the architecture.
        webhook: URL to call at the end.
        others: options of ``train_scripts/train_reimaging.py``.
    """

    dataset: str
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


@dataclass(frozen=True)
class Job:
    """A job as in ``job.json``.

    Attributes:
        state: queued, running, finished, failed or cancelled.
        created, ended: seconds since 1970.
        message: why it failed.
        model: name of the resulting model.
        cancel: whether it is being cancelled.
        attempts, last_step: number of starts since the last new step, and that step.
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
    attempts: int = 0
    last_step: int = 0
    webhook_problem: str = ""

    @property
    def active(self):
        return self.state in ACTIVE

    def belongs_to(self, key):
        return bool(key) and self.owner == owner_of(key)


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
        """One job; ConfigError if there is none with this id."""
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
        """The lines of a job's ``metrics.jsonl`` as dicts."""
        return read_metrics(self.folder(id) / "run")

    def folder(self, id):
        return self.home.jobs / id

    # ---- writing --------------------------------------------------------------------------------------------------

    def submit(self, request, key=""):
        """Store the :class:`Job` of a :class:`Request` by the holder of ``key``; the supervisor starts it when it is
        next.

        Raises:
            MaskHubError: no such dataset, too few pictures, an invalid option or name, or too many jobs.
        """
        request = replace(request, webhook=check_webhook(request.webhook))
        source = self.datasets.source(request.dataset)
        options = self._options(request)
        attributes = parse_attributes([f"{key}={value}" for key, value in request.attributes.items()])
        count = len(self.datasets.faces(request.dataset, "train", attributes))
        if count < FEWEST:
            raise ConfigError(f"only {count} training pictures match; a model needs at least {FEWEST}.")
        with self.home.lock():
            jobs = [job for job in self.list() if job.active]
            if len(jobs) >= WAITING or sum(job.belongs_to(key) for job in jobs) >= OWN:
                raise ConfigError(
                    f"too many jobs are waiting ({len(jobs)} in total, at most {OWN} per person): wait until one ends."
                )
            name = self._name(request, attributes, {job.name for job in jobs})
            job = Job(
                id=secrets.token_hex(6), dataset=request.dataset, name=name, attributes=attributes,
                options=options, owner=owner_of(key), init_from=request.init_from, webhook=request.webhook,
                created=time.time(),
            )  # fmt: skip
            recipe = options | {"source": source, "name": name}
            recipe["attributes"] = [f"{key}={value}" for key, value in attributes.items()]
            if request.init_from:
                recipe["init_from"] = str(self.models.get(request.init_from).path)
            with written_folder(self.folder(job.id)) as folder:
                write_file(folder / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False))
                write_json(folder / "job.json", asdict(job))
        return job

    def cancel(self, id, key):
        """Cancel a job of the holder of ``key``: a waiting one at once, a running one after the current step.
        ConfigError if there is none, OwnerError if it belongs to somebody else."""
        with self.home.lock():
            job = self._own(id, key)
            if job.state == "queued":
                self.write(replace(job, state="cancelled", ended=time.time()))
            elif job.active:
                self.write(replace(job, cancel=True))

    def remove(self, id, key):
        """Delete an ended job of the holder of ``key``; its model is kept. ConfigError if it does not exist or has
        not ended, OwnerError if it belongs to somebody else."""
        with self.home.lock():
            if self._own(id, key).active:
                raise ConfigError("this job has not ended: cancel it first.")
            remove_folder(self.folder(id))

    def remove_model(self, name, key):
        """Delete a model of the holder of ``key``; MaskHubError if there is none, it belongs to somebody else, or a
        job starts from it."""
        with self.home.lock():
            entry = self.models.get(name)
            if not key or entry.facts.get("owner") != owner_of(key):
                raise OwnerError(f"the model {name} was trained by somebody else, or from another browser.")
            if any(job.active and job.init_from == name for job in self.list()):
                raise ConfigError(f"a job starts from {name}: cancel it first.")
            self.models.remove(name)

    def write(self, job):
        """Replace a job's record; the caller holds the lock."""
        write_json(self.folder(job.id) / "job.json", asdict(job))
        return job

    # ---- helpers --------------------------------------------------------------------------------------------------

    def _read(self, path):
        record = read_json(path / "job.json") if path.name[0] != "." else None
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

    def _options(self, request):
        """The options of the training script, checked."""
        from maskhub.training.reimaging import ReimagingOptions

        if not 1 <= request.max_steps <= max_steps():
            raise ConfigError(f"steps must be from 1 to {max_steps():,}.")
        if request.resolution not in (32, 64, 128) or not 2 <= request.batch_size <= 128:
            raise ConfigError("the resolution must be 32, 64 or 128 and the batch size from 2 to 128.")
        if request.architecture not in ("dense", "dcgan"):
            raise ConfigError("the network must be dense or dcgan.")
        if not 0 < request.learning_rate <= 0.1:
            raise ConfigError("the learning rate must be above 0 and at most 0.1.")
        names = ("max_steps", "architecture", "resolution", "batch_size", "learning_rate", "seed")
        options = {name: getattr(request, name) for name in names}
        steps = request.max_steps
        options |= {
            "log_every": max(1, min(50, steps // 40)),
            "sample_every": max(10, steps // 10),
            "checkpoint_every": max(10, min(200, steps // 10)),
            "keep_checkpoints": 1,
            # averages over a quarter of a short run, so that it forgets the initial weights
            "ema_decay": round(min(0.999, 1 - 4 / max(8, steps)), 6),
        }
        if request.init_from:
            options |= self._network_of(request.init_from)
        ReimagingOptions(source="-", output="-", **options).check()
        return options

    def _network_of(self, name):
        """The architecture options of a model of the registry, so that its weights fit."""
        entry = self.models.get(name)
        configs = sorted(entry.path.glob("generators/*/config.json"))
        config = read_json(configs[0]) if len(configs) == 1 else None
        if config is None:
            raise ConfigError(f"{name} is not a generator, so training can't start from it.")
        own = {"resolution": config["resolution"], "latent": config["latent"]}
        if config["_class_name"] == "DenseGenerator":
            return own | {"architecture": "dense", "hidden": list(config["hidden"])}
        return own | {"architecture": "dcgan", "width": config["width"], "upsampling": config["upsampling"]}

    def _name(self, request, attributes, waiting):
        def taken(name):
            return name in waiting or (self.models.root / name).exists()

        if request.name.strip():
            name = check_name(request.name.strip())
            if taken(name):
                raise ConfigError(f"there is already a model {name!r}, or a job for one: choose another name.")
            return name
        home = request.dataset.split("/")[-1].replace(":", "-") if request.dataset in BUILT_IN else request.dataset
        words = "-".join([home, *attributes.values()])
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", words)[:48].strip("-") or "model"
        names = (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
        return check_name(next(name for name in names if not taken(name)))


def why(error):
    """An error in one line, for a job's record."""
    return str(error) if isinstance(error, MaskHubError) else f"{type(error).__name__}: {error}"
