"""Lengths of training in words, and how long they take on this machine.

presets = Presets(jobs)
presets.of("Quick look", "my-faces")            # {"architecture": "dcgan", "resolution": 64, "max_steps": 400, ...}
presets.seconds("dcgan", 64, 32, 400)           # 83.0
"""

import statistics
import time

import numpy as np

from maskhub.errors import ConfigError, MaskHubError
from maskhub.service.jobs import max_steps

__all__ = ["NAMES", "Presets"]

NAMES = ("Quick look", "Good", "As in the paper")
PAPER = {"architecture": "dense", "resolution": 32, "max_steps": 98_000, "batch_size": 32, "learning_rate": 2e-4}
"""The re-imaging thesis's networks and length."""
DRAWN = {"Quick look": PAPER | {"max_steps": 500}, "Good": PAPER | {"max_steps": 6000}, "As in the paper": PAPER}
DCGAN = PAPER | {"architecture": "dcgan", "resolution": 64}
PHOTOS = {"Quick look": DCGAN | {"max_steps": 400}, "Good": DCGAN | {"max_steps": 6000}, "As in the paper": PAPER}
SMALL = 48
"""Pictures of at least this side are photos, for which DCGAN at 64 pixels is better."""
SPEED = {("dense", 32): 320, ("dense", 64): 85, ("dense", 128): 21, ("dcgan", 32): 543, ("dcgan", 64): 154,
         ("dcgan", 128): 49}  # fmt: skip
"""Images per second of processor time in training, on one core of a Xeon with AMX, where :func:`_pace` was
:data:`PACE`."""
PACE = 0.0033
RECENT = 5
"""Jobs whose speed counts."""


class Presets:
    """See the module; ``jobs`` is a :class:`~maskhub.service.jobs.Jobs`."""

    def __init__(self, jobs):
        self.jobs, self._first = jobs, None

    def all(self, dataset):
        """Name → fields of a :class:`~maskhub.service.jobs.Request`, for training on a dataset."""
        presets, most = PHOTOS if self._photos(dataset) else DRAWN, max_steps()
        return {name: fields | {"max_steps": min(fields["max_steps"], most)} for name, fields in presets.items()}

    def seconds(self, architecture, resolution, batch_size, steps):
        """Estimate how long training takes: by the speed of the last jobs here, or before the first one by how fast
        this machine computes. ConfigError for a network or resolution that jobs don't have."""
        if (architecture, resolution) not in SPEED:
            raise ConfigError(f"there is no network {architecture!r} for {resolution} pixels.")
        return steps * batch_size / (SPEED[architecture, resolution] * self._factor())

    def _photos(self, dataset):
        try:
            faces = self.jobs.datasets.faces(dataset, "train")[:3]
            return bool(faces) and min(min(face.image.size) for face in faces) >= SMALL
        except MaskHubError:
            return False

    def _factor(self):
        """How much faster than :data:`SPEED` this machine trains."""
        seen = []
        for job in self.jobs.list():
            known = SPEED.get((job.options.get("architecture"), job.options.get("resolution")))
            if len(seen) == RECENT or not known or job.init_from:  # whose networks may have another size
                continue
            lines = self.jobs.metrics(job.id)
            speeds = [line["images_per_second"] for line in lines if "images_per_second" in line]
            seen += [statistics.median(speeds) / known] if speeds else []
        if self._first is None:
            self._first = PACE / _pace()
        return statistics.median(seen) if seen else self._first


def _pace():
    """Seconds of processor time that a small computation takes here; the shortest of a few."""
    values = np.random.default_rng(0).standard_normal(2**16)
    times = []
    for _ in range(5):
        start = time.thread_time()
        np.fft.fft(values)
        times.append(time.thread_time() - start)
    return max(min(times), 1e-6)
