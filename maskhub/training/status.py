"""How another process follows a run: ``status.json``, ``metrics.jsonl`` and ``tests.jsonl`` of its folder."""

import json
from pathlib import Path

__all__ = ["read_metrics", "read_status"]


def read_status(folder):
    """``status.json`` of a run's folder as a dict, or None before its first step.

    ``state`` is running, finished, stopped or failed; ``method``, ``step``, ``max_steps`` and ``pid`` say which run and
    how far it is, ``error`` why it failed.
    """
    try:
        return json.loads((Path(folder) / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_metrics(folder, name="metrics.jsonl"):
    """The lines of a run's ``metrics.jsonl`` as dicts; a line that is just being written is left out."""
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
