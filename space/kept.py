"""Pipelines that stay loaded while the app runs.

load = Kept(FaceMaskPipeline.from_pretrained)
pipe = load("masks")        # read once, and again after `maskhub models fetch` has replaced it
"""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from maskhub.errors import MaskHubError
from maskhub.pipelines.fetch import local_folder

__all__ = ["Kept"]

TRY_AGAIN = 300.0
"""Seconds after which what could not be loaded is tried again: without a connection every attempt takes long."""


@dataclass(frozen=True)
class _Loaded:
    changed: int
    at: float
    value: object = None
    error: MaskHubError | None = None


class Kept:
    """What ``load`` makes of a pipeline's folder, name or Hub id, for the ``most`` last used ones. It is loaded again
    when a file in its folder has changed; one on the Hub stays as it is. A MaskHubError of ``load`` is raised again,
    without another attempt, until the folder changes or :data:`TRY_AGAIN` seconds have passed."""

    def __init__(self, load, most=16):
        self._load, self._most = load, most
        self._kept, self._lock = OrderedDict(), threading.Lock()

    def __call__(self, name):
        with self._lock:
            kept, changed, now = self._kept.get(name), _changed(name), time.monotonic()
            if kept is None or kept.changed != changed or (kept.error and now - kept.at > TRY_AGAIN):
                kept = self._kept[name] = self._attempt(name, changed)
            self._kept.move_to_end(name)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        if kept.error:
            raise kept.error.with_traceback(None)
        return kept.value

    def _attempt(self, name, changed):
        try:
            value, error = self._load(name), None
        except MaskHubError as problem:
            value, error = None, problem
        return _Loaded(changed, time.monotonic(), value, error)


def _changed(name):
    """When a folder or a file in it was last changed, in nanoseconds; 0 if it is not on this machine."""
    folder = local_folder(name)
    try:
        return max(path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))) if folder else 0
    except OSError:  # it is being replaced
        return 0
