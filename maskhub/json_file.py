"""Records in JSON files."""

import json
from pathlib import Path

from maskhub.files import write_file

__all__ = ["FACTS", "json_object", "json_text", "read_json", "write_json"]

FACTS = ".maskhub.json"
"""Notes in the folder of a dataset or model; hidden, so that they are not pushed with it."""


def read_json(path):
    """Read a JSON object; None if the file is missing or broken."""
    try:
        return json_object(Path(path).read_bytes())
    except OSError:
        return None


def json_object(content):
    """The JSON object in UTF-8 bytes; None if they hold anything else."""
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError):  # of deeply nested lists
        return None
    return value if isinstance(value, dict) else None


def json_text(record):
    """A JSON object as the text of a file."""
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def write_json(path, record):
    """Write a JSON object atomically."""
    write_file(path, json_text(record))
