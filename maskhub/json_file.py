"""Records in JSON files."""

import json
from pathlib import Path

from maskhub.files import write_file

__all__ = ["FACTS", "json_text", "read_json", "write_json"]

FACTS = ".maskhub.json"
"""Notes in the folder of a dataset or model; hidden, so that they are not pushed with it."""


def read_json(path):
    """Read a JSON object; None if the file is missing or broken."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def json_text(record):
    """A JSON object as the text of a file."""
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def write_json(path, record):
    """Write a JSON object atomically."""
    write_file(path, json_text(record))
