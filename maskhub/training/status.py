"""Follow a run from another process, by the ``status.json``, ``metrics.jsonl`` and ``tests.jsonl`` in its folder."""

import json
from pathlib import Path

from maskhub.json_file import read_json

__all__ = ["RECORD", "read_metrics", "read_status"]

RECORD = "training.json"
"""File in a run's result: its method, and the step it was written at."""


def read_status(folder):
    """``status.json`` of a run's folder as a dict, or None before its first step.

    ``state`` is running, finished, stopped or failed; the other keys are ``method``, ``step``, ``max_steps``, ``pid``
    and, for a failed run, ``error``.
    """
    return read_json(Path(folder) / "status.json")


def read_metrics(folder, name="metrics.jsonl"):
    """The lines of a run's ``metrics.jsonl`` as dicts, without incomplete ones that are just being written."""
    try:
        text = (Path(folder) / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict)]
